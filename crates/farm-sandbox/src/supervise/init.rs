//! A handle on the first process of a pid namespace.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bubblewrap's init, the first process of the pid namespace, held so that its number cannot be reused.
pub(super) struct Init {
    handle: AsyncFd<OwnedFd>,
}

impl Init {
    /// Opens process `pid`, which must still be a child of `outer`: else the number is somebody else's, and the error
    /// is `NotFound`.
    pub(super) fn open(pid: i32, outer: Pid) -> std::io::Result<Init> {
        let pid = Pid::from_raw(pid).ok_or(ErrorKind::InvalidData)?;
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Err(Errno::SRCH) => return Err(ErrorKind::NotFound.into()),
            opened => opened?,
        };
        let stat = match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                return Err(ErrorKind::NotFound.into());
            }
            read => read?,
        };
        // "pid (name) state parent …", where the name may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if parent != Some(outer.as_raw_nonzero().get()) {
            return Err(ErrorKind::NotFound.into());
        }
        // SAFETY: an owned descriptor stays open and the same for as long as it is registered.
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }?;
        Ok(Init { handle })
    }

    pub(super) fn kill(&self) {
        match rustix::process::pidfd_send_signal(self.handle.get_ref(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, "cannot kill a sandbox"),
        }
    }

    pub(super) async fn gone(&self) {
        // An error means that the runtime is shutting down.
        drop(self.handle.readable().await);
    }

    /// Reaps it if it became ours: a worker that is itself pid 1 of a container inherits it when bubblewrap ends first.
    pub(super) fn reap(&self) {
        let id = WaitId::PidFd(self.handle.get_ref().as_fd());
        // It is nearly always another's child, which is the error ignored here.
        let _ = rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}
