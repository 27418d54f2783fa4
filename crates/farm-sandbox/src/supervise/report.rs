//! What bubblewrap says of a command's end.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::command::{Captured, Exit};
use crate::launch::Launch;
use crate::sandbox::SandboxError;
use crate::spawn::Unstarted;

pub(super) fn bare_exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

pub(super) fn contained_exit(code: i32) -> Exit {
    /// The signals that end programs in practice; other codes above 128 are more likely a program's own.
    const DEADLY: [i32; 13] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGKILL,
        libc::SIGSEGV,
        libc::SIGPIPE,
        libc::SIGTERM,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGSYS,
    ];
    match code - 128 {
        signal if DEADLY.contains(&signal) => Exit::Signal(signal),
        _ => Exit::Code(code),
    }
}

/// Names what failed before there was a process to watch.
pub(super) fn unstarted(unstarted: Unstarted, launch: &Launch) -> SandboxError {
    let (program, reason) = (launch.name.clone(), unstarted.source.to_string());
    match unstarted.step {
        Some(step) => SandboxError::Setup { step, reason },
        None if launch.contained() => SandboxError::Setup { step: "start bubblewrap", reason },
        None if unstarted.source.kind() == ErrorKind::NotFound => SandboxError::ProgramNotFound { program },
        None => SandboxError::NotStarted { program, reason },
    }
}

/// Tells what a command lacks from a sandbox that could not be set up, by bubblewrap's last words.
pub(super) fn not_started(program: String, status: Option<ExitStatus>, output: &Captured) -> SandboxError {
    let step = "bubblewrap";
    if let Some(signal) = status.and_then(|status| status.signal()) {
        return SandboxError::Setup { step, reason: format!("it was killed by signal {signal}") };
    }
    let text = output.text();
    let reason =
        text.lines().rev().find_map(|line| line.strip_prefix("bwrap: ")).unwrap_or("no reason was given");
    if reason.starts_with("Can't chdir to") {
        return SandboxError::NotStarted { program, reason: reason.into() };
    }
    match reason.strip_prefix("execvp ") {
        Some(failure) if failure.ends_with("No such file or directory") => {
            SandboxError::ProgramNotFound { program }
        }
        Some(failure) => SandboxError::NotStarted { program, reason: failure.into() },
        None => SandboxError::Setup { step, reason: reason.into() },
    }
}

/// Finds `"key": number`, once the number is whole, in the JSON lines that bubblewrap writes.
pub(super) fn number_after(text: &[u8], key: &[u8]) -> Option<i32> {
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = text[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bubblewraps_report() {
        let whole = b"{ \"child-pid\": 4711 }\n{ \"exit-code\": 3 }\n";
        assert_eq!(number_after(whole, b"\"child-pid\""), Some(4711));
        assert_eq!(number_after(whole, b"\"exit-code\""), Some(3));
        assert_eq!(number_after(&whole[..19], b"\"child-pid\""), None, "the number may go on");
        assert_eq!(number_after(b"{ \"child-pid\": x }", b"\"child-pid\""), None);
    }

    #[test]
    fn tells_signals_from_codes() {
        assert_eq!(contained_exit(0), Exit::Code(0));
        assert_eq!(contained_exit(137), Exit::Signal(9));
        assert_eq!(contained_exit(128), Exit::Code(128));
        assert_eq!(contained_exit(255), Exit::Code(255));
    }
}
