//! Watches one command: drains its output, ends it in time, and returns only when its whole process tree is dead.

use std::io::{ErrorKind, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::CancellationToken;

use crate::command::{Exit, Finished, Limits};
use crate::launch::Launch;
use crate::output::Recorder;
use crate::sandbox::{Sandbox, SandboxError};
use crate::workspace::Turn;

mod init;
mod report;

use init::Init;
use report::{bare_exit, contained_exit, not_started, number_after};

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
    pid: Option<Pid>,
    /// Carries standard output and error together, or standard error alone.
    output: Option<Receiver>,
    /// Carries standard output alone, if the command asked for that.
    stdout: Option<Receiver>,
    /// What bubblewrap says: the pid of its init, then the command's exit code.
    status: Option<Receiver>,
    status_text: Vec<u8>,
    /// Closed when we hold its init, so that no command runs that we could not kill.
    gate: Option<PipeWriter>,
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
        let (mut status, mut gate, mut bwrap_ends) = (None, None, None);
        if launch.contained() {
            let (report, report_end) = std::io::pipe().map_err(io)?;
            let (gate_end, ours) = std::io::pipe().map_err(io)?;
            launch.attach(report_end.as_raw_fd(), gate_end.as_raw_fd());
            (status, gate, bwrap_ends) = (Some(report), Some(ours), Some((report_end, gate_end)));
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
        let spawned = sandbox.shared.spawner.spawn(program, launch.steps()).await;
        let child = spawned.map_err(|unstarted| report::unstarted(unstarted, launch))?;
        drop(bwrap_ends);

        let receiver = |end: OwnedFd| Receiver::from_owned_fd(end).map_err(io);
        Ok(Running {
            pid: child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())),
            child,
            output: Some(receiver(output.into())?),
            stdout: stdout.map(|end| receiver(end.into())).transpose()?,
            status: status.map(|end| receiver(end.into())).transpose()?,
            status_text: Vec::new(),
            gate,
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
                    self.heard(&status[..read])?;
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
    fn heard(&mut self, piece: &[u8]) -> Result<(), SandboxError> {
        self.status_text.extend_from_slice(piece);
        if self.init.is_some() || self.exited.is_some() {
            return Ok(());
        }
        let (Some(pid), Some(outer)) = (number_after(&self.status_text, b"\"child-pid\""), self.pid) else {
            return Ok(());
        };
        match Init::open(pid, outer) {
            Ok(init) => self.init = Some(init),
            // It died while it was set up; bubblewrap says why and ends.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // The gate stays closed, and bubblewrap is killed with this error.
            Err(source) => {
                return Err(SandboxError::Io { what: "hold the first process of the sandbox", source });
            }
        }
        match self.verdict {
            Some(_) => self.kill(),
            None => self.gate = None,
        }
        Ok(())
    }

    /// Kills the pid namespace by its init. Before that exists, [`Running::heard`] does it as soon as it does:
    /// bubblewrap killed in between could leave a half-made child that nobody reaps.
    fn kill(&self) {
        match &self.init {
            Some(init) => init.kill(),
            None if !self.contained => self.kill_outer(),
            None => {}
        }
    }

    fn kill_outer(&self) {
        let Some(pid) = self.pid else { return };
        let killed = match (self.contained, self.exited) {
            (true, None) => rustix::process::kill_process(pid, Signal::KILL),
            (true, Some(_)) => Ok(()),
            // The group lives on while a member does, and the kernel does not give its number away before.
            (false, _) => rustix::process::kill_process_group(pid, Signal::KILL),
        };
        match killed {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, "cannot kill a command"),
        }
    }

    /// Returns when nothing of the command is left. Bubblewrap may end a moment before its init does, and with init
    /// dies everything in its pid namespace; without containment the process group has to do.
    async fn await_tree(&mut self) {
        let Some(init) = &self.init else {
            if !self.contained {
                self.kill_outer();
            }
            return;
        };
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
                None => return Err(not_started(program, self.exited, &output)),
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
