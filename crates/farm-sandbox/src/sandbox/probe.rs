//! The canaries: commands that try to get out, run before any task is taken. Versions prove nothing; these do.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{Sandbox, SandboxError, Settings, Tier, Unavailable};
use crate::command::{Command, Exit, Finished};
use crate::workspace::{Change, ChangeKind, EntryKind, Workspace, WorkspaceError};

const NAMESPACES: [&str; 6] = ["user", "mnt", "pid", "net", "ipc", "uts"];

/// Exits with a number of its own for each way out that it finds; then shows its namespaces and changes a file.
const CANARY: &str = r#"
[ -e "$1" ] && exit 11
( : > /usr/canary ) 2>/dev/null && exit 12
( : > /etc/canary ) 2>/dev/null && exit 12
( : > /canary ) 2>/dev/null && exit 12
while read -r key value; do
    case $key in CapEff:|CapPrm:|CapBnd:) [ "$value" = 0000000000000000 ] || exit 13 ;; esac
done < /proc/self/status
while read -r device destination rest; do
    [ "$device" = Iface ] || exit 14
done < /proc/net/route
[ $$ -lt 100 ] || exit 15
for namespace in user mnt pid net ipc uts; do readlink "/proc/self/ns/$namespace" || exit 16; done
echo changed >> file && echo added > added || exit 17
"#;

const REMEDY_NAMESPACES: &str = "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
    kernel.apparmor_restrict_unprivileged_userns=0); in a container run with the security options \
    seccomp=unconfined, apparmor=unconfined and systempaths=unconfined";
const REMEDY_NONE: &str = "this host's bubblewrap or kernel does not contain commands; do not run tasks here";

pub(super) async fn probe(mut settings: Settings) -> Result<Sandbox, Unavailable> {
    settings.bwrap = find_bwrap(&settings.bwrap)?;
    // A copy is not a weaker sandbox, only a slower workspace: many file systems cannot hold an overlay's upper layer.
    let ways: &[bool] = if settings.overlay { &[true, false] } else { &[false] };
    let mut last = String::new();
    for &overlay in ways {
        let sandbox = Sandbox::assemble(settings.clone(), Tier::Bubblewrap, overlay)?;
        match try_out(&sandbox).await {
            Ok(()) => return Ok(sandbox),
            Err(Failure::Escape { detail }) => {
                return Err(Unavailable { code: "canary", detail, remedy: REMEDY_NONE });
            }
            Err(Failure::Broken { detail }) => {
                tracing::info!(overlay, detail, "commands cannot be run this way here");
                last = detail;
            }
        }
    }
    Err(Unavailable { code: "setup", detail: last, remedy: REMEDY_NAMESPACES })
}

fn find_bwrap(name: &Path) -> Result<PathBuf, Unavailable> {
    let found = if name.is_absolute() {
        Some(name.to_path_buf()).filter(|path| path.is_file())
    } else {
        ["/usr/local/bin", "/usr/bin", "/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.is_file())
    };
    found.ok_or_else(|| Unavailable {
        code: "bwrap_missing",
        detail: format!("there is no bubblewrap at {}", name.display()),
        remedy: "install bubblewrap 0.8 or later (Debian: apt install bubblewrap)",
    })
}

/// What a canary found.
enum Failure {
    /// It did not run, or not as told.
    Broken { detail: String },
    /// It got out.
    Escape { detail: String },
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Failure {
        Failure::Broken { detail: error.to_string() }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Failure {
        Failure::Broken { detail: error.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Broken { detail: format!("cannot lay out the canary: {error}") }
    }
}

async fn try_out(sandbox: &Sandbox) -> Result<(), Failure> {
    let lower = sandbox.shared.session.fresh("canary");
    std::fs::create_dir(&lower)?;
    std::fs::write(lower.join("file"), "as it was\n")?;
    let workspace = Workspace::create(sandbox, &lower, 0).await?;

    let mut command = Command::new(["/bin/sh", "-c", CANARY, "canary"]);
    command.argv.push(lower.join("file").into());
    command.limits.wall = std::time::Duration::from_secs(20);
    let finished = sandbox.run(&command, &workspace, &CancellationToken::new()).await?;
    judge(&finished)?;

    let expected = [("added", ChangeKind::Added), ("file", ChangeKind::Modified)]
        .map(|(path, kind)| Change { path: path.into(), kind, entry: EntryKind::File { executable: false } });
    let changes = workspace.changes().await?;
    if changes != expected {
        return Err(Failure::Broken { detail: format!("a changed file reads as {changes:?}") });
    }
    let uid = std::fs::symlink_metadata(workspace.inner().tree().join("added"))?.uid();
    if uid == 0 || uid != sandbox.uid_of(0) {
        return Err(Failure::Escape { detail: format!("the canary ran as uid {uid} of the host") });
    }
    workspace.remove().await?;
    Ok(())
}

fn judge(finished: &Finished) -> Result<(), Failure> {
    let escape = |detail: &str| Err(Failure::Escape { detail: format!("the canary {detail}") });
    match finished.exit {
        Exit::Code(0) => {}
        Exit::Code(11) => return escape("saw a file of the host"),
        Exit::Code(12) => return escape("could write outside the workspace"),
        Exit::Code(13) => return escape("held a capability"),
        Exit::Code(14) => return escape("saw a way to a network"),
        Exit::Code(15) => return escape("saw the host's process ids"),
        exit => {
            let detail = format!("the canary ended with {exit:?}: {}", finished.output.text().trim());
            return Err(Failure::Broken { detail });
        }
    }
    let text = finished.output.text();
    let inside: Vec<&str> = text.lines().collect();
    for (namespace_idx, namespace) in NAMESPACES.iter().enumerate() {
        let host = std::fs::read_link(format!("/proc/self/ns/{namespace}"))?;
        match inside.get(namespace_idx) {
            Some(inside) if inside.starts_with(namespace) && Path::new(inside) != host => {}
            Some(_) => return escape(&format!("shared the host's {namespace} namespace")),
            None => return Err(Failure::Broken { detail: "the canary did not name its namespaces".into() }),
        }
    }
    Ok(())
}
