//! Files beneath a folder, reached without ever following a link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::WorkspaceError;

/// Checks that a path has only plain names, and writes it plainly.
pub(super) fn relative(path: &Path) -> Result<PathBuf, WorkspaceError> {
    let invalid = || WorkspaceError::InvalidPath { path: path.to_path_buf() };
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(invalid());
    }
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return Err(invalid()),
        }
    }
    if plain.as_os_str().is_empty() { Err(invalid()) } else { Ok(plain) }
}

/// Opens a folder of our own making by its host path.
pub(super) fn root(path: &Path) -> Result<OwnedFd, WorkspaceError> {
    rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(WorkspaceError::io("open the folder", path))
}

/// Opens `path` beneath `root`; `ELOOP` where it leads through a link.
pub(super) fn open(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(
        root,
        path,
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

pub(super) fn open_folder(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::DIRECTORY | OFlags::RDONLY)
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File {
        executable: bool,
        size: u64,
    },
    Folder,
    Link,
    /// An overlay's mark of a deletion: a character device numbered 0.
    Whiteout,
    Other,
}

/// Looks at `name`, one component, in `folder`.
pub(super) fn look(folder: impl AsFd, name: &OsStr) -> Result<Option<Node>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(node(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Looks at `path` beneath `root`. What lies behind a link or a file is not there.
pub(super) fn look_beneath(root: impl AsFd, path: &Path) -> Result<Option<Node>, Errno> {
    match open(root, path, OFlags::PATH) {
        Ok(found) => rustix::fs::fstat(&found).map(|stat| Some(node(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn node(stat: &Stat) -> Node {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Node::File {
            executable: stat.st_mode & 0o100 != 0,
            size: u64::try_from(stat.st_size).unwrap_or(0),
        },
        FileType::Directory => Node::Folder,
        FileType::Symlink => Node::Link,
        FileType::CharacterDevice if stat.st_rdev == 0 => Node::Whiteout,
        _ => Node::Other,
    }
}

/// Lists the names in an open folder, without `.` and `..`.
pub(super) fn names(folder: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Reads where a link points.
pub(super) fn link_target(root: impl AsFd, path: &Path) -> Result<Vec<u8>, Errno> {
    let (parent, name) = split(path);
    let folder = open_folder(root, parent)?;
    Ok(rustix::fs::readlinkat(&folder, name, Vec::new())?.into_bytes())
}

/// Parts a path that [`relative`] made into folder and name.
pub(super) fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or(OsStr::new("")))
}
