//! The difference between two trees: what policy judges, what a person approves, what leases must cover.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::Oid;

/// A path inside a repository: bytes as git stores them, `/` between components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepoPath(#[serde(with = "lossless")] pub Vec<u8>);

impl RepoPath {
    /// The path as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for RepoPath {
    fn from(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl fmt::Display for RepoPath {
    /// Escapes what is not printable text, so that a path never forges a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Paths in JSON are text where they can be, else `{"hex": …}`.
mod lossless {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Hex { hex: String },
    }

    pub(super) fn serialize<S: Serializer>(path: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(path) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Form::Hex { hex: super::hex(path) }.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into_bytes()),
            Form::Hex { hex } => (0..hex.len())
                .step_by(2)
                .map(|i| hex.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(|| serde::de::Error::custom("expected pairs of hexadecimal digits")),
        }
    }
}

/// What a tree entry is; git knows no other modes in a healthy tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileMode {
    /// 100644 (and the historic 100664).
    Regular,
    /// 100755.
    Executable,
    /// 120000, a symbolic link.
    Link,
    /// 160000, a commit of another repository.
    Submodule,
}

impl FileMode {
    /// The mode as git writes it.
    pub fn bits(self) -> u32 {
        match self {
            Self::Regular => 0o100644,
            Self::Executable => 0o100755,
            Self::Link => 0o120000,
            Self::Submodule => 0o160000,
        }
    }

    /// Reads git's number; `None` for a directory or something that git itself would not write.
    pub fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            0o100644 | 0o100664 => Some(Self::Regular),
            0o100755 => Some(Self::Executable),
            0o120000 => Some(Self::Link),
            0o160000 => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// One side of a changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Blob (or, for a submodule, commit) id.
    pub oid: Oid,
    /// What kind of entry it is.
    pub mode: FileMode,
    /// Size of the blob in bytes; 0 for a submodule.
    pub size: u64,
}

/// One changed path. `old` and `new` are never both `None`, and never equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// Where.
    pub path: RepoPath,
    /// Before; `None` for an addition.
    pub old: Option<Entry>,
    /// After; `None` for a deletion.
    pub new: Option<Entry>,
}

/// The difference of two trees, sorted by path, one entry a path. A rename is a deletion and an addition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeDelta {
    /// The changed paths.
    pub changes: Vec<PathChange>,
}

impl TreeDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// SHA-256 over (path, old blob, new blob, modes), sorted and length-prefixed: what a person approves (I7).
    pub fn digest(&self) -> String {
        let mut sorted: Vec<&PathChange> = self.changes.iter().collect();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        let mut hash = Sha256::new();
        for change in sorted {
            field(&mut hash, &change.path.0);
            for side in [&change.old, &change.new] {
                match side {
                    None => field(&mut hash, b""),
                    Some(entry) => {
                        field(&mut hash, format!("{:o} {}", entry.mode.bits(), entry.oid).as_bytes())
                    }
                }
            }
        }
        hex(&hash.finalize())
    }
}

/// Adds one length-prefixed field, so that no two lists of fields hash alike.
pub(crate) fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digit: char, mode: FileMode) -> Entry {
        Entry { oid: Oid::new(digit.to_string().repeat(40)).unwrap(), mode, size: 1 }
    }

    fn change(path: &str, old: Option<Entry>, new: Option<Entry>) -> PathChange {
        PathChange { path: path.into(), old, new }
    }

    #[test]
    fn digest_ignores_order_and_sees_every_part() {
        let a = || change("a", None, Some(entry('1', FileMode::Regular)));
        let b = || change("b", Some(entry('2', FileMode::Regular)), None);
        let digest = |changes| TreeDelta { changes }.digest();
        let base = digest(vec![a(), b()]);
        assert_eq!(base, digest(vec![b(), a()]));
        assert_ne!(base, digest(vec![a()]));
        assert_ne!(base, digest(vec![change("a", None, Some(entry('1', FileMode::Executable))), b()]));
        assert_ne!(base, digest(vec![change("a", Some(entry('1', FileMode::Regular)), None), b()]));
        assert_ne!(base, digest(vec![change("c", None, Some(entry('1', FileMode::Regular))), b()]));
    }

    #[test]
    fn paths_survive_json_and_cannot_forge_a_line() {
        for bytes in [&b"src/a.rs"[..], b"caf\xe9\n.txt"] {
            let path = RepoPath(bytes.to_vec());
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<RepoPath>(&json).unwrap(), path, "{json}");
            assert!(!path.to_string().contains('\n'));
        }
    }
}
