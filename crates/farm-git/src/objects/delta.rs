//! The difference of two trees, without looking for renames.

use std::collections::BTreeMap;

use farm_core::delta::{Entry, FileMode, PathChange, RepoPath, TreeDelta};
use farm_core::id::Oid;
use git2::Repository;

use crate::error::GitError;
use crate::objects::{Objects, blob_size, descend, file_mode, id, oid};

/// One name in a directory: id, and mode unless it is a directory.
type Named = (git2::Oid, Option<FileMode>);

impl Objects {
    /// Every path that differs, sorted by path, with modes and sizes on both sides.
    pub fn delta(&self, old: &Oid, new: &Oid) -> Result<TreeDelta, GitError> {
        self.with(|repo| {
            let mut changes = Vec::new();
            compare(repo, Some(id(old)?), Some(id(new)?), &mut Vec::new(), 0, &mut changes)?;
            changes.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(TreeDelta { changes })
        })
    }
}

fn compare(
    repo: &Repository,
    old: Option<git2::Oid>,
    new: Option<git2::Oid>,
    at: &mut Vec<u8>,
    depth: usize,
    changes: &mut Vec<PathChange>,
) -> Result<(), GitError> {
    if old == new {
        return Ok(());
    }
    let mut sides: BTreeMap<Vec<u8>, (Option<Named>, Option<Named>)> = BTreeMap::new();
    for (name, entry) in names(repo, old, depth)? {
        sides.entry(name).or_default().0 = Some(entry);
    }
    for (name, entry) in names(repo, new, depth)? {
        sides.entry(name).or_default().1 = Some(entry);
    }
    for (name, (old, new)) in sides {
        if old == new {
            continue;
        }
        let length = at.len();
        at.extend_from_slice(&name);
        let (old_file, new_file) = (file(repo, old)?, file(repo, new)?);
        if old_file.is_some() || new_file.is_some() {
            changes.push(PathChange { path: RepoPath(at.clone()), old: old_file, new: new_file });
        }
        at.push(b'/');
        compare(repo, directory(old), directory(new), at, depth + 1, changes)?;
        at.truncate(length);
    }
    Ok(())
}

/// The entries of a directory, which may not be there.
pub(super) fn names(
    repo: &Repository,
    tree: Option<git2::Oid>,
    depth: usize,
) -> Result<Vec<(Vec<u8>, Named)>, GitError> {
    let Some(tree) = tree else { return Ok(Vec::new()) };
    let tree = descend(repo, tree, depth)?;
    let name =
        |entry: git2::TreeEntry<'_>| (entry.name_bytes().to_vec(), (entry.id(), file_mode(entry.filemode())));
    Ok(tree.iter().map(name).collect())
}

fn directory(entry: Option<Named>) -> Option<git2::Oid> {
    entry.filter(|(_, mode)| mode.is_none()).map(|(tree, _)| tree)
}

fn file(repo: &Repository, entry: Option<Named>) -> Result<Option<Entry>, GitError> {
    let Some((blob, Some(mode))) = entry else { return Ok(None) };
    let size = if mode == FileMode::Submodule { 0 } else { blob_size(repo, blob)? };
    Ok(Some(Entry { oid: oid(blob)?, mode, size }))
}
