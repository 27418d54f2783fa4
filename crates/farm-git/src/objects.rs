//! Local objects: blobs, trees and commits, read and written through libgit2 without a checkout.
//!
//! Every function here blocks for as long as the disk takes; async callers of more than a small read use [`blocking`].

mod apply;

mod commit;

mod delta;

mod export;

mod merge;

mod outgoing;

mod pool;

mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use farm_core::delta::{FileMode, RepoPath};
use farm_core::id::Oid;
use git2::{ObjectType, Repository};

use crate::command::GitSettings;
use crate::error::GitError;
use crate::objects::pool::Pool;
use crate::path::MAX_DEPTH;

pub use apply::{Content, FileWrite, NewFile};
pub use commit::{CommitSpec, Trailers};
pub use export::{ExportOptions, Exported, Skipped};
pub use merge::Merge;
pub use text::DiffText;

/// The objects of one repository: a cheap handle, safe from many threads.
#[derive(Clone)]
pub struct Objects {
    pool: Arc<Pool>,
}

/// A file as it stands in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Blob (or, for a submodule, commit) id.
    pub oid: Oid,
    /// What kind of entry it is.
    pub mode: FileMode,
    /// Size in bytes; 0 for a submodule.
    pub size: u64,
    /// The bytes; `None` if they exceed the reader's limit (then they were not loaded), and for a submodule.
    pub content: Option<Vec<u8>>,
}

/// A file's place in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Where.
    pub path: RepoPath,
    /// Blob (or, for a submodule, commit) id.
    pub oid: Oid,
    /// What kind of entry it is.
    pub mode: FileMode,
}

/// Runs work on objects off the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(GitError::Cancelled { detail: error.to_string() }))
}

impl Objects {
    /// Opens a repository that is not one of our mirrors: a bare one, a `.git` directory or a working tree's top.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, GitError> {
        Self::checked(dir.into(), false, &GitSettings::default())
    }

    pub(crate) fn open_mirror(dir: PathBuf, settings: &GitSettings) -> Result<Self, GitError> {
        Self::checked(dir, true, settings)
    }

    fn checked(dir: PathBuf, bare: bool, settings: &GitSettings) -> Result<Self, GitError> {
        let objects = Self { pool: Arc::new(Pool::new(dir, bare, settings)) };
        objects.with(|_| Ok(()))?;
        Ok(objects)
    }

    /// The git directory or working tree that was opened.
    pub fn dir(&self) -> &Path {
        &self.pool.dir
    }

    /// The commit that a revision (`HEAD`, a branch, an id, `HEAD~2`) names.
    pub fn resolve(&self, revision: &str) -> Result<Oid, GitError> {
        self.with(|repo| {
            let object = repo
                .revparse_single(revision)
                .and_then(|object| object.peel(ObjectType::Commit))
                .map_err(GitError::object(format!("resolve revision {revision:?}")))?;
            oid(object.id())
        })
    }

    /// Whether the commit is here. A received pack appears as a whole, so that its tree and blobs are here as well.
    pub fn has_commit(&self, commit: &Oid) -> Result<bool, GitError> {
        let repo = self.pool.take()?;
        let found = id(commit).is_ok_and(|id| repo.1.find_commit(id).is_ok());
        self.pool.put(repo);
        Ok(found)
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: &Oid) -> Result<Oid, GitError> {
        self.with(|repo| {
            let found =
                repo.find_commit(id(commit)?).map_err(GitError::object(format!("read commit {commit}")))?;
            oid(found.tree_id())
        })
    }

    /// The parents of a commit.
    pub fn parents_of(&self, commit: &Oid) -> Result<Vec<Oid>, GitError> {
        self.with(|repo| {
            let found =
                repo.find_commit(id(commit)?).map_err(GitError::object(format!("read commit {commit}")))?;
            found.parent_ids().map(oid).collect()
        })
    }

    /// The tree without entries; it is written, so that commits and exports of it work.
    pub fn empty_tree(&self) -> Result<Oid, GitError> {
        self.with(|repo| {
            let builder = repo.treebuilder(None).map_err(GitError::object("write the empty tree"))?;
            oid(builder.write().map_err(GitError::object("write the empty tree"))?)
        })
    }

    /// Reads one file; `None` if the tree has no file there. At most `limit` bytes are loaded.
    pub fn read(&self, tree: &Oid, path: &RepoPath, limit: u64) -> Result<Option<Blob>, GitError> {
        self.with(|repo| {
            let Some((entry, mode)) = find(repo, tree, path)? else { return Ok(None) };
            if mode == FileMode::Submodule {
                return Ok(Some(Blob { oid: oid(entry)?, mode, size: 0, content: None }));
            }
            let size = blob_size(repo, entry)?;
            let content = if size <= limit { Some(load(repo, entry)?) } else { None };
            Ok(Some(Blob { oid: oid(entry)?, mode, size, content }))
        })
    }

    /// Reads one blob of at most `limit` bytes; `None` if it is larger.
    pub fn blob(&self, blob: &Oid, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        self.with(|repo| {
            let blob = id(blob)?;
            if blob_size(repo, blob)? <= limit { load(repo, blob).map(Some) } else { Ok(None) }
        })
    }

    /// Size of a blob in bytes, without loading it.
    pub fn size(&self, blob: &Oid) -> Result<u64, GitError> {
        self.with(|repo| blob_size(repo, id(blob)?))
    }

    /// Every file of a tree, in git's order.
    pub fn list(&self, tree: &Oid) -> Result<Vec<TreeFile>, GitError> {
        self.with(|repo| {
            let mut files = Vec::new();
            list_into(repo, id(tree)?, &mut Vec::new(), 0, &mut files)?;
            Ok(files)
        })
    }

    /// Writes a blob.
    pub fn write_blob(&self, content: &[u8]) -> Result<Oid, GitError> {
        self.with(|repo| oid(repo.blob(content).map_err(GitError::object("write a blob"))?))
    }

    /// Whether `ancestor` is reachable from `commit`, or the same.
    pub fn is_ancestor(&self, ancestor: &Oid, commit: &Oid) -> Result<bool, GitError> {
        if ancestor == commit {
            return Ok(true);
        }
        self.with(|repo| {
            repo.graph_descendant_of(id(commit)?, id(ancestor)?)
                .map_err(GitError::object(format!("relate commits {ancestor} and {commit}")))
        })
    }

    /// Runs `work` on an opened repository, once more on a fresh one if an object was not found: another process may
    /// have repacked meanwhile.
    pub(crate) fn with<T>(&self, work: impl Fn(&Repository) -> Result<T, GitError>) -> Result<T, GitError> {
        let repo = self.pool.take()?;
        let mut result = work(&repo.1);
        if matches!(result, Err(GitError::Object { .. })) {
            drop(repo);
            let fresh = self.pool.open()?;
            result = work(&fresh.1);
            self.pool.put(fresh);
        } else {
            self.pool.put(repo);
        }
        result
    }

    /// Closes what was opened before a repack.
    pub(crate) fn packs_changed(&self) {
        self.pool.close_all();
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("dir", &self.dir()).finish_non_exhaustive()
    }
}

pub(crate) fn id(oid: &Oid) -> Result<git2::Oid, GitError> {
    git2::Oid::from_str(oid.as_str()).map_err(GitError::object(format!("use object id {oid}")))
}

pub(crate) fn oid(id: git2::Oid) -> Result<Oid, GitError> {
    Oid::new(id.to_string())
        .map_err(|error| GitError::Object { doing: "use an object id".into(), detail: error.to_string() })
}

fn find_tree<'r>(repo: &'r Repository, tree: git2::Oid) -> Result<git2::Tree<'r>, GitError> {
    repo.find_tree(tree).map_err(GitError::object(format!("read tree {tree}")))
}

/// The file at `path`, which is taken byte for byte.
fn find(repo: &Repository, tree: &Oid, path: &RepoPath) -> Result<Option<(git2::Oid, FileMode)>, GitError> {
    let mut tree = find_tree(repo, id(tree)?)?;
    let mut names = path.0.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        let Some(entry) = tree.get_name_bytes(name).map(|entry| (entry.id(), entry.filemode())) else {
            return Ok(None);
        };
        match (file_mode(entry.1), names.peek().is_some()) {
            (Some(mode), false) => return Ok(Some((entry.0, mode))),
            (None, true) => tree = find_tree(repo, entry.0)?,
            (Some(_), true) | (None, false) => return Ok(None),
        }
    }
    Ok(None)
}

/// What an entry is; `None` for a directory. libgit2 has normalised the mode to one of git's five.
fn file_mode(mode: i32) -> Option<FileMode> {
    u32::try_from(mode).ok().and_then(FileMode::from_bits)
}

fn blob_size(repo: &Repository, blob: git2::Oid) -> Result<u64, GitError> {
    let doing = || GitError::object(format!("read blob {blob}"));
    let (size, kind) = repo.odb().map_err(doing())?.read_header(blob).map_err(doing())?;
    if kind != ObjectType::Blob {
        return Err(GitError::Object {
            doing: format!("read blob {blob}"),
            detail: format!("it is a {kind}"),
        });
    }
    Ok(size as u64)
}

fn load(repo: &Repository, blob: git2::Oid) -> Result<Vec<u8>, GitError> {
    let found = repo.find_blob(blob).map_err(GitError::object(format!("read blob {blob}")))?;
    Ok(found.content().to_vec())
}

fn list_into(
    repo: &Repository,
    tree: git2::Oid,
    prefix: &mut Vec<u8>,
    depth: usize,
    files: &mut Vec<TreeFile>,
) -> Result<(), GitError> {
    let tree = descend(repo, tree, depth)?;
    for entry in tree.iter() {
        let length = prefix.len();
        prefix.extend_from_slice(entry.name_bytes());
        match file_mode(entry.filemode()) {
            Some(mode) => {
                files.push(TreeFile { path: RepoPath(prefix.clone()), oid: oid(entry.id())?, mode })
            }
            None => {
                prefix.push(b'/');
                list_into(repo, entry.id(), prefix, depth + 1, files)?;
            }
        }
        prefix.truncate(length);
    }
    Ok(())
}

/// Reads the tree at `depth`, which a hostile repository may have made bottomless.
fn descend<'r>(repo: &'r Repository, tree: git2::Oid, depth: usize) -> Result<git2::Tree<'r>, GitError> {
    if depth >= MAX_DEPTH {
        return Err(GitError::TooLarge {
            what: "the tree's depth in directories".into(),
            limit: MAX_DEPTH as u64,
        });
    }
    find_tree(repo, tree)
}
