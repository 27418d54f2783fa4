//! Pushes: compare-and-swap in the protocol, judged by the remote's report on the ref.

use farm_git::error::{GitError, PushError};
use farm_git::mirror::{Mirror, Pushed};

use crate::http_server::HttpServer;
use crate::support::{Lab, edit, git};

/// A mirror over a local path and one over HTTP, of the same remote, with `main` fetched.
async fn both(lab: &Lab) -> [Mirror; 2] {
    let server = HttpServer::start(lab.dir.path());
    let mirrors = lab.mirrors();
    let local = mirrors.mirror(&lab.local()).await.unwrap();
    let http = mirrors.mirror(&lab.http(&server, None)).await.unwrap();
    for mirror in [&local, &http] {
        mirror.ensure_branch("main").await.unwrap();
    }
    [local, http]
}

#[tokio::test]
async fn a_branch_is_made_moved_and_deleted_only_from_where_it_should_stand() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    for mirror in both(&lab).await {
        let objects = mirror.objects();
        let [one, two, three] = ["1", "2", "3"].map(|text| edit(&objects, Some(&main), text));
        let stale = |result: Result<Pushed, PushError>, was: Option<&_>, is: Option<&_>| match result {
            Err(PushError::Stale { expected, found, branch }) => {
                assert_eq!((branch.as_str(), expected.as_ref(), found.as_ref()), ("agt/t", was, is));
            }
            other => panic!("{other:?}"),
        };
        stale(mirror.push("agt/t", Some(&one), &two).await, Some(&one), None);
        assert_eq!(mirror.push("agt/t", None, &one).await.unwrap(), Pushed::Moved);
        assert_eq!(mirror.push("agt/t", None, &one).await.unwrap(), Pushed::AlreadyThere, "a repeat");
        stale(mirror.push("agt/t", None, &two).await, None, Some(&one));
        assert_eq!(
            mirror.push("agt/t", Some(&one), &two).await.unwrap(),
            Pushed::Moved,
            "not a fast-forward"
        );
        stale(mirror.push("agt/t", Some(&one), &three).await, Some(&one), Some(&two));
        assert_eq!(lab.tip("agt/t"), Some(two.clone()));
        stale(mirror.delete("agt/t", &one).await, Some(&one), Some(&two));
        assert_eq!(mirror.delete("agt/t", &two).await.unwrap(), Pushed::Moved);
        assert_eq!(mirror.delete("agt/t", &two).await.unwrap(), Pushed::AlreadyThere, "a repeat");
        assert_eq!(lab.tip("agt/t"), None);
        assert_eq!(git(mirror.dir(), &["for-each-ref", "refs/heads"]), "", "a push writes no ref here");
    }
}

#[tokio::test]
async fn only_the_farms_branches_are_written_unless_asked() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    let main = mirror.ensure_branch("main").await.unwrap();
    let next = edit(&mirror.objects(), Some(&main), "next\n");
    for branch in ["main", "agt", "x/agt/y", "agt/../main", "agt/", "agt/a b"] {
        let error = mirror.push(branch, None, &next).await.unwrap_err();
        assert!(matches!(error, PushError::Git(GitError::InvalidBranch { .. })), "{branch}: {error}");
        assert!(mirror.delete(branch, &main).await.is_err());
    }
    assert_eq!(lab.tip("main"), Some(main.clone()));
    mirror.push_any("main", Some(&main), &next).await.unwrap();
    assert_eq!(lab.tip("main"), Some(next));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_race_for_a_branch_one_wins() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    for (round, mirror) in both(&lab).await.into_iter().enumerate() {
        let branch = format!("agt/race-{round}");
        let pushes: Vec<_> = (0..6)
            .map(|i| {
                let (mirror, branch) = (mirror.clone(), branch.clone());
                let commit = edit(&mirror.objects(), Some(&main), &format!("{i}\n"));
                tokio::spawn(async move { (mirror.push(&branch, None, &commit).await, commit) })
            })
            .collect();
        let mut winners = Vec::new();
        for push in pushes {
            match push.await.unwrap() {
                (Ok(Pushed::Moved), commit) => winners.push(commit),
                (Err(PushError::Stale { .. }), _) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(lab.tip(&branch).as_ref(), winners.first());
    }
}

#[tokio::test]
async fn a_ref_that_a_hook_refuses_is_an_error() {
    for hook in ["update", "pre-receive"] {
        let lab = Lab::new();
        let main = lab.tip("main").unwrap();
        let mirrors = both(&lab).await;
        lab.hook(hook, "echo 'branches are frozen' >&2; exit 1");
        for mirror in mirrors {
            let commit = edit(&mirror.objects(), Some(&main), "x\n");
            match mirror.push("agt/t", None, &commit).await {
                Err(PushError::Refused { reason, .. }) => {
                    assert!(
                        reason.contains("branches are frozen") && reason.contains("hook declined"),
                        "{reason}"
                    );
                }
                other => panic!("{hook}: {other:?}"),
            }
            assert_eq!(lab.tip("agt/t"), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_of_one_mirror_do_not_collide() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    for (round, mirror) in both(&lab).await.into_iter().enumerate() {
        let pushes: Vec<_> = (0..24)
            .map(|i| {
                let (mirror, branch) = (mirror.clone(), format!("agt/many-{round}-{i}"));
                let commit = edit(&mirror.objects(), Some(&main), &format!("{i}\n"));
                tokio::spawn(async move {
                    mirror.push(&branch, None, &commit).await.unwrap();
                    (branch, commit)
                })
            })
            .collect();
        for push in pushes {
            let (branch, commit) = push.await.unwrap();
            assert_eq!(lab.tip(&branch), Some(commit));
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_not_here_is_not_pushed() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    mirror.ensure_branch("main").await.unwrap();
    let error = mirror.push("agt/t", None, &"1".repeat(40).parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, PushError::Git(GitError::Object { .. })), "{error:?}");
    assert_eq!(lab.tip("agt/t"), None);
}

#[tokio::test]
async fn a_remote_that_cannot_store_the_pack_is_no_refusal_of_the_branch() {
    let lab = Lab::new();
    for mirror in both(&lab).await {
        let main = lab.tip("main").unwrap();
        let commit = edit(&mirror.objects(), Some(&main), "x\n");
        git(&lab.bare(), &["config", "receive.maxInputSize", "1"]);
        let error = mirror.push("agt/t", None, &commit).await.unwrap_err();
        assert!(matches!(error, PushError::Git(GitError::Command { .. })), "{error:?}");
        git(&lab.bare(), &["config", "--unset", "receive.maxInputSize"]);
        mirror.push("agt/t", None, &commit).await.unwrap();
        mirror.delete("agt/t", &commit).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_branch_does_not_take_the_others_with_it() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    let mirrors = both(&lab).await;
    // Refuses the whole push that holds the bad branch, as pre-receive hooks do.
    // The ref, since an object id may hold the letters too.
    lab.hook("pre-receive", "! grep -q refs/heads/agt/bad");
    for (round, mirror) in mirrors.into_iter().enumerate() {
        let names = (0..12).map(|i| format!("agt/{}-{round}-{i}", if i == 7 { "bad" } else { "good" }));
        let pushes: Vec<_> = names
            .map(|branch| {
                let mirror = mirror.clone();
                let commit = edit(&mirror.objects(), Some(&main), &branch);
                tokio::spawn(async move { (mirror.push(&branch, None, &commit).await, branch, commit) })
            })
            .collect();
        for push in pushes {
            let (result, branch, commit) = push.await.unwrap();
            if branch.contains("bad") {
                assert!(matches!(result, Err(PushError::Refused { .. })), "{result:?}");
                assert_eq!(lab.tip(&branch), None);
            } else {
                assert_eq!(result.unwrap(), Pushed::Moved);
                assert_eq!(lab.tip(&branch), Some(commit));
            }
        }
        let left = std::fs::read_dir(mirror.dir().join("outgoing")).unwrap().count();
        assert_eq!(left, 0, "the packs of pushes are gone");
    }
}

#[tokio::test]
async fn a_push_whose_answer_was_lost_is_found_done() {
    let lab = Lab::new();
    let server = HttpServer::losing_answers(lab.dir.path(), "/git-receive-pack");
    let mirror = lab.mirrors().mirror(&lab.http(&server, None)).await.unwrap();
    let main = mirror.ensure_branch("main").await.unwrap();
    let commit = edit(&mirror.objects(), Some(&main), "x\n");
    assert_eq!(mirror.push("agt/t", None, &commit).await.unwrap(), Pushed::Moved);
    assert_eq!(lab.tip("agt/t"), Some(commit));
    // And one that was not done is an error that may pass.
    let other = edit(&mirror.objects(), Some(&main), "y\n");
    lab.hook("pre-receive", "exit 1");
    match mirror.push("agt/u", None, &other).await {
        Err(PushError::Git(error)) => assert!(error.is_transient(), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_chain_of_commits_and_what_was_packed_away_are_pushed_whole() {
    let lab = Lab::new();
    let mirror = lab.mirror().await;
    let main = mirror.ensure_branch("main").await.unwrap();
    let objects = mirror.objects();
    let first = edit(&objects, Some(&main), "first\n");
    let second = edit(&objects, Some(&first), "second\n");
    mirror.maintain(true).await.unwrap();
    let third = edit(&objects, Some(&second), "third\n");
    mirror.push("agt/chain", None, &third).await.unwrap();
    // One that the remote and the mirror both have already.
    mirror.push("agt/base", None, &main).await.unwrap();
    git(&lab.bare(), &["fsck", "--strict", "--connectivity-only"]);
    assert_eq!(git(&lab.bare(), &["rev-list", "--count", "agt/chain", "^main"]), "3");
}
