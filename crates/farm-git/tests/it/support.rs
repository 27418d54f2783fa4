//! Repositories to test with, made by the git command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use farm_core::delta::{FileMode, RepoPath};
use farm_core::id::{Oid, Token};
use farm_git::command::GitSettings;
use farm_git::mirror::{Mirror, Mirrors};
use farm_git::objects::{CommitSpec, Content, FileWrite, NewFile, Objects, Trailers};
use farm_git::remote::{Credential, Remote};
use tempfile::TempDir;

use crate::http_server::HttpServer;

/// A bare repository with a few files on `main`, and room for mirrors.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
}

/// Runs git in `dir`, without anybody's configuration, and returns what it printed, trimmed.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    git_with(dir, args, b"")
}

pub(crate) fn git_with(dir: &Path, args: &[&str], stdin: &[u8]) -> String {
    use std::io::Write;
    let mut child = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.com")])
        .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@example.com")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(crate) fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

impl Lab {
    /// An empty bare repository.
    pub(crate) fn empty() -> Self {
        let lab = Self { dir: TempDir::new().unwrap() };
        git(lab.dir.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        lab
    }

    /// A bare repository with one commit of three files on `main`.
    pub(crate) fn new() -> Self {
        let lab = Self::empty();
        lab.commit(
            "main",
            &[("a.txt", "one\ntwo\nthree\n"), ("src/lib.rs", "fn f() {}\n"), ("docs/x.md", "x\n")],
        );
        lab
    }

    pub(crate) fn bare(&self) -> PathBuf {
        self.dir.path().join("remote.git")
    }

    /// Adds files to a branch of the remote with one commit, by the git command alone.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> Oid {
        let bare = self.bare();
        let index = self.dir.path().join("index");
        let _ = std::fs::remove_file(&index);
        let index_args = ["--git-dir", bare.to_str().unwrap()];
        let run = |args: &[&str], stdin: &[u8]| {
            let index = format!("GIT_INDEX_FILE={}", index.display());
            let mut command = Command::new("env");
            command.arg(index).arg("git").args(index_args).args(args).current_dir(self.dir.path());
            command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let parent = self.tip(branch);
        if let Some(parent) = &parent {
            run(&["read-tree", parent.as_str()], b"");
        }
        for (path, text) in files {
            let blob = run(&["hash-object", "-w", "--stdin"], text.as_bytes());
            run(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")], b"");
        }
        let tree = run(&["write-tree"], b"");
        let mut args = vec!["commit-tree", &tree, "-m", "work"];
        if let Some(parent) = &parent {
            args.extend(["-p", parent.as_str()]);
        }
        let commit = git(&bare, &args);
        git(&bare, &["update-ref", &format!("refs/heads/{branch}"), &commit]);
        oid(&commit)
    }

    /// Where a branch of the remote stands, by the git command.
    pub(crate) fn tip(&self, branch: &str) -> Option<Oid> {
        let found =
            git(&self.bare(), &["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
        (!found.is_empty()).then(|| oid(&found))
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.bare().join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn mirrors(&self) -> Mirrors {
        self.mirrors_with(GitSettings::default())
    }

    pub(crate) fn mirrors_with(&self, settings: GitSettings) -> Mirrors {
        Mirrors::open(self.dir.path().join("mirrors"), settings).unwrap()
    }

    pub(crate) fn local(&self) -> Remote {
        Remote::new(self.bare().to_str().unwrap(), None).unwrap()
    }

    pub(crate) fn http(&self, server: &HttpServer, credential: Option<Credential>) -> Remote {
        Remote::new(&server.url("remote.git"), credential).unwrap()
    }

    pub(crate) async fn mirror(&self) -> Mirror {
        self.mirrors().mirror(&self.local()).await.unwrap()
    }
}

pub(crate) fn write(path: &str, text: &str) -> FileWrite {
    put(path, FileMode::Regular, text.as_bytes())
}

pub(crate) fn put(path: impl AsRef<[u8]>, mode: FileMode, bytes: &[u8]) -> FileWrite {
    let new = NewFile { content: Content::Bytes(bytes.to_vec()), mode };
    FileWrite { path: RepoPath(path.as_ref().to_vec()), new: Some(new) }
}

pub(crate) fn remove(path: &str) -> FileWrite {
    FileWrite { path: path.into(), new: None }
}

/// One edited file, committed on `base` by our own objects.
pub(crate) fn edit(objects: &Objects, base: Option<&Oid>, text: &str) -> Oid {
    let tree = base.map_or_else(|| objects.empty_tree().unwrap(), |base| objects.tree_of(base).unwrap());
    let tree = objects.apply(&tree, &[write("a.txt", text)]).unwrap();
    let trailers = Trailers { task: None, change: None, base: base.cloned(), attempt: 1, token: Token(1) };
    let message = trailers.message("modify", text, "test");
    let parents = base.into_iter().cloned().collect();
    objects.commit(&CommitSpec { tree, parents, message, time_s: 1_700_000_000 }).unwrap()
}
