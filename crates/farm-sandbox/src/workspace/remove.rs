//! Removes trees that hostile commands built: of any depth, with closed folders, without following a link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{Node, look, names};

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

/// Removes `name` from `folder`, whatever it is.
///
/// Folders in a folder are first moved up to its top, so that two open descriptors suffice for any depth.
pub(super) fn remove(folder: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    if look(&folder, name)? != Some(Node::Folder) {
        return rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    let top = open_writable(folder.as_fd(), name)?;
    let mut n_moved = 0u64;
    loop {
        let children = names(&top)?;
        if children.is_empty() {
            return rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR);
        }
        for child in children {
            if look(&top, &child)? != Some(Node::Folder) {
                rustix::fs::unlinkat(&top, &child, AtFlags::empty())?;
                continue;
            }
            let opened = open_writable(top.as_fd(), &child)?;
            for grandchild in names(&opened)? {
                if look(&opened, &grandchild)? != Some(Node::Folder) {
                    rustix::fs::unlinkat(&opened, &grandchild, AtFlags::empty())?;
                    continue;
                }
                // To move a folder elsewhere its own ".." is written, so it must be open to its owner as well.
                open_writable(opened.as_fd(), &grandchild)?;
                move_up(opened.as_fd(), &grandchild, top.as_fd(), &mut n_moved)?;
            }
            rustix::fs::unlinkat(&top, &child, AtFlags::REMOVEDIR)?;
        }
    }
}

fn move_up(from: BorrowedFd<'_>, name: &OsStr, top: BorrowedFd<'_>, n_moved: &mut u64) -> Result<(), Errno> {
    loop {
        let unused = OsString::from(format!(".moved-{n_moved}"));
        *n_moved += 1;
        match rustix::fs::renameat_with(from, name, top, &unused, rustix::fs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

/// Opens a folder, giving its owner the rights to empty it if they are missing.
fn open_writable(folder: BorrowedFd<'_>, name: &OsStr) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & 0o700 != 0o700 {
        // Follows links, but this is a folder, and nothing runs that could put a link in its place.
        rustix::fs::chmodat(folder, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
    }
    rustix::fs::openat(folder, name, flags, Mode::empty())
}
