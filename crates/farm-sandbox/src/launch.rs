//! How a command is started: the steps of the child, then bubblewrap's arguments.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::process::Resource;

use crate::child::Step;
use crate::command::{Command, Limits, Mount};
use crate::sandbox::{Sandbox, SandboxError, Tier, Worker};
use crate::workspace::{Kind, Workspace};

mod bwrap;
mod system;

pub(crate) use system::SystemPaths;

use bwrap::staged;
use system::ETC;

/// Where the child puts its staging folder in the end: bubblewrap covers `/tmp` anyway, and everybody can reach it.
const STAGED: &str = "/tmp";
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program about to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Empty under bubblewrap, whose own process must not be steered by what a task sets (`LD_PRELOAD`).
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) capture_stdout: bool,
    /// What the command calls itself, for messages.
    pub(crate) name: String,
    steps: Vec<Step>,
    limits: Vec<(Resource, u64)>,
    /// Descriptors that bubblewrap gets besides the standard streams.
    kept: Vec<RawFd>,
    contained: bool,
}

impl Launch {
    pub(crate) fn contained(&self) -> bool {
        self.contained
    }

    /// Makes bubblewrap report on `status`, and start the command only at the end of `gate`.
    pub(crate) fn attach(&mut self, status: RawFd, gate: RawFd) {
        let options = ["--json-status-fd".into(), status.to_string(), "--block-fd".into(), gate.to_string()];
        self.args.splice(0..0, options.map(OsString::from));
        self.kept = vec![status, gate];
    }

    /// Splits off the child's steps.
    pub(crate) fn steps(&mut self) -> Vec<Step> {
        let mut steps = std::mem::take(&mut self.steps);
        steps.extend(self.limits.drain(..).map(|(resource, value)| Step::Limit { resource, value }));
        if !self.contained {
            steps.push(Step::NewSession);
        }
        steps.push(Step::CloseAllBut { kept: std::mem::take(&mut self.kept) });
        steps.push(Step::FollowParent { parent: rustix::process::getpid() });
        steps
    }
}

pub(crate) fn prepare(
    sandbox: &Sandbox,
    command: &Command,
    workspace: &Workspace,
) -> Result<Launch, SandboxError> {
    validate(command)?;
    let mut launch = match sandbox.tier() {
        Tier::Bubblewrap => contained(sandbox, command, workspace)?,
        Tier::None => bare(sandbox, command, workspace)?,
    };
    launch.capture_stdout = command.capture_stdout;
    launch.name = command.argv[0].to_string_lossy().into_owned();
    launch.limits = resource_limits(&command.limits);
    Ok(launch)
}

fn validate(command: &Command) -> Result<(), SandboxError> {
    let refuse = |reason: String| Err(SandboxError::InvalidCommand { reason });
    if command.argv.first().is_none_or(|program| program.is_empty()) {
        return refuse("it names no program".into());
    }
    let words = command.argv.iter().chain(command.env.keys()).chain(command.env.values());
    if words.into_iter().any(|word| word.as_bytes().contains(&0)) {
        return refuse("an argument or variable contains a NUL byte".into());
    }
    if command.env.keys().any(|key| key.is_empty() || key.as_bytes().contains(&b'=')) {
        return refuse("the name of a variable is empty or contains =".into());
    }
    if !is_beneath(&command.cwd) {
        return refuse(format!("its folder {} leads out of the workspace", command.cwd.display()));
    }
    for mount in &command.read_only {
        if !mount.host.is_absolute() || !mount.inside.strip_prefix("/").is_ok_and(is_beneath) {
            return refuse(format!("the mount of {} needs absolute, plain paths", mount.host.display()));
        }
    }
    Ok(())
}

fn is_beneath(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && !path.as_os_str().as_bytes().contains(&0)
}

fn resource_limits(limits: &Limits) -> Vec<(Resource, u64)> {
    let mut set = vec![
        (Resource::Core, 0),
        (Resource::Nofile, limits.open_files),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nproc, limits.processes),
    ];
    set.extend(limits.memory_bytes.map(|bytes| (Resource::Data, bytes)));
    set.extend(limits.cpu.map(|cpu| (Resource::Cpu, cpu.as_secs().max(1))));
    set
}

/// The environment of a command: the least that programs need, the toolchains', then its own.
fn environment(sandbox: &Sandbox, command: &Command, home: &str, tmp: &str) -> Vec<(OsString, OsString)> {
    let toolchains = &sandbox.shared.settings.toolchains;
    let mut path = OsString::new();
    for folder in &toolchains.path {
        path.push(folder);
        path.push(":");
    }
    path.push(SYSTEM_PATH);
    let mut env = std::collections::BTreeMap::from([
        (OsString::from("PATH"), path),
        ("HOME".into(), home.into()),
        ("TMPDIR".into(), tmp.into()),
        ("LANG".into(), "C.UTF-8".into()),
        ("CARGO_HOME".into(), format!("{home}/.cargo").into()),
        ("CARGO_NET_OFFLINE".into(), "true".into()),
    ]);
    env.extend(toolchains.env.clone());
    env.extend(command.env.clone());
    env.into_iter().collect()
}

/// The opt-out: the program itself, in the workspace's own folder.
fn bare(sandbox: &Sandbox, command: &Command, workspace: &Workspace) -> Result<Launch, SandboxError> {
    let inner = workspace.inner();
    let home = inner.scratch().to_string_lossy().into_owned();
    let mut steps = Vec::new();
    if sandbox.shared.worker.is_root() {
        steps.push(Step::Become { uid: inner.uid() });
    }
    Ok(Launch {
        program: command.argv[0].clone().into(),
        args: command.argv[1..].to_vec(),
        env: environment(sandbox, command, &home, "/tmp"),
        cwd: Some(inner.tree().join(&command.cwd)),
        capture_stdout: false,
        name: String::new(),
        steps,
        limits: Vec::new(),
        kept: Vec::new(),
        contained: false,
    })
}

fn contained(sandbox: &Sandbox, command: &Command, workspace: &Workspace) -> Result<Launch, SandboxError> {
    let mounts: Vec<&Mount> =
        sandbox.shared.settings.toolchains.mounts.iter().chain(&command.read_only).collect();
    Ok(Launch {
        program: sandbox.shared.settings.bwrap.clone(),
        args: bwrap::arguments(sandbox, command, workspace, &mounts),
        env: Vec::new(),
        cwd: None,
        capture_stdout: false,
        name: String::new(),
        steps: staging(sandbox, workspace, &mounts)?,
        limits: Vec::new(),
        kept: Vec::new(),
        contained: true,
    })
}

/// Gathers everything that is bound from the host under one folder that the slot's user can reach, as whoever may reach
/// the sources; then becomes that user; then mounts the overlay as that user.
fn staging(sandbox: &Sandbox, workspace: &Workspace, mounts: &[&Mount]) -> Result<Vec<Step>, SandboxError> {
    let Worker { uid, gid, may_mount } = sandbox.shared.worker;
    let inner = workspace.inner();
    let as_user = |uid: u32, gid: u32| -> Result<Step, SandboxError> {
        let uid_map = c_string(format!("{uid} {uid} 1").as_ref())?;
        let gid_map = c_string(format!("{gid} {gid} 1").as_ref())?;
        Ok(Step::NewUser { uid_map, gid_map })
    };
    let drop_root = [Step::Become { uid: inner.uid() }, as_user(inner.uid(), inner.uid())?];

    let mut steps = Vec::new();
    let mut later = Vec::new();
    match (uid, may_mount) {
        (0, true) => {
            steps.push(Step::NewMounts);
            later.extend(drop_root);
        }
        (0, false) => steps.extend(drop_root),
        _ => steps.push(as_user(uid, gid)?),
    }

    let stage = inner.stage();
    let at = |name: &str| c_string(stage.join(name).as_os_str());
    steps.push(Step::Stage { at: c_string(stage.as_os_str())? });
    for folder in ["workspace", "tree", "lower", "etc"] {
        steps.push(Step::Folder { at: at(folder)? });
    }
    for (name, content) in ETC {
        steps.push(Step::File { at: at(&format!("etc/{name}"))?, content });
    }
    steps.push(Step::Bind { from: c_string(inner.dir().as_os_str())?, to: at("workspace")? });
    if inner.kind() == Kind::Overlay {
        let (from, to) = (c_string(inner.lower().as_os_str())?, at("lower")?);
        steps.push(if may_mount {
            let owners = sandbox
                .shared
                .owner_map(inner.uid())
                .map_err(|source| SandboxError::Io { what: "map the owners of the shared tree", source })?;
            Step::BindMapped { from, to, owners }
        } else {
            Step::Bind { from, to }
        });
        later.push(Step::Overlay {
            options: c"lowerdir=/tmp/lower,upperdir=/tmp/workspace/tree,workdir=/tmp/workspace/overlay,userxattr,index=off"
                .to_owned(),
            at: c_string(staged("tree").as_os_str())?,
        });
    }
    for (mount_idx, mount) in mounts.iter().enumerate() {
        let to = at(&format!("mount-{mount_idx}"))?;
        steps.push(if mount.host.is_dir() {
            Step::Folder { at: to.clone() }
        } else {
            Step::File { at: to.clone(), content: b"" }
        });
        steps.push(Step::Bind { from: c_string(mount.host.as_os_str())?, to });
    }
    steps.push(Step::Move { from: c_string(stage.as_os_str())?, to: c_string(STAGED.as_ref())? });
    steps.extend(later);
    Ok(steps)
}

fn c_string(text: &OsStr) -> Result<CString, SandboxError> {
    CString::new(OsString::from(text).into_vec()).map_err(|_| SandboxError::InvalidCommand {
        reason: format!("the path {} contains a NUL byte", text.display()),
    })
}
