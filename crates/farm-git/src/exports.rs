//! Shared read-only trees on disk: one a tree id, made once, evicted when nobody holds it and space is short.
//!
//! A tree is the lower layer of overlays, or the source of copies; never of hard links, through which one check would
//! change another's files. Several processes may share the directory: whoever uses a tree holds its lock file shared,
//! whoever makes or removes it holds it exclusively.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use farm_core::id::Oid;

use crate::error::GitError;
use crate::lock::{Kind, lock, try_lock};
use crate::objects::{ExportOptions, Objects};

/// What a file or directory costs on disk beyond its content, in bytes.
const ENTRY_COST: u64 = 2048;

/// The shared trees below one directory.
#[derive(Debug, Clone)]
pub struct Exports {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    byte_budget: u64,
    options: ExportOptions,
}

/// A tree on disk, which stays until this is dropped. Its files must not be changed.
#[derive(Debug)]
pub struct SharedTree {
    path: PathBuf,
    _held: File,
}

impl SharedTree {
    /// The directory that holds the tree's files.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Exports {
    /// Uses (and makes) the directory `root`; trees that nobody holds are removed, least recently used first, once all
    /// together exceed `byte_budget`.
    pub fn open(root: impl Into<PathBuf>, byte_budget: u64) -> Result<Self, GitError> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(GitError::io("create", &root))?;
        let inner = Inner { root, byte_budget, options: ExportOptions::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The files of `tree`, written now unless they are there.
    pub async fn shared(&self, objects: &Objects, tree: &Oid) -> Result<Arc<SharedTree>, GitError> {
        let path = self.inner.root.join(tree.as_str());
        let lock_path = path.with_extension("lock");
        loop {
            let held = lock(&lock_path, Kind::Shared).await?;
            if path.is_dir() {
                // The time of last use, by which eviction chooses.
                held.set_modified(SystemTime::now()).map_err(GitError::io("touch", &lock_path))?;
                return Ok(Arc::new(SharedTree { path, _held: held }));
            }
            drop(held);
            let exclusive = lock(&lock_path, Kind::Exclusive).await?;
            let (inner, objects, tree) = (self.inner.clone(), objects.clone(), tree.clone());
            let work = move || inner.make(&objects, &tree, exclusive);
            tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(GitError::Cancelled { detail: error.to_string() }))?;
        }
    }
}

impl Inner {
    /// Writes a tree aside and moves it into place, under its exclusive lock; then makes room.
    fn make(&self, objects: &Objects, tree: &Oid, mut exclusive: File) -> Result<(), GitError> {
        let path = self.root.join(tree.as_str());
        if path.is_dir() {
            return Ok(());
        }
        let aside = path.with_extension("new");
        remove(&aside)?;
        let done = objects.export(tree, &aside, self.options)?;
        let cost = done.bytes + ENTRY_COST * (done.files + done.directories);
        exclusive
            .set_len(0)
            .and_then(|()| exclusive.write_all(cost.to_string().as_bytes()))
            .map_err(GitError::io("write the size of", &path))?;
        std::fs::rename(&aside, &path).map_err(GitError::io("create", &path))?;
        self.evict(tree)
    }

    fn evict(&self, keep: &Oid) -> Result<(), GitError> {
        let mut trees = Vec::new();
        let listing = || GitError::io("list", &self.root);
        for entry in std::fs::read_dir(&self.root).map_err(listing())? {
            let path = entry.map_err(listing())?.path();
            // A file that vanishes meanwhile is somebody else's eviction.
            if path.extension().is_some_and(|extension| extension == "lock")
                && let (Ok(used), Some(cost)) =
                    (path.metadata().and_then(|found| found.modified()), read_cost(&path))
            {
                trees.push((used, cost, path));
            }
        }
        trees.sort();
        let mut total: u64 = trees.iter().map(|(_, cost, _)| cost).sum();
        for (_, cost, lock_path) in trees {
            if total <= self.byte_budget {
                break;
            }
            if lock_path.file_stem().is_some_and(|stem| stem == keep.as_str()) {
                continue;
            }
            let Some(_held) = try_lock(&lock_path, Kind::Exclusive)? else { continue };
            remove(&lock_path.with_extension("new"))?;
            remove(&lock_path.with_extension(""))?;
            std::fs::remove_file(&lock_path).map_err(GitError::io("remove", &lock_path))?;
            total -= cost;
        }
        Ok(())
    }
}

/// The size that [`Inner::make`] noted; `None` if it never got so far.
fn read_cost(lock_path: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(lock_path).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

fn remove(dir: &Path) -> Result<(), GitError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(GitError::io("remove", dir)(error)),
        _ => Ok(()),
    }
}
