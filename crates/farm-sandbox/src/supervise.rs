//! Watches one command: drains its output, ends it in time, and returns only when its whole process tree is dead.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::CancellationToken;

use crate::command::{Captured, Exit, Finished, Limits};
use crate::launch::Launch;
use crate::output::Recorder;
use crate::sandbox::{Sandbox, SandboxError};
use crate::workspace::Turn;

/// How long a killed tree may take to be gone, and a pipe held by an escaped process (opt-out only) is still read.
const KILL_GRACE: Duration = Duration::from_secs(5);
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Runs a prepared command to its end. `_turn` keeps the workspace from everybody else until then.
pub(crate) async fn run(
    sandbox: Sandbox,
    mut launch: Launch,
    limits: Limits,
    stdin: Option<Vec<u8>>,
    cancel: CancellationToken,
    _turn: Turn,
) -> Result<Finished, SandboxError> {
    let started = Instant::now();
    let mut running = Running::start(&sandbox, &mut launch, &limits, stdin.is_some()).await?;
    if let (Some(bytes), Some(pipe)) = (stdin, running.child.stdin.take()) {
        tokio::spawn(feed(pipe, bytes));
    }
    running.watch(&limits, &cancel, started).await?;
    running.finish(launch.name, started)
}

/// Writes a command's input. A command that does not read it all is not at fault.
async fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    if let Err(error) = pipe.write_all(&bytes).await {
        tracing::debug!(%error, "the command closed its input early");
    }
}

/// A started command and what is known of it so far.
struct Running {
    child: Child,
    /// Carries standard output and error together, or standard error alone.
    output: Option<Receiver>,
    /// Carries standard output alone, if the command asked for that.
    stdout: Option<Receiver>,
    /// What bubblewrap says: the pid of its init, then the command's exit code.
    status: Option<Receiver>,
    status_text: Vec<u8>,
    init: Option<Init>,
    contained: bool,
    recorded: Recorder,
    recorded_stdout: Option<Recorder>,
    n_bytes: u64,
    /// Why we ended it, if we did.
    verdict: Option<Exit>,
    exited: Option<ExitStatus>,
}

impl Running {
    async fn start(
        sandbox: &Sandbox,
        launch: &mut Launch,
        limits: &Limits,
        with_input: bool,
    ) -> Result<Running, SandboxError> {
        let io = |source| SandboxError::Io { what: "make the command's pipes", source };
        let (output, output_end) = std::io::pipe().map_err(io)?;
        let (stdout, stdout_end) = if launch.capture_stdout {
            let (stdout, end) = std::io::pipe().map_err(io)?;
            (Some(stdout), end)
        } else {
            (None, output_end.try_clone().map_err(io)?)
        };
        let status = if launch.contained() { Some(std::io::pipe().map_err(io)?) } else { None };
        let (status, status_end) = status.unzip();
        if let Some(end) = &status_end {
            launch.report_on(end.as_raw_fd());
        }

        let mut program = tokio::process::Command::new(&launch.program);
        program
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.drain(..))
            .current_dir(launch.cwd.as_deref().unwrap_or("/".as_ref()))
            .stdin(if with_input { Stdio::piped() } else { Stdio::null() })
            .stdout(stdout_end)
            .stderr(output_end);
        let child = sandbox
            .shared
            .spawner
            .spawn(program, launch.steps(status_end.as_ref().map(AsRawFd::as_raw_fd)))
            .await?;
        drop(status_end);

        let receiver = |end: OwnedFd| Receiver::from_owned_fd(end).map_err(io);
        Ok(Running {
            child,
            output: Some(receiver(output.into())?),
            stdout: stdout.map(|end| receiver(end.into())).transpose()?,
            status: status.map(|end| receiver(end.into())).transpose()?,
            status_text: Vec::new(),
            init: None,
            contained: launch.contained(),
            recorded: Recorder::new(limits.output_kept_bytes),
            recorded_stdout: launch.capture_stdout.then(|| Recorder::new(limits.stdout_kept_bytes)),
            n_bytes: 0,
            verdict: None,
            exited: None,
        })
    }

    /// Returns when the command is dead and its pipes are read to the end.
    async fn watch(
        &mut self,
        limits: &Limits,
        cancel: &CancellationToken,
        started: Instant,
    ) -> Result<(), SandboxError> {
        let deadline = tokio::time::sleep(limits.wall.saturating_sub(started.elapsed()));
        // Armed when the tree was told to die, and again when the first process is gone.
        let grace = tokio::time::sleep(Duration::MAX);
        tokio::pin!(deadline, grace);
        let (mut output, mut stdout, mut status) = (vec![0; 64 << 10], vec![0; 64 << 10], [0; 512]);

        while self.exited.is_none() || self.is_open() {
            let undecided = self.verdict.is_none() && self.exited.is_none();
            let ended = tokio::select! {
                read = read(&mut self.status, &mut status) => {
                    self.heard(&status[..read]);
                    None
                }
                exited = self.child.wait(), if self.exited.is_none() => {
                    self.exited = Some(exited.map_err(|source| SandboxError::Io { what: "wait for the command", source })?);
                    self.await_tree().await;
                    grace.as_mut().reset(tokio::time::Instant::now() + DRAIN_GRACE);
                    None
                }
                read = read(&mut self.output, &mut output) => {
                    self.recorded.push(&output[..read]);
                    self.count(read, limits)
                }
                read = read(&mut self.stdout, &mut stdout) => {
                    self.recorded.push(&stdout[..read]);
                    if let Some(recorder) = &mut self.recorded_stdout {
                        recorder.push(&stdout[..read]);
                    }
                    self.count(read, limits)
                }
                () = &mut deadline, if undecided => Some(Exit::TimedOut),
                () = cancel.cancelled(), if undecided => Some(Exit::Cancelled),
                () = &mut grace => {
                    if self.exited.is_some() {
                        // Only without containment: an escaped process holds the pipe.
                        break;
                    }
                    self.kill_outer();
                    grace.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
                    None
                }
            };
            if let Some(verdict) = ended.filter(|_| undecided) {
                self.verdict = Some(verdict);
                self.kill();
                grace.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.output.is_some() || self.stdout.is_some() || self.status.is_some()
    }

    fn count(&mut self, n_bytes: usize, limits: &Limits) -> Option<Exit> {
        self.n_bytes += n_bytes as u64;
        (self.n_bytes > limits.output_kill_bytes).then_some(Exit::OutputLimit)
    }

    /// Takes in a piece of bubblewrap's report.
    fn heard(&mut self, piece: &[u8]) {
        self.status_text.extend_from_slice(piece);
        if self.init.is_some() || self.exited.is_some() {
            return;
        }
        if let (Some(pid), Some(outer)) = (number_after(&self.status_text, b"\"child-pid\""), self.child.id())
        {
            self.init = Init::open(pid, outer);
            if self.verdict.is_some() {
                self.kill();
            }
        }
    }

    /// Kills the pid namespace by its init. Before that exists, [`Running::heard`] does it as soon as it does:
    /// bubblewrap killed in between could leave a half-made child that nobody reaps.
    fn kill(&mut self) {
        match &self.init {
            Some(init) => init.kill(),
            None if !self.contained => self.kill_outer(),
            None => {}
        }
    }

    fn kill_outer(&mut self) {
        let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return };
        // Not reaped yet, so the number is still this child's; the group exists only without containment.
        let killed = if self.contained {
            rustix::process::kill_process(pid, Signal::KILL)
        } else {
            rustix::process::kill_process_group(pid, Signal::KILL)
        };
        if let Err(error) = killed {
            tracing::warn!(%error, "cannot kill a command");
        }
    }

    /// Waits until init is gone, and with it everything in its pid namespace. Bubblewrap may end a moment before it.
    async fn await_tree(&mut self) {
        let Some(init) = &self.init else { return };
        init.kill();
        if tokio::time::timeout(KILL_GRACE, init.gone()).await.is_err() {
            tracing::error!("a killed sandbox does not end; a process in it hangs in the kernel");
        }
        init.reap();
    }

    fn finish(self, program: String, started: Instant) -> Result<Finished, SandboxError> {
        let output = self.recorded.finish();
        let exit = match (self.verdict, self.exited) {
            (Some(verdict), _) => verdict,
            (None, Some(status)) if !self.contained => bare_exit(status),
            // Bubblewrap reports a code only of a command that was really started.
            (None, _) => match number_after(&self.status_text, b"\"exit-code\"") {
                Some(code) => contained_exit(code),
                None => return Err(not_started(program, &output)),
            },
        };
        let stdout = self.recorded_stdout.map(Recorder::finish);
        Ok(Finished { exit, output, stdout, wall: started.elapsed() })
    }
}

/// Reads what is there; closes the end at end of file; never ready if closed already.
async fn read(end: &mut Option<Receiver>, buffer: &mut [u8]) -> usize {
    let Some(receiver) = end else { return std::future::pending().await };
    // Cancel safe: either bytes were read and returned, or nothing happened.
    match receiver.read(buffer).await {
        Ok(n_bytes) if n_bytes > 0 => n_bytes,
        _ => {
            *end = None;
            0
        }
    }
}

/// Bubblewrap's init, the first process of the pid namespace, held so that its number cannot be reused.
struct Init {
    handle: AsyncFd<OwnedFd>,
}

impl Init {
    /// Opens process `pid` if it is a child of `outer`: else it has ended, and the number may be somebody else's.
    fn open(pid: i32, outer: u32) -> Option<Init> {
        let handle = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // "pid (name) state parent …", where the name may hold anything.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        if parent != outer {
            return None;
        }
        // SAFETY: an owned descriptor stays open and the same for as long as it is registered.
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.ok()?;
        Some(Init { handle })
    }

    fn kill(&self) {
        match rustix::process::pidfd_send_signal(self.handle.get_ref(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, "cannot kill a sandbox"),
        }
    }

    async fn gone(&self) {
        // An error means that the runtime is shutting down.
        drop(self.handle.readable().await);
    }

    /// Reaps it if it became ours: a worker that is itself pid 1 of a container inherits it when bubblewrap ends first.
    fn reap(&self) {
        let id = WaitId::PidFd(std::os::fd::AsFd::as_fd(self.handle.get_ref()));
        // It is nearly always another's child, which is the error ignored here.
        let _ = rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

fn bare_exit(status: ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

fn contained_exit(code: i32) -> Exit {
    /// The signals that end programs in practice; other codes above 128 are more likely a program's own.
    const DEADLY: [i32; 11] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGKILL,
        libc::SIGSEGV,
        libc::SIGTERM,
        libc::SIGXCPU,
        libc::SIGXFSZ,
    ];
    match code - 128 {
        signal if DEADLY.contains(&signal) => Exit::Signal(signal),
        _ => Exit::Code(code),
    }
}

/// Tells a missing program from a sandbox that could not be set up, by bubblewrap's last words.
fn not_started(program: String, output: &Captured) -> SandboxError {
    let text = output.text();
    let reason =
        text.lines().rev().find_map(|line| line.strip_prefix("bwrap: ")).unwrap_or("no reason was given");
    match reason.strip_prefix("execvp ") {
        Some(failure) if failure.ends_with("No such file or directory") => {
            SandboxError::ProgramNotFound { program }
        }
        Some(failure) => SandboxError::NotStarted { program, reason: failure.into() },
        None => SandboxError::Setup { step: "bubblewrap", reason: reason.into() },
    }
}

/// Finds `"key": number`, once the number is whole, in the JSON lines that bubblewrap writes.
fn number_after(text: &[u8], key: &[u8]) -> Option<i32> {
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
