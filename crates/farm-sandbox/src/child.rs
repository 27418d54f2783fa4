//! The steps a forked child takes before it becomes bubblewrap.
//!
//! Between fork and exec of a process with threads only async-signal-safe calls are allowed: no allocation, no lock, no
//! libc wrapper that talks to other threads (`setresuid` of glibc does). So every string and descriptor is made before
//! the fork, and each step is one or a few raw system calls (rustix makes them without libc).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid};
use rustix::thread::UnshareFlags;

/// One step, with everything that it needs already in memory.
#[derive(Debug)]
pub(crate) enum Step {
    /// Mounts of this child stay in this child.
    NewMounts,
    /// A user namespace in which this uid and gid are themselves and nobody else exists.
    NewUser {
        uid_map: CString,
        gid_map: CString,
    },
    /// Becomes this user for good, before anything foreign runs.
    Become {
        uid: u32,
    },
    Stage {
        at: CString,
    },
    Folder {
        at: CString,
    },
    File {
        at: CString,
        content: &'static [u8],
    },
    Bind {
        from: CString,
        to: CString,
    },
    /// A bind whose files show the owners that the user namespace maps them to.
    BindMapped {
        from: CString,
        to: CString,
        owners: Arc<OwnedFd>,
    },
    Move {
        from: CString,
        to: CString,
    },
    Overlay {
        options: CString,
        at: CString,
    },
    Limit {
        resource: Resource,
        value: u64,
    },
    /// Out of the worker's terminal and process group.
    NewSession,
    /// Dies with the worker.
    FollowParent {
        parent: Pid,
    },
    /// Nothing but standard streams and these descriptors outlives the exec.
    CloseAllBut {
        kept: Vec<RawFd>,
    },
}

impl Step {
    /// Names the step for the error message.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Step::NewMounts => "make a mount namespace",
            Step::NewUser { .. } => "make a user namespace",
            Step::Become { .. } => "become the slot's user",
            Step::Stage { .. } => "mount the staging folder",
            Step::Folder { .. } => "make a mount point",
            Step::File { .. } => "write a file of the sandbox",
            Step::Bind { .. } => "bind a host folder",
            Step::BindMapped { .. } => "bind the shared tree with mapped owners",
            Step::Move { .. } => "move the staging folder",
            Step::Overlay { .. } => "mount the overlay",
            Step::Limit { .. } => "set a limit",
            Step::NewSession => "start a session",
            Step::FollowParent { .. } => "follow the worker's death",
            Step::CloseAllBut { .. } => "close inherited descriptors",
        }
    }

    /// Takes the step. Async-signal-safe.
    pub(crate) fn take(&self) -> Result<(), Errno> {
        match self {
            Step::NewMounts => new_mounts(UnshareFlags::NEWNS),
            Step::NewUser { uid_map, gid_map } => {
                new_mounts(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
                // A changed uid makes /proc/self root's, and the maps could not be written. For the moment until exec
                // the child's memory is the worker's and readable to its own uid: nothing of that uid runs outside the
                // sandboxes, whose pid namespaces do not show this process.
                rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
                write_file(c"/proc/self/setgroups", OFlags::WRONLY, b"deny")?;
                write_file(c"/proc/self/uid_map", OFlags::WRONLY, uid_map.to_bytes())?;
                write_file(c"/proc/self/gid_map", OFlags::WRONLY, gid_map.to_bytes())
            }
            Step::Become { uid } => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*uid));
                rustix::thread::set_thread_groups(&[])?;
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                rustix::thread::set_thread_res_uid(uid, uid, uid)
            }
            Step::Stage { at } => rustix::mount::mount(
                c"tmpfs",
                at.as_c_str(),
                c"tmpfs",
                MountFlags::empty(),
                c"mode=0755,size=1m",
            ),
            Step::Folder { at } => rustix::fs::mkdirat(CWD, at.as_c_str(), Mode::from_raw_mode(0o755)),
            Step::File { at, content } => {
                write_file(at, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, content)
            }
            Step::Bind { from, to } => rustix::mount::mount_bind_recursive(from.as_c_str(), to.as_c_str()),
            Step::BindMapped { from, to, owners } => bind_mapped(from, to, owners.as_fd()),
            Step::Move { from, to } => rustix::mount::mount_move(from.as_c_str(), to.as_c_str()),
            Step::Overlay { options, at } => rustix::mount::mount(
                c"overlay",
                at.as_c_str(),
                c"overlay",
                MountFlags::NODEV | MountFlags::NOSUID,
                options.as_c_str(),
            ),
            Step::Limit { resource, value } => {
                rustix::process::setrlimit(*resource, Rlimit { current: Some(*value), maximum: Some(*value) })
            }
            Step::NewSession => rustix::process::setsid().map(drop),
            Step::FollowParent { parent } => {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have died before the line above.
                if rustix::process::getppid() == Some(*parent) { Ok(()) } else { Err(Errno::SRCH) }
            }
            Step::CloseAllBut { kept } => close_all_but(kept),
        }
    }
}

fn new_mounts(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the flags leave the descriptor table shared as it was, and this process has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

fn write_file(path: &CStr, how: OFlags, content: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, how | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?;
    // The maps of a user namespace take one write; the other files are far smaller than a page.
    match rustix::io::write(&file, content)? {
        n if n == content.len() => Ok(()),
        _ => Err(Errno::NOSPC),
    }
}

fn bind_mapped(from: &CStr, to: &CStr, owners: BorrowedFd<'_>) -> Result<(), Errno> {
    let tree = rustix::mount::open_tree(
        CWD,
        from,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    map_owners(tree.as_fd(), owners)?;
    rustix::mount::move_mount(&tree, c"", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn map_owners(tree: BorrowedFd<'_>, owners: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: owners.as_raw_fd() as u64,
    };
    // SAFETY: the descriptor is open, the path a C string, and the structure as long as the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result)
}

fn close_all_but(kept: &[RawFd]) -> Result<(), Errno> {
    // SAFETY: marks descriptors close-on-exec; none is closed under its owner.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    for number in kept {
        // SAFETY: the caller keeps this descriptor open until the child was made.
        let kept = unsafe { BorrowedFd::borrow_raw(*number) };
        rustix::io::fcntl_setfd(kept, FdFlags::empty())?;
    }
    Ok(())
}

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    // SAFETY: reads this thread's errno.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}
