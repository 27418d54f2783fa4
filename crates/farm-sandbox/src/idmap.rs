//! Shows files of root to a slot's user as that user's own, without touching them.
//!
//! Many slots share one read-only tree. An overlay asks the owner of the lower file before it lets a command write, so
//! each slot must see itself as the owner; a mount with mapped owners does that (Linux 5.19 for overlays).

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;

/// Makes a user namespace in which uid and gid `owner` stand where the kernel has `uid`.
pub(crate) fn owners(owner: u32, uid: u32) -> std::io::Result<OwnedFd> {
    // A namespace needs a process to be made; this one waits for the end of its input.
    let mut holder = Command::new("/bin/cat");
    holder.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call; the new process has one thread.
    unsafe {
        holder.pre_exec(|| Ok(rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)?));
    }
    let mut holder = holder.spawn()?;
    let result = map_and_open(holder.id(), owner, uid);
    drop(holder.stdin.take());
    holder.wait()?;
    result
}

fn map_and_open(pid: u32, owner: u32, uid: u32) -> std::io::Result<OwnedFd> {
    let map = format!("{owner} {uid} 1");
    for file in ["uid_map", "gid_map"] {
        std::fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/{pid}/{file}"))?
            .write_all(map.as_bytes())?;
    }
    Ok(std::fs::File::open(format!("/proc/{pid}/ns/user"))?.into())
}
