//! The few objects of a push, as a pack in a directory of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use farm_core::delta::FileMode;
use farm_core::id::Oid;
use git2::Repository;

use crate::error::GitError;
use crate::objects::delta::names;
use crate::objects::{Objects, id};

impl Objects {
    /// Packs into the new directory `dest` (laid out as git's `objects`, with `known` as its alternate) what `commits` and
    /// their ancestors hold that `known` has not.
    pub(crate) fn pack_outgoing(
        &self,
        known: &Objects,
        commits: &[Oid],
        dest: &Path,
    ) -> Result<(), GitError> {
        let packs = dest.join("pack");
        let info = dest.join("info");
        for dir in [&packs, &info] {
            std::fs::create_dir_all(dir).map_err(GitError::io("create", dir))?;
        }
        let alternates = info.join("alternates");
        let known_dir = known.dir().join("objects");
        std::fs::write(&alternates, [known_dir.as_os_str().as_encoded_bytes(), b"\n"].concat())
            .map_err(GitError::io("write", &alternates))?;
        let objects = known.with(|known| self.with(|repo| collect(repo, known, commits)))?;
        if objects.is_empty() {
            return Ok(());
        }
        self.with(|repo| {
            let packing = || GitError::object("pack the objects of a push");
            let mut builder = repo.packbuilder().map_err(packing())?;
            builder.set_threads(1);
            for object in &objects {
                builder.insert_object(*object, None).map_err(packing())?;
            }
            builder.write(&packs, 0o444).map_err(packing())
        })
    }
}

fn collect(repo: &Repository, known: &Repository, commits: &[Oid]) -> Result<BTreeSet<git2::Oid>, GitError> {
    let mut objects = BTreeSet::new();
    let mut left = commits.iter().map(id).collect::<Result<Vec<_>, _>>()?;
    while let Some(commit) = left.pop() {
        if known.find_commit(commit).is_ok() || !objects.insert(commit) {
            continue;
        }
        let reading = || GitError::object(format!("read commit {commit}"));
        let commit = repo.find_commit(commit).map_err(reading())?;
        let before = commit.parents().next().map(|parent| parent.tree_id());
        collect_tree(repo, before, commit.tree_id(), 0, &mut objects)?;
        left.extend(commit.parent_ids());
    }
    Ok(objects)
}

/// What a tree holds that the tree before it did not hold at the same place.
fn collect_tree(
    repo: &Repository,
    before: Option<git2::Oid>,
    tree: git2::Oid,
    depth: usize,
    objects: &mut BTreeSet<git2::Oid>,
) -> Result<(), GitError> {
    if before == Some(tree) || !objects.insert(tree) {
        return Ok(());
    }
    let before: BTreeMap<_, _> = names(repo, before, depth)?.into_iter().collect();
    for (name, entry) in names(repo, Some(tree), depth)? {
        let old = before.get(&name);
        match entry {
            _ if old == Some(&entry) => {}
            (_, Some(FileMode::Submodule)) => {}
            (blob, Some(_)) => {
                objects.insert(blob);
            }
            (tree, None) => {
                let old = old.filter(|(_, mode)| mode.is_none()).map(|(tree, _)| *tree);
                collect_tree(repo, old, tree, depth + 1, objects)?;
            }
        }
    }
    Ok(())
}
