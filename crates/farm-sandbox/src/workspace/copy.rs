//! Copies a shared tree, where the kernel has no overlay for us.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::WorkspaceError;
use super::beneath::{Node, link_target, look, names, open, open_folder};

/// Copies everything beneath `from` to the empty folder `to`. Files are new files, never hard links.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, owner: Option<(Uid, Gid)>) -> Result<(), WorkspaceError> {
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let io = || WorkspaceError::io("copy", &path);
        let (source, target) =
            (open_folder(from, &path).map_err(io())?, open_folder(to, &path).map_err(io())?);
        for name in names(&source).map_err(io())? {
            let below = path.join(&name);
            let io = || WorkspaceError::io("copy", &below);
            match look(&source, &name).map_err(io())? {
                Some(Node::Folder) => {
                    rustix::fs::mkdirat(&target, &name, Mode::from_raw_mode(0o755)).map_err(io())?;
                    let made = open_folder(&target, name.as_ref()).map_err(io())?;
                    finish(&made, 0o755, owner).map_err(io())?;
                    pending.push(below);
                }
                Some(Node::Link) => {
                    let points_to = link_target(&source, name.as_ref()).map_err(io())?;
                    rustix::fs::symlinkat(points_to, &target, &name).map_err(io())?;
                    if let Some((uid, gid)) = owner {
                        rustix::fs::chownat(&target, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                            .map_err(io())?;
                    }
                }
                Some(Node::File { executable, .. }) => {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    let mut input = File::from(open(&source, name.as_ref(), OFlags::RDONLY).map_err(io())?);
                    let mut output = File::from(
                        rustix::fs::openat(&target, &name, flags, Mode::from_raw_mode(0o600)).map_err(io())?,
                    );
                    // Shares the blocks where the file system can.
                    std::io::copy(&mut input, &mut output).map_err(|source| WorkspaceError::Io {
                        what: "copy",
                        path: below.clone(),
                        source,
                    })?;
                    finish(&output, if executable { 0o755 } else { 0o644 }, owner).map_err(io())?;
                }
                // A tree of git has none of these.
                Some(Node::Whiteout | Node::Other) | None => {}
            }
        }
    }
    Ok(())
}

fn finish(made: impl AsFd, mode: u32, owner: Option<(Uid, Gid)>) -> Result<(), Errno> {
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))
}
