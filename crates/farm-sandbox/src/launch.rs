//! How a command is started: the steps of the child, then bubblewrap's arguments.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::process::Resource;

use crate::child::Step;
use crate::command::{Command, Limits, Mount, SCRATCH_DIR, WORKSPACE_DIR};
use crate::sandbox::{Sandbox, SandboxError, Tier, Worker};
use crate::workspace::{Kind, Workspace};

/// Where the child puts its staging folder in the end: bubblewrap covers `/tmp` anyway, and everybody can reach it.
const STAGED: &str = "/tmp";
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const HOME: &str = "/tmp/home";
/// The user that commands see themselves as, whatever they are on the host.
const INSIDE_UID: &str = "1000";

/// Files that programs look for, the same on every host.
const ETC: [(&str, &[u8]); 4] = [
    (
        "passwd",
        b"root:x:0:0:root:/nonexistent:/usr/sbin/nologin\npatchfarm:x:1000:1000:patchfarm:/tmp/home:/bin/sh\n",
    ),
    ("group", b"root:x:0:\npatchfarm:x:1000:\n"),
    ("hosts", b"127.0.0.1 localhost patchfarm\n::1 localhost\n"),
    ("nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n"),
];

/// The parts of the host's system that every command sees, read-only. Nothing of `/root`, `/home`, `/var`, `/run`.
#[derive(Debug)]
pub(crate) struct SystemPaths {
    binds: Vec<PathBuf>,
    /// (target, link): `/bin` is a link into `/usr` on today's systems.
    links: Vec<(PathBuf, PathBuf)>,
}

impl SystemPaths {
    pub(crate) fn find() -> SystemPaths {
        const FOLDERS: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
        const ETC: [&str; 13] = [
            "/etc/alternatives",
            "/etc/ca-certificates",
            "/etc/crypto-policies",
            "/etc/ld.so.cache",
            "/etc/ld.so.conf",
            "/etc/ld.so.conf.d",
            "/etc/localtime",
            "/etc/mime.types",
            "/etc/pki/ca-trust/extracted",
            "/etc/pki/tls/certs",
            "/etc/protocols",
            "/etc/ssl/certs",
            "/etc/ssl/openssl.cnf",
        ];
        let mut paths = SystemPaths { binds: Vec::new(), links: Vec::new() };
        for folder in FOLDERS.map(PathBuf::from) {
            match std::fs::read_link(&folder) {
                Ok(target) => paths.links.push((target, folder)),
                Err(_) if folder.is_dir() => paths.binds.push(folder),
                // This system has none.
                Err(_) => {}
            }
        }
        paths.binds.extend(ETC.into_iter().map(PathBuf::from).filter(|path| path.exists()));
        paths
    }
}

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
    contained: bool,
}

impl Launch {
    pub(crate) fn contained(&self) -> bool {
        self.contained
    }

    /// Makes bubblewrap report on the descriptor `status`.
    pub(crate) fn report_on(&mut self, status: RawFd) {
        self.args.splice(0..0, ["--json-status-fd".into(), status.to_string().into()]);
    }

    /// Splits off the child's steps; `status` is the descriptor on which bubblewrap reports.
    pub(crate) fn steps(&mut self, status: Option<RawFd>) -> Vec<Step> {
        let mut steps = std::mem::take(&mut self.steps);
        steps.extend(self.limits.drain(..).map(|(resource, value)| Step::Limit { resource, value }));
        if !self.contained {
            steps.push(Step::NewSession);
        }
        steps.push(Step::CloseAllBut { kept: status });
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
        if !mount.host.is_absolute() || !mount.inside.is_absolute() {
            return refuse(format!("the mount of {} needs absolute paths", mount.host.display()));
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
        contained: false,
    })
}

fn contained(sandbox: &Sandbox, command: &Command, workspace: &Workspace) -> Result<Launch, SandboxError> {
    let mounts: Vec<&Mount> =
        sandbox.shared.settings.toolchains.mounts.iter().chain(&command.read_only).collect();
    Ok(Launch {
        program: sandbox.shared.settings.bwrap.clone(),
        args: bwrap_args(sandbox, command, workspace, &mounts),
        env: Vec::new(),
        cwd: None,
        capture_stdout: false,
        name: String::new(),
        steps: staging(sandbox, workspace, &mounts)?,
        limits: Vec::new(),
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

fn staged(name: &str) -> PathBuf {
    Path::new(STAGED).join(name)
}

fn bwrap_args(
    sandbox: &Sandbox,
    command: &Command,
    workspace: &Workspace,
    mounts: &[&Mount],
) -> Vec<OsString> {
    let limits = &command.limits;
    let mut args = Args::default();
    args.words("--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --disable-userns")
        .words("--die-with-parent --new-session --cap-drop ALL --clearenv --hostname patchfarm")
        .words("--uid")
        .word(INSIDE_UID)
        .words("--gid")
        .word(INSIDE_UID);

    for path in &sandbox.shared.system.binds {
        args.words("--ro-bind").word(path).word(path);
    }
    for (target, link) in &sandbox.shared.system.links {
        args.words("--symlink").word(target).word(link);
    }
    for (name, _) in ETC {
        args.words("--ro-bind").word(staged("etc").join(name)).word(Path::new("/etc").join(name));
    }
    args.words("--proc /proc --dev /dev --perms 1777 --size 67108864 --tmpfs /dev/shm --remount-ro /dev")
        .words("--perms 1777 --size")
        .word(limits.tmp_bytes.to_string())
        .words("--tmpfs /tmp --dir")
        .word(HOME);

    let tree = match workspace.inner().kind() {
        Kind::Overlay => staged("tree"),
        Kind::Copy => staged("workspace/tree"),
    };
    args.words("--bind").word(tree).word(WORKSPACE_DIR);
    args.words("--bind").word(staged("workspace/scratch")).word(SCRATCH_DIR);
    for (mount_idx, mount) in mounts.iter().enumerate() {
        args.words("--ro-bind").word(staged(&format!("mount-{mount_idx}"))).word(&mount.inside);
    }
    args.words("--remount-ro / --chdir").word(Path::new(WORKSPACE_DIR).join(&command.cwd));
    for (key, value) in environment(sandbox, command, HOME, "/tmp") {
        args.words("--setenv").word(key).word(value);
    }
    args.words("--");
    args.0.extend(command.argv.iter().cloned());
    args.0
}

/// An argument list in the making.
#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    /// Adds words of ours, parted by spaces.
    fn words(&mut self, words: &str) -> &mut Args {
        self.0.extend(words.split(' ').map(OsString::from));
        self
    }

    /// Adds one word, whatever is in it.
    fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Args {
        self.0.push(word.as_ref().to_owned());
        self
    }
}

fn c_string(text: &OsStr) -> Result<CString, SandboxError> {
    CString::new(OsString::from(text).into_vec()).map_err(|_| SandboxError::InvalidCommand {
        reason: format!("the path {} contains a NUL byte", text.display()),
    })
}
