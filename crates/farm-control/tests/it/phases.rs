//! A change's way from its tasks to a person.

use farm_core::policy::Policy;
use farm_core::reason::Reason;
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{Check, CheckKind, CodingTask, Expectation, Kind, Yield};

use crate::support::*;

#[tokio::test]
async fn two_patches_of_one_file_become_one_tree_which_is_built_and_waits_for_a_person() {
    let farm = Farm::new().await;
    let change = farm.submit("c1", vec![task("a"), task("b")]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase, "b has not ended");
    farm.patch("b", "{name}!", "{name}.").await;
    farm.step().await;

    let built = farm.change(&change).await;
    assert_eq!(built.state, ChangeState::Build1);
    let integration = built.integration.unwrap();
    assert_eq!((&integration.base, &integration.old), (&farm.tip, &None));
    assert_eq!(farm.branch("agt/change-c1").await.as_ref(), Some(&integration.commit));
    let both = farm.read(&farm.tip).await.replace("\"Hello\"", "\"Hi\"").replace("{name}!", "{name}.");
    assert_eq!(farm.read(&integration.commit).await, both);
    let mirror = farm.mirror().await;
    mirror.ensure_commit(&integration.commit, None).await.unwrap();
    assert_eq!(mirror.objects().parents_of(&integration.commit).unwrap(), std::slice::from_ref(&farm.tip));

    let build = farm.task("c1-build1-0").await;
    assert_eq!(build.task.kind.yields(), Yield::Checks);
    assert_eq!((build.state, build.task.base), (TaskState::Queued, Some(integration.commit.clone())));
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::Build1, "the build has not ended");
    farm.end("c1-build1-0", Reason::Ok, &[]).await;
    farm.step().await;
    let waiting = farm.change(&change).await;
    assert_eq!((waiting.state, waiting.integration), (ChangeState::Approval, Some(integration)));
    assert!(farm.control.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn the_build_has_the_checks_that_every_task_brought_and_else_finds_the_repositorys() {
    let farm = Farm::new().await;
    let check = |name: &str| Check {
        name: name.into(),
        kind: CheckKind::Test,
        argv: vec!["true".into()],
        expect: Expectation::NoWorse,
        timeout_s: None,
        junit: None,
        files: Vec::new(),
    };
    let own = |names: &[&str]| Some(names.iter().map(|name| check(name)).collect::<Vec<_>>());
    for (id, first, second, expected) in [
        ("waived", own(&[]), own(&[]), own(&[])),
        ("joined", own(&["x", "y"]), own(&["y", "z"]), own(&["x", "y", "z"])),
        ("found", own(&["x"]), None, None),
    ] {
        let (a, b) = (format!("{id}-a"), format!("{id}-b"));
        let tasks = vec![CodingTask { checks: first, ..task(&a) }, CodingTask { checks: second, ..task(&b) }];
        farm.submit(id, tasks).await;
        farm.patch(&a, "\"Hello\"", "\"Hi\"").await;
        farm.patch(&b, "{name}!", "{name}.").await;
        farm.step().await;
        assert_eq!(farm.task(&format!("{id}-build1-0")).await.task.checks, expected, "{id}");
    }
}

#[tokio::test]
async fn a_task_that_failed_fails_its_change_with_its_reason() {
    let farm = Farm::new().await;
    let change = farm.submit("c1", vec![task("a"), task("b"), after("c", &["b"])]).await;
    farm.end("b", Reason::ChecksFailed, &["red"]).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase, "a has not ended");
    assert_eq!(farm.result("c").await.reason, Reason::PrecedingFailed);
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.step().await;
    let failed = farm.change(&change).await;
    assert_eq!(failed.state, ChangeState::Failed);
    assert_eq!(failed.reason, Some(Reason::ChecksFailed), "the first that failed, not what failed by it");
    assert_eq!(failed.notes, ["b: SOFT_FAIL tests_failed", "c: HARD_FAIL preceding_failed"]);
    assert_eq!(farm.branch("agt/change-c1").await, None);
}

#[tokio::test]
async fn a_patch_that_the_policy_forbids_by_now_is_not_integrated() {
    let farm = Farm::new().await;
    let change = farm.submit("c1", vec![task("a")]).await;
    farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    farm.register("greet", Policy { deny_write: vec!["greet/**".into()], ..Policy::default() }).await;
    farm.step().await;
    let failed = farm.change(&change).await;
    assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::PathForbidden)));
    assert_eq!(farm.branch("agt/change-c1").await, None);
}

#[tokio::test]
async fn tasks_that_only_report_are_waited_for_and_leave_nothing_to_build() {
    let farm = Farm::new().await;
    let report = |id: &str, kind: &str| CodingTask { kind: Kind::from(kind), ..task(id) };
    let change = farm.submit("c1", vec![report("look", "read"), report("check", "test")]).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase);
    farm.end("look", Reason::Ok, &["all there"]).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase, "the check has not ended");
    farm.end("check", Reason::Ok, &[]).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::Done);
}
