//! Who may write which file, while a task runs. (Symbols and globs come with the reservation manager's own issue of keys.)

use serde::{Deserialize, Serialize};

use crate::id::{RepoName, TaskId, Token};

/// What a lease covers: one file of one repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    /// Which repository.
    pub repository: RepoName,
    /// Which file; compared without case, since some machines do.
    pub path: String,
}

impl LeaseKey {
    /// Two spellings that may be one file have one key.
    pub fn file(repository: RepoName, path: &str) -> Self {
        Self { repository, path: path.to_lowercase() }
    }
}

/// A lease that was given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// What it covers.
    pub key: LeaseKey,
    /// Whose it is.
    pub holder: TaskId,
    /// Its fencing token.
    pub token: Token,
    /// When it ends unless renewed, Unix milliseconds.
    pub until_ms: u64,
}

impl Lease {
    /// Whether `holder` may have this key at `now_ms`.
    pub fn admits(&self, holder: &TaskId, now_ms: u64) -> bool {
        self.holder == *holder || self.until_ms <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_has_it_until_it_ends() {
        let task = |id: &str| TaskId::new(id).unwrap();
        let repository = RepoName::new("r").unwrap();
        let key = LeaseKey::file(repository.clone(), "src/A.rs");
        assert_eq!(key, LeaseKey::file(repository, "SRC/a.rs"));
        let lease = Lease { key, holder: task("a"), token: Token(1), until_ms: 100 };
        for (holder, now_ms, expected) in
            [("a", 50, true), ("b", 50, false), ("b", 99, false), ("b", 100, true)]
        {
            assert_eq!(lease.admits(&task(holder), now_ms), expected, "{holder} at {now_ms}");
        }
    }
}
