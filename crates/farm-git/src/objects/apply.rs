//! Writing files into a tree: base tree and writes in, new tree out, all or nothing, nothing checked out.

use std::collections::BTreeMap;

use farm_core::delta::{FileMode, RepoPath};
use farm_core::id::Oid;
use git2::{Repository, Tree};

use crate::error::GitError;
use crate::objects::{Objects, file_mode, find_tree, id, oid};
use crate::path::check_path;

/// What becomes of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite {
    /// Where.
    pub path: RepoPath,
    /// The file as it will be; `None` removes it.
    pub new: Option<NewFile>,
}

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its bytes.
    pub content: Content,
    /// What kind of entry it is.
    pub mode: FileMode,
}

/// Bytes at hand, or an object that the repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A blob (or, for a submodule, any commit id).
    Blob(Oid),
}

/// The writes below one directory, by name.
#[derive(Default)]
struct Node<'w> {
    write: Option<&'w FileWrite>,
    below: BTreeMap<&'w [u8], Node<'w>>,
}

impl Objects {
    /// Applies `writes` to the tree `base` and returns the new tree. The order of writes does not matter; a directory
    /// whose last file goes, goes; a file may take the place of a directory that is removed in the same call, and the
    /// other way round.
    pub fn apply(&self, base: &Oid, writes: &[FileWrite]) -> Result<Oid, GitError> {
        let mut root = Node::default();
        for write in writes {
            check_path(&write.path, write.new.as_ref().map(|new| new.mode))?;
            let node = write
                .path
                .0
                .split(|byte| *byte == b'/')
                .fold(&mut root, |node, name| node.below.entry(name).or_default());
            if node.write.replace(write).is_some() {
                return Err(conflict(&write.path.0, "it is written twice"));
            }
        }
        self.with(|repo| {
            let base = find_tree(repo, id(base)?)?;
            match build(repo, Some(&base), &root, &mut Vec::new())? {
                Some(tree) => oid(tree),
                None => {
                    let builder = repo.treebuilder(None).map_err(GitError::object("write the empty tree"))?;
                    oid(builder.write().map_err(GitError::object("write the empty tree"))?)
                }
            }
        })
    }
}

/// Writes the tree that `base` becomes; `None` if nothing is left of it.
fn build(
    repo: &Repository,
    base: Option<&Tree<'_>>,
    node: &Node<'_>,
    at: &mut Vec<u8>,
) -> Result<Option<git2::Oid>, GitError> {
    let writing = || GitError::object("write a tree");
    let mut builder = repo.treebuilder(base).map_err(writing())?;
    for (name, child) in &node.below {
        let length = at.len();
        at.extend_from_slice(name);
        let found = base
            .and_then(|tree| tree.get_name_bytes(name))
            .map(|entry| (entry.id(), file_mode(entry.filemode())));
        match entry_for(repo, found, child, at)? {
            Some((entry, mode)) => {
                builder.insert(*name, entry, mode.cast_signed()).map_err(writing())?;
            }
            None if found.is_some() => builder.remove(*name).map_err(writing())?,
            None => {}
        }
        at.truncate(length);
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Some).map_err(writing()) }
}

const DIRECTORY: u32 = 0o040000;

/// What stands under one name afterwards. `found` is what stood there, with `None` as the mode of a directory.
fn entry_for(
    repo: &Repository,
    found: Option<(git2::Oid, Option<FileMode>)>,
    child: &Node<'_>,
    at: &mut Vec<u8>,
) -> Result<Option<(git2::Oid, u32)>, GitError> {
    let put = child.write.and_then(|write| write.new.as_ref());
    let removed_file = match (child.write, found) {
        (Some(FileWrite { new: None, .. }), Some((_, Some(_)))) => true,
        (Some(FileWrite { new: None, .. }), _) => {
            return Err(GitError::PathMissing { path: RepoPath(at.clone()) });
        }
        _ => false,
    };
    let directory = match found {
        Some((tree, None)) => Some(find_tree(repo, tree)?),
        Some((_, Some(_))) if !child.below.is_empty() && !removed_file => {
            return Err(conflict(at, "a file stands where a directory is needed"));
        }
        _ => None,
    };
    let below = if child.below.is_empty() {
        directory.map(|tree| tree.id())
    } else {
        at.push(b'/');
        build(repo, directory.as_ref(), child, at)?
    };
    match (below, put) {
        (Some(_), Some(_)) => Err(conflict(at, "a directory stands where a file is needed")),
        (Some(tree), None) => Ok(Some((tree, DIRECTORY))),
        (None, Some(new)) => Ok(Some((blob(repo, new)?, new.mode.bits()))),
        (None, None) => Ok(None),
    }
}

fn blob(repo: &Repository, new: &NewFile) -> Result<git2::Oid, GitError> {
    match &new.content {
        Content::Blob(blob) => id(blob),
        Content::Bytes(bytes) => repo.blob(bytes).map_err(GitError::object("write a blob")),
    }
}

fn conflict(path: &[u8], why: &'static str) -> GitError {
    GitError::PathConflict { path: RepoPath(path.to_vec()), why }
}
