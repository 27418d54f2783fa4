//! Three-way merge of trees in memory. Attributes and merge drivers are not asked, renames not looked for: a hunk goes to
//! the path that it was written for, or it is a conflict (I4).

use std::collections::BTreeMap;

use farm_core::delta::{FileMode, RepoPath};
use farm_core::id::Oid;
use git2::{MergeFileInput, Repository};

use crate::error::GitError;
use crate::objects::delta::names;
use crate::objects::{Objects, blob_size, find_tree, id, load, oid};

/// Larger files are not merged line by line but are in conflict if both sides changed them.
const MAX_MERGED_BYTES: u64 = 16 << 20;
const DIRECTORY: u32 = 0o040000;

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// The merged tree.
    Clean(Oid),
    /// The paths that both sides changed in ways that do not go together, sorted; nothing was decided.
    Conflicts(Vec<RepoPath>),
}

type Named = (git2::Oid, Option<FileMode>);

/// The three versions of one name.
#[derive(Default, Clone, Copy)]
struct Three {
    base: Option<Named>,
    ours: Option<Named>,
    theirs: Option<Named>,
}

impl Objects {
    /// Merges what `theirs` changed since `ancestor` into `ours`; all three are trees.
    pub fn merge_trees(&self, ancestor: &Oid, ours: &Oid, theirs: &Oid) -> Result<Merge, GitError> {
        self.with(|repo| {
            let tree = |tree: &Oid| Ok::<_, GitError>(Some((id(tree)?, None)));
            let three = Three { base: tree(ancestor)?, ours: tree(ours)?, theirs: tree(theirs)? };
            let mut conflicts = Vec::new();
            let merged = merge(repo, three, &mut Vec::new(), 0, &mut conflicts)?;
            if !conflicts.is_empty() {
                conflicts.sort();
                return Ok(Merge::Conflicts(conflicts));
            }
            match merged {
                Some((tree, _)) => oid(tree).map(Merge::Clean),
                None => {
                    let empty = repo.treebuilder(None).and_then(|builder| builder.write());
                    oid(empty.map_err(GitError::object("write the empty tree"))?).map(Merge::Clean)
                }
            }
        })
    }
}

/// Merges one name; the value means nothing once a conflict was recorded.
fn merge(
    repo: &Repository,
    three: Three,
    at: &mut Vec<u8>,
    depth: usize,
    conflicts: &mut Vec<RepoPath>,
) -> Result<Option<Named>, GitError> {
    let Three { base, ours, theirs } = three;
    if ours == theirs || base == theirs {
        return Ok(ours);
    }
    if base == ours {
        return Ok(theirs);
    }
    let is_tree = |side: Option<Named>| side.is_none_or(|(_, mode)| mode.is_none());
    // A directory that one side removed is compared entry by entry, so that conflicts name files. The root is a tree on
    // all three sides.
    if is_tree(base) && is_tree(ours) && is_tree(theirs) {
        return merge_directory(repo, three, at, depth, conflicts);
    }
    if let (Some((ours, Some(our_mode))), Some((theirs, Some(their_mode)))) = (ours, theirs) {
        let base = base.and_then(|(blob, mode)| mode.map(|mode| (blob, mode)));
        if let Some(mode) = merged_mode(base.map(|(_, mode)| mode), our_mode, their_mode)
            && let Some(blob) = merge_file(repo, base.map(|(blob, _)| blob), ours, theirs, mode)?
        {
            return Ok(Some((blob, Some(mode))));
        }
    }
    conflicts.push(RepoPath(at.clone()));
    Ok(ours)
}

fn merge_directory(
    repo: &Repository,
    three: Three,
    at: &mut Vec<u8>,
    depth: usize,
    conflicts: &mut Vec<RepoPath>,
) -> Result<Option<Named>, GitError> {
    let mut sides: BTreeMap<Vec<u8>, Three> = BTreeMap::new();
    let tree = |side: Option<Named>| side.map(|(tree, _)| tree);
    for (name, entry) in names(repo, tree(three.base), depth)? {
        sides.entry(name).or_default().base = Some(entry);
    }
    for (name, entry) in names(repo, tree(three.ours), depth)? {
        sides.entry(name).or_default().ours = Some(entry);
    }
    for (name, entry) in names(repo, tree(three.theirs), depth)? {
        sides.entry(name).or_default().theirs = Some(entry);
    }
    let writing = || GitError::object("write a merged tree");
    let ours = tree(three.ours).map(|tree| find_tree(repo, tree)).transpose()?;
    let mut builder = repo.treebuilder(ours.as_ref()).map_err(writing())?;
    for (name, sides) in sides {
        let length = at.len();
        if !at.is_empty() {
            at.push(b'/');
        }
        at.extend_from_slice(&name);
        let merged = merge(repo, sides, at, depth + 1, conflicts)?;
        at.truncate(length);
        match merged {
            _ if merged == sides.ours => {}
            Some((entry, mode)) => {
                let mode = mode.map_or(DIRECTORY, FileMode::bits);
                builder.insert(name, entry, mode.cast_signed()).map_err(writing())?;
            }
            None => builder.remove(name).map_err(writing())?,
        }
    }
    if builder.is_empty() {
        return Ok(None);
    }
    Ok(Some((builder.write().map_err(writing())?, None)))
}

/// The mode that both sides can agree on: a change on one side wins; links and submodules do not merge.
fn merged_mode(base: Option<FileMode>, ours: FileMode, theirs: FileMode) -> Option<FileMode> {
    let is_file = |mode: FileMode| matches!(mode, FileMode::Regular | FileMode::Executable);
    if !is_file(ours) || !is_file(theirs) || base.is_some_and(|mode| !is_file(mode)) {
        return None;
    }
    if ours == theirs || base == Some(theirs) { Some(ours) } else { base.map(|_| theirs) }
}

/// The merged blob; `None` if the two sides do not go together.
fn merge_file(
    repo: &Repository,
    base: Option<git2::Oid>,
    ours: git2::Oid,
    theirs: git2::Oid,
    mode: FileMode,
) -> Result<Option<git2::Oid>, GitError> {
    if ours == theirs || base == Some(theirs) {
        return Ok(Some(ours));
    }
    // Two sides that both added the file have nothing in common to merge along.
    let Some(base) = base else { return Ok(None) };
    if base == ours {
        return Ok(Some(theirs));
    }
    let mut texts = [base, ours, theirs].into_iter().map(|blob| {
        if blob_size(repo, blob)? > MAX_MERGED_BYTES {
            return Ok(None);
        }
        let text = load(repo, blob)?;
        // As git does: a NUL byte early on makes a file binary.
        Ok(Some(text).filter(|text| !text.iter().take(8000).any(|byte| *byte == 0)))
    });
    let mut next = || texts.next().transpose().map(Option::flatten);
    let (Some(base), Some(ours), Some(theirs)) = (next()?, next()?, next()?) else { return Ok(None) };
    let input = |text| {
        let mut input = MergeFileInput::new();
        input.content(text);
        input
    };
    let merged = git2::merge_file(&input(&base), &input(&ours), &input(&theirs), None)
        .map_err(GitError::object(format!("merge a file of mode {:o}", mode.bits())))?;
    if !merged.is_automergeable() {
        return Ok(None);
    }
    repo.blob(merged.content()).map(Some).map_err(GitError::object("write a merged blob"))
}
