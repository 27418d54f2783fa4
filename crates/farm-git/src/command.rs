//! Running the git command: nobody's configuration but ours, no hooks, no prompts, and an end in bounded time.

mod failure;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farm_core::redact::Redactor;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::GitError;
use crate::remote::{Credential, Remote, Transport};

/// More output than this of one command is cut off: it would be a listing of about half a million branches.
const MAX_STDOUT: usize = 64 << 20;
/// What is kept of standard error, from its end.
const MAX_STDERR: usize = 16 << 10;

/// How long git may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// How git is run; the same for every remote.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// The program, found on `path` if it is a bare name.
    pub program: PathBuf,
    /// `PATH` for git and what it starts.
    pub path: OsString,
    /// Further variables: a proxy, `SSL_CERT_FILE`, `SSH_AUTH_SOCK`. Everything else of our environment is withheld.
    pub env: Vec<(OsString, OsString)>,
    /// The ssh command line; `None` is OpenSSH.
    pub ssh_command: Option<String>,
    /// Longest duration of a push or of a look at a remote's branches.
    pub timeout: Duration,
    /// Longest duration of a fetch, which may be the first of a large repository.
    pub fetch_timeout: Duration,
    /// An HTTP transfer that moves nothing for so long is given up.
    pub stall_timeout: Duration,
    /// Whether `http://` may leave this machine.
    pub allow_plain_http: bool,
}

impl Default for GitSettings {
    fn default() -> Self {
        Self {
            program: "git".into(),
            path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            env: Vec::new(),
            ssh_command: None,
            timeout: Duration::from_secs(120),
            fetch_timeout: Duration::from_secs(1800),
            stall_timeout: Duration::from_secs(60),
            allow_plain_http: false,
        }
    }
}

/// Settings, and the empty home that git is given.
#[derive(Debug)]
pub(crate) struct Git {
    pub(crate) settings: GitSettings,
    home: PathBuf,
    global_config: PathBuf,
}

/// One call.
pub(crate) struct Call<'a> {
    pub(crate) verb: &'static str,
    pub(crate) git_dir: &'a Path,
    /// The remote that it talks to, if any.
    pub(crate) remote: Option<&'a Remote>,
    /// Where to look for objects instead of in `git_dir`, if not there.
    pub(crate) object_dir: Option<&'a Path>,
    /// What follows the verb.
    pub(crate) args: Vec<OsString>,
    pub(crate) limit: Duration,
}

/// What a call said; `stderr` is free of credentials.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) success: bool,
    status: String,
}

impl Git {
    /// Prepares an empty home and our own global configuration under `root`.
    pub(crate) fn new(settings: GitSettings, root: &Path) -> Result<Self, GitError> {
        let home = root.join("home");
        std::fs::create_dir_all(&home).map_err(GitError::io("create", &home))?;
        let global_config = root.join("gitconfig");
        // A local remote was named by the operator, so that its owner may be another user than ours; nothing else of this
        // kind is touched. It stands in the one file that the remote's own git process reads as well: all other settings
        // are for our process alone, or the remote's hooks would be switched off with ours.
        replace_file(&global_config, "[safe]\n\tdirectory = *\n")?;
        Ok(Self { settings, home, global_config })
    }

    /// Runs one call to its end; an unsuccessful exit is not an error here.
    pub(crate) async fn run(&self, call: Call<'_>) -> Result<Output, GitError> {
        let mut command = tokio::process::Command::new(&self.settings.program);
        command
            .arg(call.verb)
            .args(&call.args)
            .env_clear()
            .envs(self.environment(&call))
            .current_dir(call.git_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that git's helpers end with it.
            .process_group(0);
        let mut child = command.spawn().map_err(|source| GitError::Spawn {
            program: self.settings.program.clone(),
            source: Arc::new(source),
        })?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let whole = async {
            let (stdout, stderr, status) =
                tokio::join!(head(stdout, MAX_STDOUT), tail(stderr, MAX_STDERR), child.wait());
            std::io::Result::Ok((stdout?, stderr?, status?))
        };
        let ended = tokio::time::timeout(call.limit, whole).await;
        let Ok(ended) = ended else {
            group.signal(Signal::TERM);
            // Whether it ends by itself or not, what is left of the group is killed.
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
            group.signal(Signal::KILL);
            group.0 = None;
            return Err(GitError::Timeout { verb: call.verb, url: call.url(), limit: call.limit });
        };
        let (stdout, stderr, status) = ended.map_err(GitError::io("talk to", &self.settings.program))?;
        group.0 = None;
        let redactor = call.remote.map_or_else(Redactor::default, Remote::redactor);
        Ok(Output {
            stdout,
            stderr: redactor.clean(&String::from_utf8_lossy(&stderr)),
            success: status.success(),
            status: status.to_string(),
        })
    }

    /// Runs one call that must succeed.
    pub(crate) async fn run_ok(&self, call: Call<'_>) -> Result<Output, GitError> {
        let (verb, url) = (call.verb, call.url());
        let output = self.run(call).await?;
        if output.success { Ok(output) } else { Err(output.failure(verb, url)) }
    }

    fn environment(&self, call: &Call<'_>) -> Vec<(OsString, OsString)> {
        let mut env = self.settings.env.clone();
        let mut set = |key: &str, value: &OsStr| env.push((key.into(), value.to_owned()));
        set("PATH", &self.settings.path);
        set("HOME", self.home.as_os_str());
        set("LC_ALL", "C".as_ref());
        set("GIT_DIR", call.git_dir.as_os_str());
        if let Some(object_dir) = call.object_dir {
            set("GIT_OBJECT_DIRECTORY", object_dir.as_os_str());
        }
        set("GIT_CONFIG_NOSYSTEM", "1".as_ref());
        set("GIT_CONFIG_GLOBAL", self.global_config.as_os_str());
        set("GIT_ATTR_NOSYSTEM", "1".as_ref());
        set("GIT_NO_REPLACE_OBJECTS", "1".as_ref());
        set("GIT_TERMINAL_PROMPT", "0".as_ref());
        let transport = call.remote.map(Remote::transport);
        set("GIT_ALLOW_PROTOCOL", allowed_protocols(transport).as_ref());
        if transport == Some(Transport::Ssh) {
            set("GIT_SSH_COMMAND", self.ssh_command(call.remote).as_ref());
            set("GIT_SSH_VARIANT", "ssh".as_ref());
        }
        // In the environment and not in argv, which every user of the machine can read.
        let config = self.config(call.remote);
        set("GIT_CONFIG_COUNT", config.len().to_string().as_ref());
        for (i, (key, value)) in config.iter().enumerate() {
            set(&format!("GIT_CONFIG_KEY_{i}"), key.as_ref());
            set(&format!("GIT_CONFIG_VALUE_{i}"), value.as_ref());
        }
        env
    }

    fn config(&self, remote: Option<&Remote>) -> Vec<(&'static str, String)> {
        let stall_s = self.settings.stall_timeout.as_secs().max(1).to_string();
        let mut config = vec![
            ("core.hooksPath", "/dev/null".to_owned()),
            ("core.fsmonitor", "false".to_owned()),
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            ("maintenance.auto", "false".to_owned()),
            // A received pack becomes visible as a whole or not at all, so that a commit that is here has its tree.
            ("transfer.unpackLimit", "1".to_owned()),
            ("fetch.recurseSubmodules", "no".to_owned()),
            ("push.recurseSubmodules", "no".to_owned()),
            ("push.gpgSign", "false".to_owned()),
            ("protocol.version", "2".to_owned()),
            ("http.lowSpeedLimit", "1".to_owned()),
            ("http.lowSpeedTime", stall_s),
        ];
        if let Some(header) = remote.and_then(Remote::authorization) {
            config.push(("http.extraHeader", header));
            // The header would follow a redirect to wherever it points.
            config.push(("http.followRedirects", "false".to_owned()));
        }
        config
    }

    fn ssh_command(&self, remote: Option<&Remote>) -> String {
        let mut line = self.settings.ssh_command.clone().unwrap_or_else(|| "ssh".to_owned());
        line.push_str(" -o BatchMode=yes -o ConnectTimeout=30");
        if let Some(Credential::SshKey { key, known_hosts }) = remote.and_then(Remote::credential) {
            line.push_str(&format!(" -o IdentitiesOnly=yes -i {}", shell_quoted(key)));
            if let Some(file) = known_hosts {
                line.push_str(&format!(" -o UserKnownHostsFile={}", shell_quoted(file)));
            }
        }
        line
    }
}

impl Call<'_> {
    fn url(&self) -> String {
        self.remote.map_or_else(|| self.git_dir.display().to_string(), |remote| remote.url().to_owned())
    }
}

/// Ends a whole process group when the caller goes away, unless it is disarmed. SIGTERM lets git remove its lock files,
/// here and, for a local path, in the remote.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // It may have ended by itself a moment ago.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

fn allowed_protocols(transport: Option<Transport>) -> &'static str {
    match transport {
        None => "none",
        Some(Transport::Https) => "https",
        Some(Transport::Http { .. }) => "http:https",
        Some(Transport::Ssh) => "ssh",
        Some(Transport::Local) => "file",
    }
}

/// Git hands the ssh command line to a shell.
fn shell_quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The first `limit` bytes; what follows is read and dropped, so that the writer does not block.
async fn head(from: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return Ok(kept) };
    (&mut from).take(limit as u64).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(kept)
}

/// The last `limit` bytes.
async fn tail(from: Option<impl AsyncRead + Unpin>, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return Ok(kept) };
    while from.read_buf(&mut kept).await? > 0 {
        if kept.len() > 2 * limit {
            kept.drain(..kept.len() - limit);
        }
    }
    kept.drain(..kept.len().saturating_sub(limit));
    Ok(kept)
}

/// Writes a small file of ours if it does not hold `text` already; whole or not at all, whoever else writes it now.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<(), GitError> {
    if std::fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = path.with_extension(format!("new-{}-{unique}", std::process::id()));
    std::fs::write(&own, text).map_err(GitError::io("write", &own))?;
    std::fs::rename(&own, path).map_err(GitError::io("replace", path))
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), GitError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(GitError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
