//! The folder of one sandbox, which goes with it, whatever way it goes.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use crate::workspace::erase;

const LOCK: &str = "lock";
const PREFIX: &str = "sandbox-";

/// A folder under the work folder, locked while its sandbox lives.
#[derive(Debug)]
pub(crate) struct Session {
    dir: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Session {
    /// Makes the folder, after removing those of workers that died without doing so.
    pub(crate) fn open(work_dir: &Path) -> std::io::Result<Session> {
        std::fs::create_dir_all(work_dir)?;
        sweep(work_dir);
        let mut number = 0u64;
        loop {
            let dir = work_dir.join(format!("{PREFIX}{}-{number}", std::process::id()));
            number += 1;
            match claim(&dir) {
                Ok(lock) => return Ok(Session { dir, next: AtomicU64::new(0), _lock: lock }),
                // Taken, or another worker's sweep was faster than our lock.
                Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns a path that was never used in this session.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = erase(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "the sandbox's folder stays behind");
        }
    }
}

fn claim(dir: &Path) -> std::io::Result<File> {
    std::fs::create_dir(dir)?;
    // Passable for the slots' users where the worker may not mount (root without CAP_SYS_ADMIN); each workspace inside
    // is closed to all but its own.
    std::fs::set_permissions(dir, Permissions::from_mode(0o711))?;
    let lock = File::create(dir.join(LOCK))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    if dir.join(LOCK).exists() { Ok(lock) } else { Err(ErrorKind::WouldBlock.into()) }
}

fn sweep(work_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(work_dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let dir = entry.path();
        // A folder whose lock is free belongs to nobody; one without a lock is being made this moment.
        let Ok(lock) = File::open(dir.join(LOCK)) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        match erase(&dir) {
            Ok(()) => tracing::info!(dir = %dir.display(), "removed what a dead worker left"),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "cannot remove what a dead worker left")
            }
        }
    }
}
