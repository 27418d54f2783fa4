//! Mirrors: made once, fetched incrementally, typed when something is missing.

use std::time::{Duration, Instant};

use farm_git::command::GitSettings;
use farm_git::error::GitError;
use farm_git::mirror::{Maintained, Mirrors};
use farm_git::remote::Remote;

use crate::http_server::{HttpServer, command_lines};
use crate::support::{Lab, edit, git, oid};

#[tokio::test]
async fn an_empty_repository_has_no_tip_and_takes_a_first_push() {
    let lab = Lab::empty();
    let mirror = lab.mirror().await;
    assert_eq!(mirror.tip("main").await.unwrap(), None);
    assert!(matches!(mirror.ensure_branch("main").await, Err(GitError::BranchMissing { .. })));
    assert_eq!(mirror.remote_branches("").await.unwrap(), []);
    let first = edit(&mirror.objects(), None, "first\n");
    mirror.push("agt/first", None, &first).await.unwrap();
    assert_eq!(lab.tip("agt/first"), Some(first));
}

#[tokio::test]
async fn a_branch_is_followed_forward_back_and_away() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    let first = lab.tip("main").unwrap();
    assert_eq!(mirror.ensure_branch("main").await.unwrap(), first);
    let second = lab.commit("main", &[("b.txt", "b\n")]);
    assert_eq!(mirror.ensure_branch("main").await.unwrap(), second);
    git(&lab.bare(), &["update-ref", "refs/heads/main", first.as_str()]);
    assert_eq!(mirror.ensure_branch("main").await.unwrap(), first, "force-pushed");
    // The task that was begun on it can still be run.
    mirror.ensure_commit(&second, Some("main")).await.unwrap();
    git(&lab.bare(), &["update-ref", "-d", "refs/heads/main"]);
    assert!(matches!(mirror.ensure_branch("main").await, Err(GitError::BranchMissing { .. })));
    assert_eq!(mirror.tip("main").await.unwrap(), None);
}

#[tokio::test]
async fn branch_names_that_exclude_each_other_as_files_may_follow_each_other() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    let commit = lab.tip("main").unwrap();
    for branch in ["topic", "topic/part", "Topic"] {
        git(&lab.bare(), &["update-ref", &format!("refs/heads/{branch}"), commit.as_str()]);
        assert_eq!(mirror.ensure_branch(branch).await.unwrap(), commit, "{branch}");
        git(&lab.bare(), &["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }
}

#[tokio::test]
async fn a_commit_is_found_by_hint_or_by_its_id_or_is_missing() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    let server = HttpServer::start(lab.dir.path());
    for remote in [lab.local(), lab.http(&server, None)] {
        let mirror = lab.mirrors().mirror(&remote).await.unwrap();
        mirror.ensure_commit(&main, Some("main")).await.unwrap();
        // A hint that leads nowhere is no failure, and an older commit needs no branch.
        let older = lab.commit("side", &[("s.txt", remote.url())]);
        let newer = lab.commit("side", &[("s.txt", "newer\n")]);
        mirror.ensure_commit(&older, Some("gone")).await.unwrap();
        mirror.ensure_commit(&newer, None).await.unwrap();
        assert!(mirror.objects().tree_of(&newer).is_ok());
        for missing in ["1".repeat(40), "1".repeat(64)] {
            let error = mirror.ensure_commit(&oid(&missing), Some("main")).await.unwrap_err();
            assert!(matches!(error, GitError::BaseMissing { .. }), "{error}");
            assert!(!error.is_transient());
        }
        git(&lab.bare(), &["update-ref", "-d", "refs/heads/side"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_callers_fetch_once() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    let server = HttpServer::start(lab.dir.path());
    let mirror = lab.mirrors().mirror(&lab.http(&server, None)).await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (mirror, main) = (mirror.clone(), main.clone());
            tokio::spawn(async move { mirror.ensure_commit(&main, Some("main")).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(server.count("/info/refs?service=git-upload-pack"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_make_and_fetch_one_mirror() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    // A file lock belongs to an opening of the file, so that eight `Mirrors` stand for eight processes.
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (root, remote, main) = (lab.dir.path().join("mirrors"), lab.local(), main.clone());
            tokio::spawn(async move {
                let mirrors = Mirrors::open(root, GitSettings::default()).unwrap();
                let mirror = mirrors.mirror(&remote).await.unwrap();
                mirror.ensure_commit(&main, Some("main")).await.unwrap();
                mirror.objects().tree_of(&main).unwrap()
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let packs = std::fs::read_dir(lab.mirror().await.dir().join("objects/pack")).unwrap();
    let packs = packs.flatten().filter(|file| file.path().extension().is_some_and(|e| e == "pack")).count();
    assert_eq!(packs, 1, "one fetch for all");
}

#[tokio::test]
async fn branches_are_listed_by_prefix() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    for branch in ["agt/b", "agt/a", "agtx", "other/agt/c"] {
        git(&lab.bare(), &["update-ref", &format!("refs/heads/{branch}"), main.as_str()]);
    }
    let mirror = lab.mirror().await;
    let names = |branches: Vec<(String, _)>| branches.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(mirror.remote_branches("agt/").await.unwrap()), ["agt/a", "agt/b"]);
    assert_eq!(names(mirror.remote_branches("").await.unwrap()).len(), 5);
    for branch in ["-x", "a b", "a..b", "a*", "", "a\nb", "x.lock", "@{0}"] {
        assert!(matches!(mirror.tip(branch).await, Err(GitError::InvalidBranch { .. })), "{branch:?}");
        assert!(
            matches!(mirror.ensure_branch(branch).await, Err(GitError::InvalidBranch { .. })),
            "{branch:?}"
        );
    }
}

#[tokio::test]
async fn ssh_addresses_reach_the_command_line_of_ssh() {
    let lab = Lab::new();
    let log = lab.dir.path().join("ssh.log");
    let script = lab.dir.path().join("ssh");
    // The last argument is the command for the other side; git and a shell quote it for a shell there.
    let text =
        format!("#!/bin/sh\necho \"$@\" >>{}\nfor last; do :; done\nexec sh -c \"$last\"\n", log.display());
    std::fs::write(&script, text).unwrap();
    let settings =
        GitSettings { ssh_command: Some(format!("sh {}", script.display())), ..GitSettings::default() };
    let mirrors = lab.mirrors_with(settings);
    let path = lab.bare().display().to_string();
    for url in [format!("ssh://git@git.example.com:2222{path}"), format!("git@git.example.com:{path}")] {
        let mirror = mirrors.mirror(&Remote::new(&url, None).unwrap()).await.unwrap();
        let main = mirror.ensure_branch("main").await.unwrap();
        let commit = edit(&mirror.objects(), Some(&main), &url);
        mirror.push("agt/ssh", lab.tip("agt/ssh").as_ref(), &commit).await.unwrap();
        assert_eq!(lab.tip("agt/ssh"), Some(commit));
    }
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("-p 2222 git@git.example.com git-upload-pack"), "{log}");
    assert!(log.contains("BatchMode=yes") && log.contains("git-receive-pack"), "{log}");
}

#[tokio::test]
async fn nobodys_configuration_is_obeyed() {
    let lab = Lab::new();
    let elsewhere = Lab::new();
    let home = lab.dir.path().join("evil-home");
    std::fs::create_dir_all(home.join(".config/git")).unwrap();
    let config =
        format!("[url \"{}\"]\n\tinsteadOf = {}\n", elsewhere.bare().display(), lab.bare().display());
    std::fs::write(home.join(".gitconfig"), &config).unwrap();
    std::fs::write(home.join(".config/git/config"), &config).unwrap();
    let env = [("HOME", home.clone()), ("XDG_CONFIG_HOME", home.join(".config"))];
    let env = env.into_iter().map(|(key, value)| (key.into(), value.into_os_string())).collect();
    let mirrors = lab.mirrors_with(GitSettings { env, ..GitSettings::default() });
    let mirror = mirrors.mirror(&lab.local()).await.unwrap();
    let main = lab.commit("main", &[("only-here.txt", "x\n")]);
    assert_eq!(mirror.ensure_branch("main").await.unwrap(), main);
    // A configuration that somebody left in the mirror is written over when it is opened next.
    std::fs::write(mirror.dir().join("config"), format!("[core]\n\tbare = true\n{config}")).unwrap();
    let mirror = lab.mirror().await;
    assert_eq!(mirror.tip("main").await.unwrap(), Some(main));
}

#[tokio::test]
async fn absent_remotes_are_told_apart_and_in_time() {
    let lab = Lab::new();
    let settings = GitSettings { timeout: Duration::from_millis(700), ..GitSettings::default() };
    let mirrors = lab.mirrors_with(settings);
    let tip =
        async |url: &str| mirrors.mirror(&Remote::new(url, None).unwrap()).await.unwrap().tip("main").await;

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = tip(&format!("http://{closed}/x.git")).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }) && error.is_transient(), "{error}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let began = Instant::now();
    let error = tip(&url).await.unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }) && error.is_transient(), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "the limit of 700 ms was not kept");
    // They have been killed; the kernel may still be at it.
    while command_lines().contains(&url) {
        assert!(began.elapsed() < Duration::from_secs(60), "git's helpers are left running");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let server = HttpServer::start(lab.dir.path());
    for url in [server.url("none.git"), lab.dir.path().join("none.git").display().to_string()] {
        let error = tip(&url).await.unwrap_err();
        assert!(matches!(error, GitError::RepositoryMissing { .. }), "{error:?}");
    }
    let plain = Remote::new("http://git.example.com/x.git", None).unwrap();
    assert!(matches!(mirrors.mirror(&plain).await, Err(GitError::InvalidRemote { .. })));
}

#[tokio::test]
async fn a_fetch_that_was_killed_does_not_block_the_next() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    mirror.ensure_branch("main").await.unwrap();
    let refs = mirror.dir().join("refs/farm");
    let name = std::fs::read_dir(&refs).unwrap().flatten().next().unwrap().path();
    std::fs::write(name.with_extension("lock"), "").unwrap();
    let next = lab.commit("main", &[("b.txt", "b\n")]);
    assert_eq!(mirror.ensure_branch("main").await.unwrap(), next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repack_disturbs_nobody() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    let main = mirror.ensure_branch("main").await.unwrap();
    assert_eq!(mirror.maintain(false).await.unwrap(), Maintained::NotNeeded);
    let objects = mirror.objects();
    // Another process, whose opened repositories this one's repack cannot close.
    let other = Mirrors::open(lab.dir.path().join("mirrors"), GitSettings::default()).unwrap();
    let other = other.mirror(&lab.local()).await.unwrap().objects();
    let mut commits = Vec::new();
    for round in 0..3 {
        let writing = {
            let (objects, main) = (objects.clone(), main.clone());
            tokio::task::spawn_blocking(move || {
                (0..60).map(|i| edit(&objects, Some(&main), &format!("{round} {i}\n"))).collect::<Vec<_>>()
            })
        };
        assert_eq!(mirror.maintain(true).await.unwrap(), Maintained::Repacked);
        commits.extend(writing.await.unwrap());
        for commit in &commits {
            let tree = objects.tree_of(commit).unwrap();
            assert!(other.list(&tree).unwrap().len() == 3);
        }
    }
    mirror.maintain(true).await.unwrap();
    let loose = git(mirror.objects().dir(), &["count-objects"]);
    assert!(loose.starts_with("0 objects"), "{loose}");
    mirror.push("agt/x", None, commits.last().unwrap()).await.unwrap();
    mirror.push("agt/y", None, &commits[0]).await.unwrap();
}
