//! Which paths may be written into a tree: those that git would check out on every system, and no other.

use farm_core::delta::{FileMode, RepoPath};

use crate::error::GitError;

/// The longest path, in bytes: what Linux can open.
const MAX_PATH_LEN: usize = 4095;
/// The longest component, in bytes.
const MAX_NAME_LEN: usize = 255;
/// The deepest tree that is read or written; it bounds recursion.
pub(crate) const MAX_DEPTH: usize = 256;

/// Refuses what git itself refuses to put into an index, on any system: empty, absolute and climbing paths, `.git` and
/// everything that a file system of Windows or macOS takes for it, and a link named `.gitmodules`.
pub fn check_path(path: &RepoPath, mode: Option<FileMode>) -> Result<(), GitError> {
    match refusal(&path.0, mode) {
        None => Ok(()),
        Some(why) => Err(GitError::PathRefused { path: path.clone(), why }),
    }
}

/// Whether a name read from a foreign tree can be a single directory entry that is not git's own.
pub(crate) fn is_safe_name(name: &[u8]) -> bool {
    !name.contains(&b'/') && name_refusal(name).is_none()
}

fn refusal(path: &[u8], mode: Option<FileMode>) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH_LEN {
        return Some("it is longer than 4,095 bytes");
    }
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if names.len() > MAX_DEPTH {
        return Some("it is deeper than 256 directories");
    }
    if mode == Some(FileMode::Link) && names.iter().any(|name| looks_like(name, b".gitmodules", b"gitmod~")) {
        return Some(".gitmodules must not be a link");
    }
    names.iter().find_map(|name| name_refusal(name))
}

fn name_refusal(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it has an empty component");
    }
    if name == b"." || name == b".." {
        return Some("it has a component . or ..");
    }
    if name.contains(&0) {
        return Some("it holds a NUL byte");
    }
    if name.len() > MAX_NAME_LEN {
        return Some("a component is longer than 255 bytes");
    }
    if looks_like(name, b".git", b"git~") {
        return Some("a component is .git, or taken for it by some file system");
    }
    None
}

/// Whether `name` opens `wanted` on NTFS (case, trailing dots and spaces, streams, backslashes, the short name `short` +
/// digit) or on HFS+ (case, ignorable code points).
fn looks_like(name: &[u8], wanted: &[u8], short: &[u8]) -> bool {
    let hfs: Vec<u8> = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !is_hfs_ignorable(*c))
        .collect::<String>()
        .into_bytes();
    hfs.eq_ignore_ascii_case(wanted)
        || name.split(|byte| *byte == b'\\').any(|part| {
            let stem = part.split(|byte| *byte == b':').next().unwrap_or_default();
            let end = stem.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
            let stem = stem.get(..end).unwrap_or_default();
            stem.eq_ignore_ascii_case(wanted)
                || (stem.len() == short.len() + 1
                    && stem.last().is_some_and(u8::is_ascii_digit)
                    && stem.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short)))
        })
}

/// The code points that HFS+ ignores in names; the list is git's (`utf8.c`).
fn is_hfs_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_taken() {
        for path in [
            "a",
            "src/lib.rs",
            ".github/workflows/ci.yml",
            ".gitignore",
            "a/.gitmodules",
            "git~x",
            "...",
            "a b",
            "é/ñ",
            "dot.git",
            "x.git/y",
            "caf\u{e9}\n",
        ] {
            assert_eq!(refusal(path.as_bytes(), Some(FileMode::Regular)), None, "{path:?}");
        }
        assert_eq!(refusal(b"caf\xe9", None), None);
    }

    #[test]
    fn paths_that_git_refuses_are_refused() {
        for path in [
            "",
            "/a",
            "a//b",
            "a/",
            ".",
            "..",
            "a/../b",
            "./a",
            ".git",
            ".git/config",
            "a/.git/hooks/x",
            ".GIT/x",
            "git~1",
            "GIT~2/x",
            ".git.",
            ".git ",
            ".git . ./x",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            "\u{feff}.git",
            "a\\.git\\hooks",
            "a\0b",
        ] {
            assert!(refusal(path.as_bytes(), Some(FileMode::Regular)).is_some(), "{path:?}");
        }
        let long = "a".repeat(256);
        let deep = vec!["a"; 300].join("/");
        for path in [&long, &deep, &"a/".repeat(2100)] {
            assert!(refusal(path.as_bytes(), None).is_some(), "{}", path.len());
        }
    }

    #[test]
    fn a_link_is_never_gitmodules() {
        for path in [".gitmodules", "a/.GITMODULES", ".gitmodules ", "gitmod~1"] {
            assert!(refusal(path.as_bytes(), Some(FileMode::Link)).is_some(), "{path:?}");
            assert!(refusal(path.as_bytes(), Some(FileMode::Regular)).is_none(), "{path:?}");
        }
    }
}
