//! What to run, within which limits, and what came of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The path of the workspace as commands see it, so that no output depends on the host's paths.
pub const WORKSPACE_DIR: &str = "/work/tree";

/// A second writable folder of the workspace, for build folders and reports: kept between commands, never a change.
pub const SCRATCH_DIR: &str = "/work/scratch";

/// A program with its arguments and everything that it may see.
///
/// There is no shell and nothing is inherited: `env` is the whole environment besides `PATH`, `HOME`, `TMPDIR`, `LANG`
/// and what the toolchains of the settings need; `env` wins over those.
#[derive(Debug, Clone)]
pub struct Command {
    pub argv: Vec<OsString>,
    /// Relative to the workspace; empty for its root.
    pub cwd: PathBuf,
    pub env: BTreeMap<OsString, OsString>,
    /// Bytes for standard input; without them it is `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Further host paths to show, read-only: prepared environments.
    pub read_only: Vec<Mount>,
    /// Also keep standard output by itself, for tools that report in JSON there.
    pub capture_stdout: bool,
    pub limits: Limits,
}

impl Command {
    /// Makes a command with default limits, run at the workspace's root.
    pub fn new<I>(argv: I) -> Command
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Command {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: PathBuf::new(),
            env: BTreeMap::new(),
            stdin: None,
            read_only: Vec::new(),
            capture_stdout: false,
            limits: Limits::default(),
        }
    }
}

/// A host path and where commands find it, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub host: PathBuf,
    pub inside: PathBuf,
}

impl Mount {
    /// Makes a mount that commands see under the host's own path.
    pub fn same(path: impl Into<PathBuf>) -> Mount {
        let host = path.into();
        Mount { inside: host.clone(), host }
    }
}

/// The limits of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub wall: Duration,
    /// Processor time of one process; the wall clock bounds the rest.
    pub cpu: Option<Duration>,
    /// Private writable memory of one process (`RLIMIT_DATA`). Not `RLIMIT_AS`: Go and V8 reserve address space that they
    /// never use, and would not start.
    pub memory_bytes: Option<u64>,
    /// Processes and threads together.
    pub processes: u64,
    pub open_files: u64,
    pub file_bytes: u64,
    /// Size of `/tmp`, which lives in memory and is new for each command.
    pub tmp_bytes: u64,
    /// What is kept of the output, half of it from the head and half from the tail.
    pub output_kept_bytes: usize,
    /// The same for standard output by itself; larger, because a report cut in the middle is no report.
    pub stdout_kept_bytes: usize,
    /// A command that writes more than this is killed.
    pub output_kill_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: u64 = 1 << 20;
        Limits {
            wall: Duration::from_secs(300),
            cpu: None,
            memory_bytes: Some(4096 * MIB),
            processes: 1024,
            open_files: 1024,
            file_bytes: 256 * MIB,
            tmp_bytes: 512 * MIB,
            output_kept_bytes: 1 << 20,
            stdout_kept_bytes: 16 << 20,
            output_kill_bytes: 64 * MIB,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// Killed by this signal. Bubblewrap reports it as 128 + the signal, as shells do, so a shell whose own child was
    /// killed reads the same.
    Signal(i32),
    TimedOut,
    OutputLimit,
    Cancelled,
}

impl Exit {
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

/// A command that ran: how it ended, what it wrote, how long it took.
///
/// When this exists, no process of the command is alive.
#[derive(Debug, Clone)]
pub struct Finished {
    pub exit: Exit,
    /// Standard output and standard error, as they arrived. Their order is exact unless `capture_stdout` parted them.
    pub output: Captured,
    /// Standard output alone, if the command asked for it.
    pub stdout: Option<Captured>,
    pub wall: Duration,
}

/// Output with its middle dropped where it was too long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    pub head: Vec<u8>,
    /// Follows `head`, after `dropped_bytes` that were not kept.
    pub tail: Vec<u8>,
    pub dropped_bytes: u64,
}

impl Captured {
    /// Returns every byte, or `None` if some were dropped.
    pub fn whole(&self) -> Option<Cow<'_, [u8]>> {
        if self.dropped_bytes > 0 {
            return None;
        }
        if self.tail.is_empty() {
            return Some(Cow::Borrowed(&self.head));
        }
        Some(Cow::Owned([self.head.as_slice(), &self.tail].concat()))
    }

    /// Returns the output as text for people and models, with a line that says how much is missing.
    pub fn text(&self) -> String {
        match self.whole() {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => format!(
                "{}\n[… {} bytes dropped …]\n{}",
                String::from_utf8_lossy(&self.head),
                self.dropped_bytes,
                String::from_utf8_lossy(&self.tail)
            ),
        }
    }
}
