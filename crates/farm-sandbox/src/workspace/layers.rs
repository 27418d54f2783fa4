//! Reads and writes the layers of a workspace, as the overlay would show them, while nothing is mounted.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::WorkspaceError;
use super::beneath::{Node, look, look_beneath, open, open_folder, split};
use super::remove;

/// On a folder of the upper layer: nothing of the lower one shows through it.
const OPAQUE: &str = "user.overlay.opaque";

/// The layers of one workspace. A copy is an upper layer through which nothing shows.
#[derive(Debug)]
pub(super) struct Layers {
    /// The workspace's own folder, which commands never see.
    pub(super) base: OwnedFd,
    pub(super) upper: OwnedFd,
    pub(super) lower: OwnedFd,
    /// Says whether the lower layer shows through the upper one.
    pub(super) overlaid: bool,
    /// Who shall own what is made, if not the worker.
    pub(super) owner: Option<(Uid, Gid)>,
}

/// The layer in which a path is to be found.
enum Found {
    Upper,
    Lower,
    Nowhere,
}

impl Layers {
    pub(super) fn put(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), WorkspaceError> {
        const STAGED: &str = "put";
        let io = || WorkspaceError::io("write", path);
        let (parent, name) = split(path);
        let folder = self.make_folders(parent)?;

        // Written aside and renamed, so that a link at the path is replaced and not followed.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.base, STAGED, flags, Mode::from_raw_mode(0o600)).map_err(io())?;
        let mut file = File::from(file);
        file.write_all(bytes).map_err(|source| WorkspaceError::Io {
            what: "write",
            path: path.to_path_buf(),
            source,
        })?;
        self.own(&file).map_err(io())?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777)).map_err(io())?;
        if look(&folder, name).map_err(io())? == Some(Node::Folder) {
            remove::remove(&folder, name).map_err(io())?;
        }
        rustix::fs::renameat(&self.base, STAGED, &folder, name).map_err(io())
    }

    pub(super) fn delete(&self, path: &Path) -> Result<(), WorkspaceError> {
        let io = || WorkspaceError::io("delete", path);
        let (parent, name) = split(path);
        match self.find(path)? {
            Found::Nowhere => return Err(WorkspaceError::NotFound { path: path.to_path_buf() }),
            Found::Upper => {
                let folder = open_folder(&self.upper, parent).map_err(io())?;
                remove::remove(&folder, name).map_err(io())?;
                if !matches!(self.find(path)?, Found::Lower) {
                    return Ok(());
                }
            }
            Found::Lower => {}
        }
        let folder = self.make_folders(parent)?;
        rustix::fs::mknodat(&folder, name, FileType::CharacterDevice, Mode::empty(), 0).map_err(io())
    }

    pub(super) fn read(&self, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, WorkspaceError> {
        match self.find(path)? {
            Found::Upper => read_beneath(&self.upper, path, limit_bytes),
            Found::Lower => read_beneath(&self.lower, path, limit_bytes),
            Found::Nowhere => Err(WorkspaceError::NotFound { path: path.to_path_buf() }),
        }
    }

    /// Finds the layer that shows `path`.
    fn find(&self, path: &Path) -> Result<Found, WorkspaceError> {
        let io = || WorkspaceError::io("find", path);
        let mut folder = self.upper.try_clone().map_err(|source| WorkspaceError::Io {
            what: "find",
            path: path.to_path_buf(),
            source,
        })?;
        let mut seen_through = self.overlaid;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            match look(&folder, name).map_err(io())? {
                None if seen_through => return self.find_lower(path),
                None | Some(Node::Whiteout) => return Ok(Found::Nowhere),
                Some(_) if names.peek().is_none() => return Ok(Found::Upper),
                Some(Node::Folder) => {
                    folder = open_folder(&folder, name.as_ref()).map_err(io())?;
                    seen_through = seen_through && !is_opaque(&folder).map_err(io())?;
                }
                Some(Node::Link) => return Err(WorkspaceError::ThroughLink { path: path.to_path_buf() }),
                Some(Node::File { .. } | Node::Other) => return Ok(Found::Nowhere),
            }
        }
        Ok(Found::Nowhere)
    }

    fn find_lower(&self, path: &Path) -> Result<Found, WorkspaceError> {
        match open(&self.lower, path, OFlags::PATH) {
            Ok(_) => Ok(Found::Lower),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Found::Nowhere),
            Err(Errno::LOOP) => Err(WorkspaceError::ThroughLink { path: path.to_path_buf() }),
            Err(errno) => Err(WorkspaceError::io("find", path)(errno)),
        }
    }

    /// Opens a folder of the upper layer, after making it and those above it where they show.
    fn make_folders(&self, path: &Path) -> Result<OwnedFd, WorkspaceError> {
        let io = || WorkspaceError::io("make the folder", path);
        let mut folder = open_folder(&self.upper, Path::new("")).map_err(io())?;
        let mut seen_through = self.overlaid;
        let mut so_far = PathBuf::new();
        for name in path.iter() {
            so_far.push(name);
            let below = if seen_through { look_beneath(&self.lower, &so_far).map_err(io())? } else { None };
            match look(&folder, name).map_err(io())?.or(below) {
                Some(Node::Link) => return Err(WorkspaceError::ThroughLink { path: so_far }),
                Some(Node::File { .. } | Node::Other) => {
                    return Err(WorkspaceError::NotAFolder { path: so_far });
                }
                Some(Node::Whiteout) => {
                    rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(io())?;
                    self.make_folder(&folder, name, true).map_err(io())?;
                }
                None => self.make_folder(&folder, name, false).map_err(io())?,
                Some(Node::Folder) => match self.make_folder(&folder, name, false) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(io()(errno)),
                },
            }
            folder = open_folder(&folder, name.as_ref()).map_err(io())?;
            seen_through = seen_through && !is_opaque(&folder).map_err(io())?;
        }
        Ok(folder)
    }

    fn make_folder(&self, folder: &OwnedFd, name: &OsStr, opaque: bool) -> Result<(), Errno> {
        rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755))?;
        let made = open_folder(folder, name.as_ref())?;
        self.own(&made)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
        if opaque {
            rustix::fs::fsetxattr(&made, OPAQUE, b"y", XattrFlags::empty())?;
        }
        Ok(())
    }

    fn own(&self, made: impl AsFd) -> Result<(), Errno> {
        match self.owner {
            Some((uid, gid)) => rustix::fs::fchown(made, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// Says whether an upper folder hides the lower one. A copy has no such mark, and a mark there would change nothing.
pub(super) fn is_opaque(folder: &OwnedFd) -> Result<bool, Errno> {
    match rustix::fs::fgetxattr(folder, OPAQUE, &mut [0u8; 1][..]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Reads a regular file beneath `root`; a fifo or device is never opened for longer than a look.
pub(super) fn read_beneath(root: &OwnedFd, path: &Path, limit_bytes: u64) -> Result<Vec<u8>, WorkspaceError> {
    let io = || WorkspaceError::io("read", path);
    match look_beneath(root, path).map_err(io())? {
        Some(Node::File { .. }) => {}
        Some(_) => return Err(WorkspaceError::NotAFile { path: path.to_path_buf() }),
        None => return Err(WorkspaceError::NotFound { path: path.to_path_buf() }),
    }
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(io())?;
    let mut bytes = Vec::new();
    File::from(file)
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| WorkspaceError::Io { what: "read", path: path.to_path_buf(), source })?;
    if bytes.len() as u64 > limit_bytes {
        return Err(WorkspaceError::TooLarge { path: path.to_path_buf(), limit_bytes });
    }
    Ok(bytes)
}

/// Compares two regular files, piece by piece.
pub(super) fn same_content(one: OwnedFd, other: OwnedFd) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::from(one), File::from(other));
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let n_bytes = one.read(&mut left)?;
        if n_bytes == 0 {
            return Ok(other.read(&mut right[..1])? == 0);
        }
        match other.read_exact(&mut right[..n_bytes]) {
            Ok(()) if left[..n_bytes] == right[..n_bytes] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
