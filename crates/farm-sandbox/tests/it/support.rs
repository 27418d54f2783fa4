//! A sandbox, a shared tree and short ways to run things.

use std::path::{Path, PathBuf};

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
        let dir = TempDir::new().unwrap();
        let lower = dir.path().join("lower tree");
        std::fs::create_dir(&lower).unwrap();
        let sandbox = Sandbox::probe(Settings::new(dir.path().join("work"))).await.unwrap();
        Bench { sandbox, lower, dir }
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

    pub(crate) fn write(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.lower.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new(["/bin/sh", "-c", script])
}
