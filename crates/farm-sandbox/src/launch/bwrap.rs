//! The argument list of bubblewrap.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::system::ETC;
use super::{STAGED, environment};
use crate::command::{Command, Mount, SCRATCH_DIR, WORKSPACE_DIR};
use crate::sandbox::Sandbox;
use crate::workspace::{Kind, Workspace};

/// The home of commands, new for each.
pub(super) const HOME: &str = "/tmp/home";
/// The user that commands see themselves as, whatever they are on the host.
const INSIDE_UID: &str = "1000";
/// `/dev/shm` lives in memory.
const SHM_BYTES: &str = "67108864";

/// Where the child has put a piece of its staging folder.
pub(super) fn staged(name: &str) -> PathBuf {
    Path::new(STAGED).join(name)
}

pub(super) fn arguments(
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
    args.words("--proc /proc --dev /dev --perms 1777 --size")
        .word(SHM_BYTES)
        .words("--tmpfs /dev/shm --remount-ro /dev")
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
    args.words("--remount-ro / --chdir")
        .word(Path::new(WORKSPACE_DIR).join(&command.cwd).components().as_path());
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
