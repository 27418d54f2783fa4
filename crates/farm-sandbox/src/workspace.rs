//! A writable view over one shared read-only tree: an overlay where the kernel allows, else a copy; never hard links.
//!
//! On disk a workspace is one folder, closed to all but the worker and the slot's user:
//!
//! ```text
//! tree/      what commands changed (overlay), or everything (copy)
//! overlay/   the kernel's own, while an overlay is mounted
//! scratch/   SCRATCH_DIR of the commands
//! stage/     where a starting command gathers its mounts
//! ```
//!
//! The overlay is mounted only inside the sandbox of a running command, one at a time; in between the worker reads and
//! writes the layers themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sandbox::Sandbox;

mod beneath;
mod changes;
mod copy;
mod layers;
mod remove;

pub use changes::{Change, ChangeKind, EntryKind};
pub(crate) use remove::erase;

use beneath::{relative, root};
use layers::Layers;

/// Why a workspace could not do what was asked. Paths come from patches and commands, so most of these are theirs.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error("the path {} is not a plain path beneath the workspace", path.display())]
    InvalidPath { path: PathBuf },
    #[error("the path {} leads through a symbolic link", path.display())]
    ThroughLink { path: PathBuf },
    #[error("the path {} leads through something that is no folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("there is no {} in the workspace", path.display())]
    NotFound { path: PathBuf },
    #[error("{} is no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is larger than {limit_bytes} bytes", path.display())]
    TooLarge { path: PathBuf, limit_bytes: u64 },
    #[error("the commands left more than {limit} changed paths; have them write to the scratch folder")]
    TooManyChanges { limit: usize },
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl WorkspaceError {
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(rustix::io::Errno) -> WorkspaceError {
        let path = path.into();
        move |errno| WorkspaceError::Io { what, path, source: errno.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Overlay,
    Copy,
}

/// A writable view over a shared tree, for one slot.
#[derive(Debug)]
pub struct Workspace {
    inner: Arc<Inner>,
    /// Held by whoever uses the files: a running command or one of the methods here.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    dir: PathBuf,
    lower: PathBuf,
    kind: Kind,
    uid: u32,
    layers: Layers,
    /// Its folder holds this workspace, so it must live as long.
    sandbox: Sandbox,
}

/// The right to use the files of a workspace, which exist at least as long.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
    inner: Arc<Inner>,
}

impl Workspace {
    /// Makes a workspace over the tree at `lower`, which nobody may write while it is shared.
    ///
    /// The files of `lower` belong to the worker and everybody may read them (0644, 0755). Commands of one `slot` run as
    /// one user, so a slot has one workspace at a time.
    pub async fn create(sandbox: &Sandbox, lower: &Path, slot: u32) -> Result<Workspace, WorkspaceError> {
        let kind = if sandbox.overlay() { Kind::Overlay } else { Kind::Copy };
        let (sandbox, lower) = (sandbox.clone(), lower.to_path_buf());
        let inner = blocking(move || Inner::create(sandbox, lower, slot, kind)).await?;
        Ok(Workspace { inner: Arc::new(inner), turn: Arc::default() })
    }

    /// Writes a file, in place of whatever is there, with the folders above it. `mode` is as git has it: 0o644 or 0o755.
    pub async fn put(&self, path: impl AsRef<Path>, bytes: Vec<u8>, mode: u32) -> Result<(), WorkspaceError> {
        let path = relative(path.as_ref())?;
        self.with_layers(move |layers| layers.put(&path, &bytes, mode)).await
    }

    /// Removes a file, link or folder. A file in the way of a new folder must be deleted first.
    pub async fn delete(&self, path: impl AsRef<Path>) -> Result<(), WorkspaceError> {
        let path = relative(path.as_ref())?;
        self.with_layers(move |layers| layers.delete(&path)).await
    }

    /// Reads a regular file of at most `limit_bytes`. No link is followed.
    pub async fn read(&self, path: impl AsRef<Path>, limit_bytes: u64) -> Result<Vec<u8>, WorkspaceError> {
        let path = relative(path.as_ref())?;
        self.with_layers(move |layers| layers.read(&path, limit_bytes)).await
    }

    /// Reads a regular file of the scratch folder in the same way.
    pub async fn read_scratch(
        &self,
        path: impl AsRef<Path>,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, WorkspaceError> {
        let path = relative(path.as_ref())?;
        let turn = self.turn().await;
        blocking(move || layers::read_beneath(&root(&turn.inner.scratch())?, &path, limit_bytes)).await
    }

    /// Lists every path that differs from the shared tree, by whomever, sorted. Folders are not listed, as in git.
    pub async fn changes(&self) -> Result<Vec<Change>, WorkspaceError> {
        self.with_layers(changes::list).await
    }

    /// Removes the workspace from disk. Dropping it does the same in the background.
    pub async fn remove(self) -> Result<(), WorkspaceError> {
        let _turn = self.turn().await;
        let dir = self.inner.dir.clone();
        blocking(move || {
            erase(&dir).map_err(|source| WorkspaceError::Io {
                what: "remove the workspace",
                path: dir,
                source,
            })
        })
        .await
    }

    /// Waits until nobody else uses the files.
    pub(crate) async fn turn(&self) -> Turn {
        Turn { _guard: Arc::clone(&self.turn).lock_owned().await, inner: Arc::clone(&self.inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    async fn with_layers<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layers) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T, WorkspaceError> {
        let turn = self.turn().await;
        // The turn goes along, for the caller's future may be dropped while the work goes on.
        blocking(move || work(&turn.inner.layers)).await
    }
}

impl Inner {
    fn create(sandbox: Sandbox, lower: PathBuf, slot: u32, kind: Kind) -> Result<Inner, WorkspaceError> {
        let dir = sandbox.shared.session.fresh(&format!("slot-{slot}"));
        let uid = sandbox.uid_of(slot);
        let worker = sandbox.shared.worker;
        let owner = worker.is_root().then(|| (Uid::from_raw(uid), Gid::from_raw(uid)));

        let lower_root = root(&lower)?;
        make_folder(&dir, 0o710, owner.map(|(_, gid)| (Uid::ROOT, gid)))?;
        make_folder(&dir.join("tree"), 0o755, owner)?;
        make_folder(&dir.join("overlay"), 0o700, owner)?;
        make_folder(&dir.join("scratch"), 0o755, owner)?;
        make_folder(&dir.join("stage"), 0o700, None)?;
        let (base, upper) = (root(&dir)?, root(&dir.join("tree"))?);
        if kind == Kind::Copy {
            copy::copy(&lower_root, &upper, owner)?;
        }
        let layers = Layers { base, upper, lower: lower_root, overlaid: kind == Kind::Overlay, owner };
        Ok(Inner { dir, lower, kind, uid, layers, sandbox })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    pub(crate) fn stage(&self) -> PathBuf {
        self.dir.join("stage")
    }

    pub(crate) fn lower(&self) -> &Path {
        &self.lower
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.dir.exists() {
            return;
        }
        let (dir, sandbox) = (self.dir.clone(), self.sandbox.clone());
        let erase = move || {
            if let Err(error) = erase(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a workspace stays behind until the worker starts again");
            }
            drop(sandbox);
        };
        if let Err(error) = std::thread::Builder::new().name("sandbox-erase".into()).spawn(erase) {
            tracing::warn!(%error, "a workspace stays behind until the worker starts again");
        }
    }
}

fn make_folder(path: &Path, mode: u32, owner: Option<(Uid, Gid)>) -> Result<(), WorkspaceError> {
    let io = || WorkspaceError::io("make the folder", path);
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)).map_err(io())?;
    let folder =
        rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(io())?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&folder, Some(uid), Some(gid)).map_err(io())?;
    }
    // After the change of owner, and whatever the umask.
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)).map_err(io())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(WorkspaceError::Io {
            what: "finish work on",
            path: "the workspace".into(),
            source: std::io::Error::other(error),
        }),
    }
}
