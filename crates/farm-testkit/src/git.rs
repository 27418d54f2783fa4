//! Repositories as the git command makes and reads them, so that no code of the farm judges itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A repository with a working tree and one commit on `main`; gone when dropped.
pub struct Repo {
    dir: TempDir,
}

impl Repo {
    /// Makes one with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        run(repo.path(), &["init", "--quiet", "--initial-branch=main"]);
        repo.write(files);
        repo.commit();
        repo
    }

    /// Its working tree.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its git directory.
    pub fn git_dir(&self) -> PathBuf {
        self.path().join(".git")
    }

    /// Writes files into the working tree.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// Commits what the working tree holds.
    pub fn commit(&self) {
        run(self.path(), &["add", "--all"]);
        run(self.path(), &["commit", "--quiet", "--message=files"]);
    }

    /// Runs git in the working tree and gives what it printed.
    pub fn git(&self, args: &[&str]) -> String {
        run(self.path(), args)
    }

    /// The tree that git makes of the commit with these files written and those removed; nothing stays of it but objects.
    pub fn tree_with(&self, written: &[(&str, &str)], removed: &[&str]) -> String {
        self.write(written);
        for path in removed {
            std::fs::remove_file(self.path().join(path)).unwrap();
        }
        run(self.path(), &["add", "--all"]);
        let tree = run(self.path(), &["write-tree"]);
        run(self.path(), &["reset", "--quiet", "--hard"]);
        tree
    }
}

/// Runs git in a folder, without anybody's configuration, and gives what it printed, trimmed at its end.
pub fn run(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?} in {}: {error}", dir.display());
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The commit, tree or blob that a name stands for; `None` if there is none.
pub fn resolve(dir: &Path, name: &str) -> Option<String> {
    let output = command(dir, &["rev-parse", "--verify", "--quiet", name]).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.env_clear().current_dir(dir).args(args).envs([
        ("PATH", std::env::var("PATH").unwrap().as_str()),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_AUTHOR_NAME", "A Tester"),
        ("GIT_AUTHOR_EMAIL", "tester@patchfarm.invalid"),
        ("GIT_COMMITTER_NAME", "A Tester"),
        ("GIT_COMMITTER_EMAIL", "tester@patchfarm.invalid"),
    ]);
    command
}
