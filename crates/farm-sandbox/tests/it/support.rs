//! A sandbox, a shared tree and short ways to run things.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use farm_sandbox::{Command, Finished, Sandbox, Settings, Workspace};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    pub(crate) lower: PathBuf,
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(|settings| settings).await
    }

    pub(crate) async fn with(change: impl FnOnce(Settings) -> Settings) -> Bench {
        let dir = TempDir::new().unwrap();
        let settings = change(Settings::new(dir.path().join("work dir")));
        let lower = dir.path().join("lower tree, shared");
        std::fs::create_dir(&lower).unwrap();
        // As below a home folder: the slot's user of a root worker cannot come here by itself.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        Bench { sandbox: Sandbox::probe(settings).await.unwrap(), lower, dir }
    }

    pub(crate) async fn workspace(&self) -> Workspace {
        Workspace::create(&self.sandbox, &self.lower, 1).await.unwrap()
    }

    /// Runs a shell script in a workspace of its own.
    pub(crate) async fn sh(&self, script: &str) -> Finished {
        self.run(&sh(script), &self.workspace().await).await
    }

    pub(crate) async fn run(&self, command: &Command, workspace: &Workspace) -> Finished {
        self.sandbox.run(command, workspace, &CancellationToken::new()).await.unwrap()
    }

    /// Runs a script that must succeed and returns what it wrote.
    pub(crate) async fn ok(&self, script: &str, workspace: &Workspace) -> String {
        let finished = self.run(&sh(script), workspace).await;
        assert!(finished.exit.success(), "{script}: {:?}: {}", finished.exit, finished.output.text());
        finished.output.text()
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.lower.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new(["/bin/sh", "-c", script])
}

/// A word that no other process has in its arguments.
pub(crate) fn marker(test: &str) -> String {
    format!("marker-{test}-{}", std::process::id())
}

/// Counts the processes of this host whose arguments contain the marker.
pub(crate) fn n_alive(marker: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.windows(marker.len()).any(|window| window == marker.as_bytes()))
        .count()
}

/// Waits for something that must come.
pub(crate) async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
