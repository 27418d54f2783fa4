//! Opened repositories, kept for the next call: opening one costs about as much as a small edit.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use git2::Repository;

use crate::command::GitSettings;
use crate::error::GitError;

/// The most that are kept; more are opened while more threads work.
const MAX_IDLE: usize = 8;

/// The repositories of one directory. libgit2's are for one thread at a time.
pub(super) struct Pool {
    pub(super) dir: PathBuf,
    bare: bool,
    /// The git command, for the one thing that libgit2 cannot do here: stream a large packed blob.
    pub(super) program: PathBuf,
    /// `PATH` for it.
    pub(super) path: OsString,
    idle: Mutex<Vec<Opened>>,
    /// Counts repacks; a repository opened before one may hold packs that are gone.
    generation: AtomicU64,
}

/// A repository, and the generation in which it was opened.
pub(super) type Opened = (u64, Repository);

impl Pool {
    pub(super) fn new(dir: PathBuf, bare: bool, settings: &GitSettings) -> Self {
        let (program, path) = (settings.program.clone(), settings.path.clone());
        Self { dir, bare, program, path, idle: Mutex::default(), generation: AtomicU64::new(0) }
    }

    pub(super) fn take(&self) -> Result<Opened, GitError> {
        let generation = self.generation.load(Ordering::Acquire);
        let found = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|(opened, _)| *opened == generation);
            idle.pop()
        };
        found.map_or_else(|| self.open(), Ok)
    }

    pub(super) fn put(&self, repo: Opened) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(repo);
        }
    }

    pub(super) fn open(&self) -> Result<Opened, GitError> {
        let generation = self.generation.load(Ordering::Acquire);
        let opened = if self.bare { Repository::open_bare(&self.dir) } else { Repository::open(&self.dir) };
        let doing = || format!("open the repository {}", self.dir.display());
        let repo = opened.map_err(GitError::object(doing()))?;
        // An empty configuration: neither the user's nor the repository's own is obeyed by anything that follows.
        let config = git2::Config::new().map_err(GitError::object(doing()))?;
        repo.set_config(&config).map_err(GitError::object(doing()))?;
        Ok((generation, repo))
    }

    /// Lets go of everything that was opened so far.
    pub(super) fn close_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
