//! A remote that the git command cannot tell from a host.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use farm_demo::git_http::{Fault, GitHttp, When};
use tempfile::TempDir;

use crate::git;

/// A folder with the bare repository `r.git`, served, and a clone of it with one commit pushed.
struct Remote {
    folder: TempDir,
    server: GitHttp,
}

impl Remote {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        git::ok(folder.path(), &["init", "-q", "--bare", "-b", "main", "bare/r.git"]);
        let server = GitHttp::start(&folder.path().join("bare"), None).await.unwrap();
        let remote = Self { folder, server };
        let clone = remote.clone("first").await;
        commit(&clone, "a.txt", b"a\n");
        blocking(move || git::ok(&clone, &["push", "-q", "origin", "HEAD:main"])).await;
        remote
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().join("bare/r.git")
    }

    async fn clone(&self, name: &str) -> PathBuf {
        let (folder, url, name) = (self.folder.path().to_owned(), self.server.url("r.git"), name.to_owned());
        blocking(move || {
            git::ok(&folder, &["clone", "-q", &url, &name]);
            folder.join(name)
        })
        .await
    }

    fn hook(&self, name: &str, script: &str) {
        let path = self.bare().join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

fn commit(clone: &Path, name: &str, content: &[u8]) {
    std::fs::write(clone.join(name), content).unwrap();
    git::ok(clone, &["add", "."]);
    git::ok(clone, &["commit", "-q", "-m", name]);
}

/// The server lives on the test's runtime, so the git command waits elsewhere.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn what_is_pushed_is_listed_and_cloned() {
    let remote = Remote::start().await;
    let clone = remote.clone("second").await;
    assert_eq!(std::fs::read(clone.join("a.txt")).unwrap(), b"a\n");
    let (folder, url) = (clone.clone(), remote.server.url("r.git"));
    let listed = blocking(move || git::ok(&folder, &["ls-remote", &url, "main"])).await;
    assert!(listed.starts_with(&git::ok(&clone, &["rev-parse", "HEAD"])), "{listed}");

    let folder = remote.folder.path().to_owned();
    let (absent, escape) = (remote.server.url("x.git"), remote.server.url("../bare/r.git"));
    let answer = blocking(move || git::fails(&folder, &["ls-remote", &absent])).await;
    assert!(answer.contains("not found"), "{answer}");
    let folder = remote.folder.path().to_owned();
    blocking(move || git::fails(&folder, &["-c", "http.followRedirects=false", "ls-remote", &escape])).await;
}

#[tokio::test]
async fn every_protocol_version_is_spoken() {
    let remote = Remote::start().await;
    let url = remote.server.url("r.git");
    for version in ["0", "1", "2"] {
        let (folder, url) = (remote.folder.path().to_owned(), url.clone());
        let setting = format!("protocol.version={version}");
        let traced = blocking(move || {
            let output = std::process::Command::new("git")
                .args(["-c", &setting, "ls-remote", &url])
                .current_dir(folder)
                .env("GIT_TRACE_PACKET", "1")
                .output()
                .unwrap();
            assert!(output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        })
        .await;
        let spoken = ["version 1", "version 2"].map(|line| traced.contains(&format!("< {line}")));
        assert_eq!(spoken, [version == "1", version == "2"], "{version}: {traced}");
    }
}

#[tokio::test]
async fn a_user_and_a_secret_open_it_and_nothing_else_does() {
    let folder = TempDir::new().unwrap();
    git::ok(folder.path(), &["init", "-q", "--bare", "r.git"]);
    let login = Some(("farm".to_owned(), "s3cret".to_owned()));
    let server = GitHttp::start(folder.path(), login).await.unwrap();
    let url = server.url("r.git");
    for (user, opens) in
        [("", false), ("farm:wrong@", false), ("other:s3cret@", false), ("farm:s3cret@", true)]
    {
        let url = url.replace("http://", &format!("http://{user}"));
        let dir = folder.path().to_owned();
        let output = blocking(move || git::run(&dir, &["ls-remote", &url])).await;
        assert_eq!(output.status.success(), opens, "{user:?}: {output:?}");
    }
    assert!(!format!("{server:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_stale_push_and_a_refusing_hook_are_errors() {
    let remote = Remote::start().await;
    let (one, two) = (remote.clone("one").await, remote.clone("two").await);
    commit(&one, "b.txt", b"1\n");
    commit(&two, "b.txt", b"2\n");
    let stale = blocking(move || {
        git::ok(&one, &["push", "-q", "origin", "HEAD:main"]);
        git::fails(&two, &["push", "-q", "origin", "HEAD:main"])
    })
    .await;
    assert!(stale.contains("rejected"), "{stale}");

    remote.hook("update", "#!/bin/sh\necho \"no $1 here\" >&2\nexit 1\n");
    let three = remote.clone("three").await;
    let refused = blocking(move || git::fails(&three, &["push", "origin", "HEAD:refs/heads/agt/x"])).await;
    assert!(refused.contains("no refs/heads/agt/x here"), "{refused}");
    assert!(refused.contains("hook declined"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_pushes_at_once_all_land() {
    let remote = Remote::start().await;
    let clone = remote.clone("many").await;
    let pushes: Vec<_> = (0..64)
        .map(|n| {
            let clone = clone.clone();
            let target = format!("HEAD:refs/heads/agt/t-{n}");
            tokio::task::spawn_blocking(move || git::ok(&clone, &["push", "-q", "origin", &target]))
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    let branches = git::ok(&remote.bare(), &["for-each-ref", "--format=%(refname)", "refs/heads/agt"]);
    assert_eq!(branches.lines().count(), 64);
}

#[tokio::test]
async fn a_large_push_streams_through() {
    let remote = Remote::start().await;
    let clone = remote.clone("large").await;
    // Noise, so that neither zlib nor a delta makes it small; larger than http.postBuffer, so that git sends it in chunks.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(20 * 1024 * 1024 / 8)
    .flatten()
    .collect();
    commit(&clone, "noise.bin", &noise);
    blocking(move || git::ok(&clone, &["push", "-q", "origin", "HEAD:main"])).await;
    let again = remote.clone("again").await;
    assert!(std::fs::read(again.join("noise.bin")).unwrap() == noise);
}

#[tokio::test]
async fn a_gzipped_request_is_understood() {
    // git compresses a fetch request above 1 KiB, which many haves make.
    let remote = Remote::start().await;
    let clone = remote.clone("old").await;
    let bare = remote.bare();
    for n in 0..60 {
        git::ok(&clone, &["commit", "-q", "--allow-empty", "-m", &n.to_string()]);
        git::ok(&clone, &["branch", &format!("b{n}")]);
    }
    let tree = git::ok(&bare, &["rev-parse", "main^{tree}"]);
    let commit = git::ok(&bare, &["commit-tree", &tree, "-p", "main", "-m", "new"]);
    git::ok(&bare, &["update-ref", "refs/heads/main", &commit]);
    let output = blocking(move || {
        std::process::Command::new("git")
            .args(["fetch", "origin"])
            .current_dir(clone)
            .env("GIT_TRACE_CURL", "1")
            .output()
            .unwrap()
    })
    .await;
    let trace = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{trace}");
    assert!(trace.contains("Content-Encoding: gzip"), "the request was not compressed:\n{trace}");
}

#[tokio::test]
async fn a_push_that_was_sent_in_full_lands_although_its_client_was_killed() {
    let remote = Remote::start().await;
    let clone = remote.clone("killed").await;
    // The hook says that it has begun, waits to be let go, and then tells the client that is no longer there a great deal.
    let hook = "#!/bin/sh\ncat >/dev/null\ntouch begun\nuntil [ -e go ]; do sleep 0.05; done\n\
                head -c 1000000 /dev/zero | tr '\\0' x >&2\n";
    remote.hook("pre-receive", hook);
    let mut push = std::process::Command::new("git");
    push.args(["push", "-q", "origin", "HEAD:refs/heads/late"]).current_dir(&clone).process_group(0);
    let mut push = push.spawn().unwrap();
    appears(&remote.bare().join("begun")).await;
    let group = format!("-{}", push.id());
    assert!(std::process::Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    assert!(!push.wait().unwrap().success());
    let branch = remote.bare().join("refs/heads/late");
    assert!(!branch.exists());
    std::fs::write(remote.bare().join("go"), "").unwrap();
    appears(&branch).await;
}

/// Waits for a file, but not for ever.
async fn appears(path: &Path) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !path.exists() {
        assert!(Instant::now() < limit, "{} did not appear", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn faults_come_and_go() {
    let remote = Remote::start().await;
    let clone = remote.clone("faulty").await;
    let before = remote.server.counts();
    let push = |branch: &'static str| {
        let clone = clone.clone();
        blocking(move || git::run(&clone, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]))
    };
    let stands =
        |branch: &str| git::run(&remote.bare(), &["rev-parse", "--verify", "-q", branch]).status.success();

    for (fault, complaint) in
        [(Fault::Unavailable, "503"), (Fault::Forbidden, "403"), (Fault::HangUp, "fatal")]
    {
        remote.server.fail(When::Push, fault);
        let output = push("a").await;
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && answer.contains(complaint), "{fault:?}: {answer}");
        assert!(!stands("a"), "{fault:?}");
        let clone = clone.clone();
        blocking(move || git::ok(&clone, &["fetch", "-q", "origin"])).await;
    }

    remote.server.fail(When::Push, Fault::LoseAnswer);
    assert!(!push("b").await.status.success());
    assert!(stands("b"), "the push landed although its answer was lost");

    remote.server.fail(When::Any, Fault::Delay(Duration::from_millis(300)));
    let start = Instant::now();
    assert!(push("c").await.status.success());
    assert!(start.elapsed() >= Duration::from_millis(600), "a listing and a push");

    remote.server.heal();
    assert!(push("d").await.status.success());
    let after = remote.server.counts();
    // b, c and d; curl may have sent b once more when its connection died.
    assert!((3..=8).contains(&(after.pushes - before.pushes)), "{before:?} {after:?}");
    // Three refused before the push itself, three fetches, and b, c and d.
    assert!(after.listings - before.listings >= 9, "{before:?} {after:?}");
}
