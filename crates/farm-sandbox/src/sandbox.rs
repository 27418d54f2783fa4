//! The sandbox: proved once, then the only way to run a repository's code (I6).

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::thread::CapabilitySet;
use tokio_util::sync::CancellationToken;

use crate::command::{Command, Finished};
use crate::launch::SystemPaths;
use crate::session::Session;
use crate::spawn::Spawner;
use crate::toolchains::Toolchains;
use crate::workspace::Workspace;
use crate::{idmap, launch, supervise};

mod probe;

/// What the operator decides about the sandbox.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A bare name is looked for in `/usr/local/bin`, `/usr/bin` and `/bin`, never on a `PATH`.
    pub bwrap: PathBuf,
    /// Where workspaces live; on one disk with room, of this worker or shared with others.
    pub work_dir: PathBuf,
    /// A worker that runs as root gives slot `n` the user and group `uid_base + n`, which nobody else may have.
    pub uid_base: u32,
    /// Use overlays where they work; without, every workspace is a copy.
    pub overlay: bool,
    /// Shown to every command.
    pub toolchains: Toolchains,
}

impl Settings {
    pub fn new(work_dir: impl Into<PathBuf>) -> Settings {
        Settings {
            bwrap: "bwrap".into(),
            work_dir: work_dir.into(),
            uid_base: 61_000,
            overlay: true,
            toolchains: Toolchains::default(),
        }
    }
}

/// How well commands are contained; stamped in every result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Not at all: the operator's audited opt-out.
    None,
    /// Namespaces of their own, a user of their own, no network, no capability.
    Bubblewrap,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::None => "none",
            Tier::Bubblewrap => "bubblewrap",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why there is no sandbox here.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no sandbox ({code}): {detail}; {remedy}")]
pub struct Unavailable {
    /// A stable word for what failed, such as `bwrap_missing`.
    pub code: &'static str,
    pub detail: String,
    pub remedy: &'static str,
}

/// Why a command did not run. The first three are for whoever wrote the command, the others for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot run this command: {reason}")]
    InvalidCommand { reason: String },
    #[error(
        "no program {program} in the sandbox; its toolchain must be installed on the worker and found at start"
    )]
    ProgramNotFound { program: String },
    #[error("the program {program} does not start: {reason}")]
    NotStarted { program: String, reason: String },
    #[error("the sandbox could not be set up: {step}: {reason}")]
    Setup { step: &'static str, reason: String },
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
}

/// A proved sandbox; clones share it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) tier: Tier,
    pub(crate) overlay: bool,
    pub(crate) worker: Worker,
    pub(crate) system: SystemPaths,
    pub(crate) session: Session,
    pub(crate) spawner: Spawner,
    owner_maps: Mutex<HashMap<u32, Arc<OwnedFd>>>,
}

/// What this process is and may do, read once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Root of the host, allowed to mount.
    pub(crate) may_mount: bool,
}

impl Worker {
    fn this() -> Worker {
        let uid = rustix::process::geteuid().as_raw();
        let may_mount = uid == 0
            && rustix::thread::capabilities(None)
                .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
        Worker { uid, gid: rustix::process::getegid().as_raw(), may_mount }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl Sandbox {
    /// Proves that commands are contained here, by running some that try to get out.
    pub async fn probe(settings: Settings) -> Result<Sandbox, Unavailable> {
        probe::probe(settings).await
    }

    /// Makes a sandbox that contains nothing: limits and a dropped uid only. For the operator's audited opt-out; its
    /// tier says so in every result.
    pub fn none_audited(settings: Settings) -> Result<Sandbox, Unavailable> {
        Sandbox::assemble(settings, Tier::None, false)
    }

    fn assemble(settings: Settings, tier: Tier, overlay: bool) -> Result<Sandbox, Unavailable> {
        let session = Session::open(&settings.work_dir).map_err(|error| Unavailable {
            code: "work_dir",
            detail: format!("cannot use the work folder {}: {error}", settings.work_dir.display()),
            remedy: "name a folder that the worker may write",
        })?;
        let spawner = Spawner::start().map_err(|error| Unavailable {
            code: "thread",
            detail: format!("cannot start a thread: {error}"),
            remedy: "raise the limit of processes",
        })?;
        Ok(Sandbox {
            shared: Arc::new(Shared {
                settings,
                tier,
                overlay,
                worker: Worker::this(),
                system: SystemPaths::find(),
                session,
                spawner,
                owner_maps: Mutex::default(),
            }),
        })
    }

    pub fn tier(&self) -> Tier {
        self.shared.tier
    }

    /// Says whether workspaces are overlays; else each is a copy.
    pub fn overlay(&self) -> bool {
        self.shared.overlay
    }

    /// Returns the uid that a slot's files have on the host.
    pub fn uid_of(&self, slot: u32) -> u32 {
        if self.shared.worker.is_root() {
            self.shared.settings.uid_base.saturating_add(slot)
        } else {
            self.shared.worker.uid
        }
    }

    /// Runs a command to its end. Commands of one workspace run one after another.
    ///
    /// Whatever ends it (itself, a limit, `cancel`, or this future being dropped), its whole process tree is dead
    /// before the workspace can be used again.
    pub async fn run(
        &self,
        command: &Command,
        workspace: &Workspace,
        cancel: &CancellationToken,
    ) -> Result<Finished, SandboxError> {
        let turn = workspace.turn().await;
        let launch = launch::prepare(self, command, workspace)?;
        // A dropped future still has a tree to kill: the supervisor is a task of its own, told through a child token.
        let abandoned = cancel.child_token();
        let _on_drop = abandoned.clone().drop_guard();
        let supervisor = supervise::run(
            self.clone(),
            launch,
            command.limits.clone(),
            command.stdin.clone(),
            abandoned,
            turn,
        );
        tokio::spawn(supervisor).await.map_err(|error| SandboxError::Setup {
            step: "supervise",
            reason: format!("the supervisor ended early: {error}"),
        })?
    }
}

impl Shared {
    /// Returns the mapping that shows the worker's files to `uid` as its own, made once per uid.
    pub(crate) fn owner_map(&self, uid: u32) -> std::io::Result<Arc<OwnedFd>> {
        let mut maps = self.owner_maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = maps.get(&uid) {
            return Ok(Arc::clone(map));
        }
        let map = Arc::new(idmap::owners(self.worker.uid, uid)?);
        maps.insert(uid, Arc::clone(&map));
        Ok(map)
    }
}
