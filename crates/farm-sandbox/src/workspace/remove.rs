//! Removes trees that hostile commands built: of any depth, with closed folders, without following a link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{Node, look, names};

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes a folder of ours with everything in it. Absence is fine.
pub(crate) fn erase(dir: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let parent = rustix::fs::openat(CWD, parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(remove(&parent, name)?)
}

/// A folder that is being emptied.
struct Level {
    name: OsString,
    /// Device and inode, by which it is known again on the way up.
    id: (u64, u64),
    subfolders: Vec<OsString>,
}

/// Removes `name` from `folder`, whatever it is. One descriptor at a time suffices for any depth.
pub(super) fn remove(folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    if look(&folder, name)? != Some(Node::Folder) {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    let mut here = open_writable(folder.as_fd(), name)?;
    let mut levels = vec![enter(&here, name)?];
    while let Some(level) = levels.last_mut() {
        if let Some(child) = level.subfolders.pop() {
            here = open_writable(here.as_fd(), &child)?;
            levels.push(enter(&here, &child)?);
            continue;
        }
        let name = std::mem::take(&mut level.name);
        levels.pop();
        let Some(above) = levels.last() else {
            return rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR);
        };
        here = rustix::fs::openat(&here, "..", FOLDER, Mode::empty())?;
        if identity(&here)? != above.id {
            // Somebody moves folders under our feet.
            return Err(Errno::STALE);
        }
        rustix::fs::unlinkat(&here, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes all but the folders from an open folder.
fn enter(folder: &OwnedFd, name: &OsStr) -> Result<Level, Errno> {
    let mut subfolders = Vec::new();
    for child in names(folder)? {
        if look(folder, &child)? == Some(Node::Folder) {
            subfolders.push(child);
        } else {
            rustix::fs::unlinkat(folder, &child, AtFlags::empty())?;
        }
    }
    Ok(Level { name: name.to_owned(), id: identity(folder)?, subfolders })
}

fn identity(folder: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(folder).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Opens a folder, giving its owner the rights to empty it if they are missing.
fn open_writable(folder: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & 0o700 != 0o700 {
        // Follows links, but this is a folder, and nothing runs that could put a link in its place.
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
    }
    rustix::fs::openat(folder, name, FOLDER, Mode::empty())
}
