//! Locks between processes that share a directory: `flock` on a small file, released by the kernel whatever happens.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::GitError;

/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Which kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Shared,
    Exclusive,
}

/// Waits for the lock. Waiting is by trying, so that a caller who goes away leaves no thread behind.
pub(crate) async fn lock(path: &Path, kind: Kind) -> Result<File, GitError> {
    loop {
        if let Some(file) = try_lock(path, kind)? {
            return Ok(file);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes the lock if nobody holds it.
pub(crate) fn try_lock(path: &Path, kind: Kind) -> Result<Option<File>, GitError> {
    loop {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(GitError::io("open the lock", path))?;
        let taken = match kind {
            Kind::Shared => file.try_lock_shared(),
            Kind::Exclusive => file.try_lock(),
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(GitError::io("lock", path)(source)),
        }
        // Whoever removed the file between our opening and locking it may have made a new one: then ours locks nothing.
        let held = file.metadata().map_err(GitError::io("look at", path))?;
        if std::fs::metadata(path).is_ok_and(|now| now.ino() == held.ino() && now.dev() == held.dev()) {
            return Ok(Some(file));
        }
    }
}
