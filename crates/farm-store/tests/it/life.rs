//! Begin's table (DESIGN §4), and the way of a task from there to its result.

use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::service::{Beat, DeadReason, Phase, Step};
use farm_core::state::TaskState;
use farm_store::{Accepted, Began, GivenBack, Refusal};

use crate::support::*;

#[tokio::test]
async fn a_task_runs_once_and_its_result_stands() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    assert_eq!((run.run, run.base.clone(), run.first_begin_ms), (1, oid('b'), T0));
    assert_eq!(run.intent, None);
    let beat = farm.store.heartbeat(&run_ref(&run), nothing(), T0 + 1_000).await.unwrap();
    assert!(matches!(beat, Beat::Renewed { lease_ms: LEASE, .. }), "{beat:?}");
    let bytes = farm.prepare(&run, '1', T0 + 2_000).await.unwrap();
    assert_eq!(farm.view("t1").await.intent.unwrap().commit, oid('1'));
    farm.complete(&run, &bytes, T0 + 3_000).await.unwrap();
    farm.complete(&run, &bytes, T0 + 4_000).await.unwrap();
    let view = farm.view("t1").await;
    assert_eq!((view.state, view.status, view.done_ms), (TaskState::Done, Some(Status::Success), T0 + 3_000));
    assert_eq!(view.result, Some(bytes.clone()));
    assert_eq!(farm.begin(&new, "r2", T0 + 5_000).await, Began::Done { result: bytes });
    farm.store.published(&id("t1"), T0 + 6_000).await.unwrap();
    assert_eq!(farm.view("t1").await.published_ms, T0 + 6_000);
    let events: Vec<Event> = farm.store.ledger_of("t1").await.unwrap().iter().map(|e| e.event).collect();
    assert_eq!(events, [Event::TaskAccepted, Event::TaskBegun, Event::PushIntended, Event::TaskDone]);
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn the_same_request_of_the_same_worker_gets_the_same_run() {
    let farm = Farm::new().await;
    let new = task("t1");
    let first = farm.begin(&new, "r1", T0).await;
    assert_eq!(farm.begin(&new, "r1", T0 + 5).await, first);
    assert_eq!(farm.view("t1").await.lease_until_ms, T0 + 5 + LEASE, "the worker counts from its last call");
    assert_eq!(farm.begin(&new, "r2", T0 + 5).await, Began::Held);
    let mut other_worker = begin(&new, "r1");
    other_worker.worker = "w2".into();
    assert_eq!(farm.store.begin(other_worker, T0 + 5).await.unwrap(), Began::Held);
    assert_eq!(farm.view("t1").await.runs, 1);
}

#[tokio::test]
async fn other_content_under_a_known_id_is_refused_in_every_state() {
    let farm = Farm::new().await;
    let new = task("t1");
    let other = with("t1", |task| task.goal = "something else".into());
    farm.accept(std::slice::from_ref(&new), T0).await;
    let refused = |began: Began| match began {
        Began::Refused(rejected) => {
            assert_eq!((rejected.reason, &rejected.payload), (DeadReason::OtherContent, &other.record));
        }
        began => panic!("{began:?}"),
    };
    refused(farm.begin(&other, "r1", T0).await);
    let run = farm.run(&new, "r2", T0).await;
    refused(farm.begin(&other, "r3", T0).await);
    let bytes = farm.succeed(&run, T0).await;
    refused(farm.begin(&other, "r4", T0).await);
    let accepted = farm.store.accept_bundle(vec![other.clone(), new], T0).await.unwrap();
    assert!(matches!(accepted[..], [Accepted::OtherContent { .. }, Accepted::Same]), "{accepted:?}");
    assert_eq!(farm.view("t1").await.result, Some(bytes));
}

#[tokio::test]
async fn a_refused_task_has_its_result_at_once_and_never_runs() {
    let farm = Farm::new().await;
    let mut new = task("t1");
    new.refusal = Some(Refusal { reason: Reason::GoalEmpty, note: "the goal is empty".into() });
    let Began::Done { result } = farm.begin(&new, "r1", T0).await else { panic!("not done") };
    let result = decode(&result);
    assert_eq!((result.status, result.reason), (Status::HardFail, Reason::GoalEmpty));
    assert_eq!(result.notes, ["the goal is empty"]);
    assert_eq!(farm.view("t1").await.runs, 0);
    // What was accepted before it was found wanting ends as well.
    let mut late = task("t2");
    farm.accept(std::slice::from_ref(&late), T0).await;
    late.refusal = Some(Refusal { reason: Reason::RepositoryUnknown, note: String::new() });
    assert!(matches!(farm.begin(&late, "r2", T0).await, Began::Done { .. }));
}

#[tokio::test]
async fn without_a_base_nothing_runs_and_no_run_is_counted() {
    let farm = Farm::new().await;
    let new = task("t1");
    let mut blind = begin(&new, "r1");
    blind.pinned = None;
    assert_eq!(farm.store.begin(blind.clone(), T0).await.unwrap(), Began::NeedsBase);
    assert_eq!(farm.view("t1").await.runs, 0);
    assert_eq!(farm.run(&new, "r1", T0).await.base, oid('b'));
    // The first base stays, whatever the branch does meanwhile.
    let run = farm.run(&new, "r1", T0).await;
    farm.give_back(&run, 0, T0).await;
    let mut moved = begin(&new, "r2");
    moved.pinned = Some(oid('c'));
    let Began::Run(run) = farm.store.begin(moved, T0).await.unwrap() else { panic!("no run") };
    assert_eq!(run.base, oid('b'));
    let named = with("t2", |task| task.base = Some(oid('d')));
    blind.offered = named;
    let Began::Run(run) = farm.store.begin(blind, T0).await.unwrap() else { panic!("no run") };
    assert_eq!(run.base, oid('d'));
}

#[tokio::test]
async fn a_given_back_run_waits_for_its_time_and_keeps_its_first_begin() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    let back = farm.give_back(&run, 5_000, T0 + 1_000).await;
    assert_eq!(back, GivenBack::Queued { due_ms: T0 + 6_000 });
    assert_eq!(farm.begin(&new, "r2", T0 + 5_999).await, Began::Deferred);
    let again = farm.run(&new, "r3", T0 + 6_000).await;
    assert_eq!((again.run, again.first_begin_ms), (2, T0));
    assert!(again.token > run.token);
    assert_eq!(farm.view("t1").await.setback, "the remote does not answer");
}

#[tokio::test]
async fn a_prepared_commit_comes_along_with_the_next_run() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    let bytes = farm.prepare(&run, '1', T0).await.unwrap();
    let again = farm.run(&new, "r2", T0 + LEASE).await;
    let intent = again.intent.clone().unwrap();
    assert_eq!((intent.token, intent.commit, &intent.result), (run.token, oid('1'), &bytes));
    // The branch stands at it: the stored result is completed without another push.
    farm.complete(&again, &bytes, T0 + LEASE).await.unwrap();
    assert_eq!(farm.view("t1").await.result, Some(bytes));
}

#[tokio::test]
async fn only_what_was_prepared_last_can_succeed() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    let (unprepared, _) = prepared(&run, '1', &["src/a.rs"]);
    assert_eq!(farm.complete(&run, &unprepared.result, T0).await.unwrap_err().reason, Reason::Internal);
    let first = farm.prepare(&run, '1', T0).await.unwrap();
    let second = farm.prepare(&run, '2', T0).await.unwrap();
    assert_eq!(farm.complete(&run, &first, T0).await.unwrap_err().reason, Reason::Internal);
    let mut other_words = decode(&second);
    other_words.notes.push("more".into());
    let other_words = serde_json::to_vec(&other_words).unwrap();
    assert_eq!(farm.complete(&run, &other_words, T0).await.unwrap_err().reason, Reason::Internal);
    farm.complete(&run, &second, T0).await.unwrap();
    assert_eq!(farm.complete(&run, &other_words, T0).await.unwrap_err().reason, Reason::LeaseLost);
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_prepared_result_must_tell_of_the_push() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    type Edit = fn(&mut farm_core::result::CommitResult);
    let edits: [(&str, Edit); 6] = [
        ("task_id", |r| r.task = id("t2")),
        ("status", |r| r.status = Status::SoftFail),
        ("commit_sha", |r| r.commit = Some(oid('9'))),
        ("branch_name", |r| r.branch = Some("main".into())),
        ("base_commit", |r| r.base = None),
        ("delta_digest", |r| r.delta_digest = Some("0".into())),
    ];
    for (field, edit) in edits {
        let (prepare, mut result) = prepared(&run, '1', &["src/a.rs"]);
        edit(&mut result);
        let denied = farm.store.prepare(&prepare, &result, T0).await.unwrap().unwrap_err();
        assert_eq!(denied.reason, Reason::Internal, "{field}");
        assert!(denied.detail.contains(field), "{field}: {}", denied.detail);
    }
    assert_eq!(farm.view("t1").await.intent, None);
}

#[tokio::test]
async fn no_leave_to_push_what_the_policy_or_the_scope_forbids() {
    let farm = Farm::new().await;
    let scoped = with("t1", |task| task.scope = vec!["src/**".into()]);
    let run = farm.run(&scoped, "r1", T0).await;
    for (path, reason) in [
        ("infra/main.tf", Reason::PathForbidden),
        ("docs/a.md", Reason::PathNotAllowed),
        (".github/workflows/x.yml", Reason::ProtectedPath),
    ] {
        let (prepare, result) = prepared(&run, '1', &[path]);
        let denied = farm.store.prepare(&prepare, &result, T0).await.unwrap().unwrap_err();
        assert_eq!(denied.reason, reason, "{path}");
    }
    farm.store.remove_repository(&repo(), "test", T0).await.unwrap();
    assert_eq!(farm.prepare(&run, '1', T0).await.unwrap_err().reason, Reason::RepositoryUnknown);
    let denials = farm.store.ledger_of("t1").await.unwrap();
    assert_eq!(denials.iter().filter(|entry| entry.event == Event::RunDenied).count(), 4);
}

#[tokio::test]
async fn a_report_without_commit_is_no_patch_that_succeeded() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    let bytes = failed(&run, Reason::Ok);
    assert_eq!(farm.complete(&run, &bytes, T0).await.unwrap_err().reason, Reason::Internal);
    let report = with("t2", |task| task.kind = "analyze".into());
    let run = farm.run(&report, "r2", T0).await;
    farm.complete(&run, &failed(&run, Reason::Ok), T0).await.unwrap();
    assert_eq!(farm.view("t2").await.status, Some(Status::Success));
}

#[tokio::test]
async fn a_timeline_keeps_the_newest_within_its_limits() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    let step = |n: u64| Step {
        at_ms: T0 + n,
        attempt: 1,
        phase: Phase::Check,
        duration_ms: 1,
        summary: format!("step {n}"),
        detail: "é".repeat(20_000),
    };
    for chunk in 0..5 {
        let steps = (0..50).map(|n| step(chunk * 50 + n)).collect();
        farm.store.report(&run_ref(&run), steps).await.unwrap();
    }
    let steps = farm.store.steps(&id("t1"), 0).await.unwrap();
    assert_eq!((steps.len(), steps[0].step.summary.as_str()), (200, "step 50"));
    assert_eq!(steps[199].step.summary, "step 249");
    let kept: usize = steps.iter().map(|step| step.step.detail.len()).sum();
    assert!(kept <= 256 * 1024, "{kept}");
    assert!(!steps[199].step.detail.is_empty());
    assert_eq!(farm.store.steps(&id("t1"), steps[198].n).await.unwrap().len(), 1);
}
