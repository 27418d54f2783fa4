//! What checks showed on base trees, so that `no_worse` costs nothing twice. Losing it costs time only.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use farm_core::delta::sha256;
use farm_core::id::Oid;
use farm_core::task::Check;

use super::evidence::Evidence;

/// A folder of results, one file a key, shared by the workers of a machine.
#[derive(Debug, Clone)]
pub struct BaseResults {
    dir: PathBuf,
}

/// Names what a check showed on a tree in an environment. A run that was killed is not kept: it says nothing of the tree.
pub fn key(tree: &Oid, check: &Check, files: &[OsString], environment: &str) -> String {
    let files: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let parts = serde_json::json!([tree, check, files, environment]);
    sha256(parts.to_string().as_bytes())
}

impl BaseResults {
    /// Keeps results in `dir`, which is made if it is not there.
    pub fn open(dir: impl Into<PathBuf>) -> std::io::Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// What is known.
    pub fn get(&self, key: &str) -> Option<Evidence> {
        let bytes = std::fs::read(self.path(key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps a result, unless it says nothing of the tree.
    pub fn put(&self, key: &str, evidence: &Evidence) {
        if evidence.exit_code.is_none() && !evidence.ran_nothing {
            return;
        }
        if let Err(error) = self.write(key, evidence) {
            tracing::warn!(%error, dir = %self.dir.display(), "a base result is not kept; the check will run again");
        }
    }

    fn write(&self, key: &str, evidence: &Evidence) -> std::io::Result<()> {
        let path = self.path(key);
        let whole = path.with_extension(farm_wire::client::request_id());
        std::fs::write(&whole, serde_json::to_vec(evidence)?)?;
        // Appears as a whole: a reader never sees half of it.
        std::fs::rename(&whole, &path)
    }

    fn path(&self, key: &str) -> PathBuf {
        Path::new(&self.dir).join(format!("{key}.json"))
    }
}

#[cfg(test)]
mod tests {
    use farm_core::task::{CheckKind, Expectation};

    use super::*;

    #[test]
    fn results_are_found_by_tree_check_files_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let results = BaseResults::open(dir.path()).unwrap();
        let tree = |digit: &str| Oid::new(digit.repeat(40)).unwrap();
        let check = |name: &str| Check {
            name: name.into(),
            kind: CheckKind::Test,
            argv: vec!["true".into()],
            expect: Expectation::NoWorse,
            timeout_s: None,
            junit: None,
            files: Vec::new(),
        };
        let known = key(&tree("a"), &check("c"), &["f".into()], "e");
        let evidence = Evidence { exit_code: Some(1), ran_nothing: false, ..Evidence::nothing() };
        results.put(&known, &evidence);
        assert_eq!(results.get(&known), Some(evidence));
        for other in [
            key(&tree("b"), &check("c"), &["f".into()], "e"),
            key(&tree("a"), &check("d"), &["f".into()], "e"),
            key(&tree("a"), &check("c"), &[], "e"),
            key(&tree("a"), &check("c"), &["f".into()], "x"),
        ] {
            assert_eq!(results.get(&other), None);
        }
        let killed = Evidence { exit_code: None, ran_nothing: false, ..Evidence::nothing() };
        let key = key(&tree("c"), &check("c"), &[], "e");
        results.put(&key, &killed);
        assert_eq!(results.get(&key), None);
    }
}
