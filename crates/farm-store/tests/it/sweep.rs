//! What time makes wrong, put right.

use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::TaskState;
use farm_store::{Ended, GivenBack, NewTask, StoreError};

use crate::support::*;

/// Begins a task as often as it may be begun; the last run is under way when this returns.
async fn to_the_last_run(farm: &Farm, new: &NewTask) -> (farm_core::service::Run, u64) {
    for n in 0..4 {
        let now = T0 + n * LEASE;
        farm.run(new, &format!("r{n}"), now).await;
        assert_eq!(farm.store.sweep(now + LEASE).await.unwrap().expired, std::slice::from_ref(&new.task.id));
    }
    let now = T0 + 4 * LEASE;
    (farm.run(new, "r4", now).await, now)
}

#[tokio::test]
async fn a_lease_that_ran_out_gives_the_task_to_the_next() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    assert_eq!(farm.store.sweep(T0 + LEASE - 1).await.unwrap().expired, []);
    farm.store.heartbeat(&run_ref(&run), nothing(), T0 + 1_000).await.unwrap();
    assert_eq!(farm.store.sweep(T0 + LEASE).await.unwrap().expired, []);
    assert_eq!(farm.store.sweep(T0 + LEASE + 1_000).await.unwrap().expired, [id("t1")]);
    assert_eq!(names(&farm.offer(T0 + LEASE + 1_000).await), ["t1"]);
    assert_eq!(farm.view("t1").await.setback, "its lease ran out");
}

#[tokio::test]
async fn after_the_last_run_a_task_is_dead() {
    let farm = Farm::new().await;
    let new = task("t1");
    let (run, now) = to_the_last_run(&farm, &new).await;
    assert_eq!(run.run, 5);
    let swept = farm.store.sweep(now + LEASE).await.unwrap();
    assert_eq!((swept.ended, swept.dying), (vec![id("t1")], vec![]));
    let result = farm.result("t1").await;
    assert_eq!((result.status, result.reason), (Status::HardFail, Reason::Dead));
    assert_eq!(result.notes[0], "begun 5 times, last by w1");
}

#[tokio::test]
async fn who_may_have_pushed_in_the_last_run_is_not_dead_before_somebody_looked() {
    for landed in [true, false] {
        let farm = Farm::new().await;
        let new = task("t1");
        let (run, now) = to_the_last_run(&farm, &new).await;
        let bytes = farm.prepare(&run, '1', now).await.unwrap();
        let early = farm.store.settle_dying(&id("t1"), landed, now).await;
        assert!(matches!(early, Err(StoreError::Conflict { .. })), "{early:?}");
        let end = now + LEASE;
        for _ in 0..2 {
            let dying = farm.store.sweep(end).await.unwrap().dying;
            assert_eq!((dying.len(), &dying[0].intent.commit), (1, &oid('1')));
        }
        assert_eq!(farm.begin(&new, "r9", end).await, farm_store::Began::Held);
        assert_eq!(farm.store.settle_dying(&id("t1"), landed, end).await.unwrap(), Ended::Now);
        assert_eq!(farm.store.settle_dying(&id("t1"), !landed, end).await.unwrap(), Ended::Before);
        let view = farm.view("t1").await;
        if landed {
            assert_eq!((view.status, view.result), (Some(Status::Success), Some(bytes)));
        } else {
            assert_eq!(view.reason, Some(Reason::Dead));
            assert_eq!(farm.store.sweep(end).await.unwrap().leftovers.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_last_run_that_is_given_back_ends_for_its_reason() {
    let farm = Farm::new().await;
    let (run, now) = to_the_last_run(&farm, &task("t1")).await;
    assert_eq!(farm.give_back(&run, 0, now).await, GivenBack::Dead);
    let result = farm.result("t1").await;
    assert_eq!((result.status, result.reason), (Status::HardFail, Reason::GitUnavailable));
    assert_eq!(result.notes, ["the remote does not answer", "given back in run 5 of 5"]);
    // Unless it may have pushed.
    let farm = Farm::new().await;
    let (run, now) = to_the_last_run(&farm, &task("t1")).await;
    farm.prepare(&run, '1', now).await.unwrap();
    assert_eq!(farm.give_back(&run, 0, now).await, GivenBack::Dying);
    assert_eq!(farm.store.sweep(now).await.unwrap().dying.len(), 1);
    assert_eq!(farm.view("t1").await.state, TaskState::Running);
}

#[tokio::test]
async fn results_are_published_by_the_sweep_if_by_nobody_else() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    let bytes = farm.succeed(&run, T0).await;
    let timeout = options().publish_timeout_ms;
    assert_eq!(farm.store.sweep(T0 + timeout - 1).await.unwrap().unpublished, []);
    for _ in 0..2 {
        let unpublished = farm.store.sweep(T0 + timeout).await.unwrap().unpublished;
        assert_eq!(unpublished, [(id("t1"), bytes.clone())]);
    }
    farm.store.published(&id("t1"), T0 + timeout).await.unwrap();
    assert_eq!(farm.store.sweep(T0 + timeout).await.unwrap().unpublished, []);
}

#[tokio::test]
async fn a_branch_of_an_earlier_run_goes_when_the_task_fails() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    farm.prepare(&run, '1', T0).await.unwrap();
    let run = farm.run(&new, "r2", T0 + LEASE).await;
    farm.fail(&run, Reason::ChecksFailed, T0 + LEASE).await;
    let leftovers = farm.store.sweep(T0 + 2 * LEASE).await.unwrap().leftovers;
    assert_eq!((leftovers[0].task.clone(), &leftovers[0].commits), (id("t1"), &vec![oid('1')]));
    // A task that succeeded keeps its branch.
    let run = farm.run(&task("t2"), "r3", T0).await;
    farm.succeed(&run, T0).await;
    assert_eq!(farm.store.sweep(T0 + 9 * LEASE).await.unwrap().leftovers.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_fell_back_holds_nothing_up() {
    let farm = Farm::new().await;
    let ahead = T0 + 30 * 86_400_000;
    farm.accept(&[task("offered"), on_path("running", "f"), task("waiting")], ahead).await;
    let run = farm.run(&task("waiting"), "r1", ahead).await;
    farm.give_back(&run, u64::MAX, ahead).await;
    farm.run(&on_path("running", "f"), "r2", ahead).await;
    assert_eq!(names(&farm.offer(ahead).await), ["offered"]);
    let run = farm.run(&task("done"), "r3", ahead).await;
    farm.succeed(&run, ahead).await;
    assert_eq!(farm.store.sweep(T0).await.unwrap(), farm_store::Swept::default());
    assert_eq!(farm.store.sweep(T0 + 10_000).await.unwrap().unpublished.len(), 1);
    assert_eq!(names(&farm.offer(T0 + 120_000).await), ["offered"]);
    assert_eq!(farm.store.sweep(T0 + LEASE).await.unwrap().expired, [id("running")]);
    assert_eq!(farm.view("waiting").await.due_ms, T0 + 3_600_000);
}

#[tokio::test]
async fn control_ends_a_task_with_its_own_words() {
    let farm = Farm::new().await;
    farm.accept(&[task("t1")], T0).await;
    let finish = async || {
        farm.store.finish_by_control(&id("t1"), Reason::BaseMissing, vec!["gone".into()], T0).await.unwrap()
    };
    assert_eq!((finish().await, finish().await), (Ended::Now, Ended::Before));
    assert_eq!(farm.result("t1").await.notes, ["gone"]);
}
