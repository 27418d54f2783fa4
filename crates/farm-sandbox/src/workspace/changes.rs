//! What differs from the shared tree, read from the layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::WorkspaceError;
use super::beneath::{Node, link_target, look, look_beneath, names, open, open_folder};
use super::layers::{Layers, is_opaque, same_content};

/// More changed paths than this are a mistake or an attack.
const MAX_CHANGES: usize = 200_000;

/// One path that is not as in the shared tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub path: PathBuf,
    pub kind: ChangeKind,
    /// What is there now; for a deletion, what was.
    pub entry: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Added,
    /// Content, executable bit or type.
    Modified,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File {
        executable: bool,
    },
    Symlink,
    /// A pipe, a socket: nothing that git can hold.
    Other,
}

/// Lists the changes of a workspace.
pub(super) fn list(layers: &Layers) -> Result<Vec<Change>, WorkspaceError> {
    let walked = if layers.overlaid {
        walk_upper(layers)?
    } else {
        // Nothing shows through a copy: all that it does not hold itself is gone.
        Walked { present: leaves(&layers.upper, Path::new(""))?, hidden: vec![PathBuf::new()] }
    };
    let mut gone = BTreeSet::new();
    for hidden in walked.hidden {
        gone.extend(leaves(&layers.lower, &hidden)?.into_keys());
    }
    let mut changes = Vec::new();
    for (path, now) in walked.present {
        gone.remove(&path);
        let before = look_beneath(&layers.lower, &path).map_err(WorkspaceError::io("look at", &path))?;
        let kind = match before {
            None | Some(Node::Folder) => ChangeKind::Added,
            Some(before) if is_same(layers, &path, before, now)? => continue,
            Some(_) => ChangeKind::Modified,
        };
        changes.push(Change { path, kind, entry: entry(now) });
    }
    for path in gone {
        let before = look_beneath(&layers.lower, &path).map_err(WorkspaceError::io("look at", &path))?;
        let entry = before.map_or(EntryKind::Other, entry);
        changes.push(Change { path, kind: ChangeKind::Deleted, entry });
    }
    changes.sort();
    Ok(changes)
}

/// What an upper layer says.
struct Walked {
    /// Everything in it but folders and marks.
    present: BTreeMap<PathBuf, Node>,
    /// Paths at and beneath which nothing of the lower layer shows.
    hidden: Vec<PathBuf>,
}

fn walk_upper(layers: &Layers) -> Result<Walked, WorkspaceError> {
    let mut walked = Walked { present: BTreeMap::new(), hidden: Vec::new() };
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let io = || WorkspaceError::io("list", &path);
        let folder = open_folder(&layers.upper, &path).map_err(io())?;
        if is_opaque(&folder).map_err(io())? {
            walked.hidden.push(path.clone());
        }
        for name in names(&folder).map_err(io())? {
            let below = path.join(&name);
            match look(&folder, &name).map_err(io())? {
                Some(Node::Folder) => {
                    // Over a lower file or link, the folder hides it without any mark.
                    if !matches!(
                        look_beneath(&layers.lower, &below).map_err(io())?,
                        None | Some(Node::Folder)
                    ) {
                        walked.hidden.push(below.clone());
                    }
                    pending.push(below);
                }
                Some(Node::Whiteout) => walked.hidden.push(below),
                Some(node) => {
                    walked.hidden.push(below.clone());
                    walked.present.insert(below, node);
                }
                None => {}
            }
            bound(walked.present.len() + walked.hidden.len())?;
        }
    }
    Ok(walked)
}

/// Lists everything at and beneath `start` but folders.
fn leaves(root: &rustix::fd::OwnedFd, start: &Path) -> Result<BTreeMap<PathBuf, Node>, WorkspaceError> {
    let mut found = BTreeMap::new();
    let mut pending = Vec::new();
    match look_beneath(root, start).map_err(WorkspaceError::io("list", start))? {
        Some(Node::Folder) => pending.push(start.to_path_buf()),
        Some(node) => drop(found.insert(start.to_path_buf(), node)),
        None => {}
    }
    while let Some(path) = pending.pop() {
        let io = || WorkspaceError::io("list", &path);
        let folder = open_folder(root, &path).map_err(io())?;
        for name in names(&folder).map_err(io())? {
            let below = path.join(&name);
            match look(&folder, &name).map_err(io())? {
                Some(Node::Folder) => pending.push(below),
                Some(node) => drop(found.insert(below, node)),
                None => {}
            }
            bound(found.len())?;
        }
    }
    Ok(found)
}

fn bound(n_paths: usize) -> Result<(), WorkspaceError> {
    if n_paths > MAX_CHANGES { Err(WorkspaceError::TooManyChanges { limit: MAX_CHANGES }) } else { Ok(()) }
}

/// Says whether a command only touched a path: overlays copy files up that were opened for writing.
fn is_same(layers: &Layers, path: &Path, before: Node, now: Node) -> Result<bool, WorkspaceError> {
    let io = || WorkspaceError::io("compare", path);
    match (before, now) {
        (Node::File { .. }, Node::File { .. }) if before == now => {
            let lower = open(&layers.lower, path, OFlags::RDONLY).map_err(io())?;
            match open(&layers.upper, path, OFlags::RDONLY) {
                Ok(upper) => same_content(lower, upper).map_err(|source| WorkspaceError::Io {
                    what: "compare",
                    path: path.to_path_buf(),
                    source,
                }),
                // Closed by the command even to its owner, so it was changed.
                Err(Errno::ACCESS) => Ok(false),
                Err(errno) => Err(io()(errno)),
            }
        }
        (Node::Link, Node::Link) => Ok(link_target(&layers.lower, path).map_err(io())?
            == link_target(&layers.upper, path).map_err(io())?),
        _ => Ok(false),
    }
}

fn entry(node: Node) -> EntryKind {
    match node {
        Node::File { executable, .. } => EntryKind::File { executable },
        Node::Link => EntryKind::Symlink,
        Node::Folder | Node::Whiteout | Node::Other => EntryKind::Other,
    }
}
