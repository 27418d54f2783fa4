//! What people do: cancel and retry.

use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::{ChangeState, TaskState};
use farm_store::{Accepted, Began, CancelledTask, Leftover, RetriedTask, StoreError};

use crate::support::*;

#[tokio::test]
async fn cancelling_ends_a_task_in_each_state() {
    let farm = Farm::new().await;
    let queued = task("queued");
    let run = farm.run(&task("done"), "r1", T0).await;
    let bytes = farm.succeed(&run, T0).await;
    let running = farm.run(&on_path("running", "f"), "r2", T0).await;
    farm.accept(std::slice::from_ref(&queued), T0).await;
    for (name, was) in [
        ("queued", CancelledTask::Queued),
        ("running", CancelledTask::Running),
        ("done", CancelledTask::Done),
        ("queued", CancelledTask::Done),
    ] {
        assert_eq!(farm.store.cancel_task(&id(name), "ann", T0).await.unwrap(), was, "{name}");
    }
    for name in ["queued", "running"] {
        let result = farm.result(name).await;
        assert_eq!((result.status, result.reason), (Status::HardFail, Reason::Cancelled), "{name}");
        assert_eq!(result.notes, ["cancelled by ann"]);
    }
    assert_eq!(farm.view("done").await.result, Some(bytes));
    assert!(matches!(farm.begin(&queued, "r3", T0).await, Began::Done { .. }));
    assert_eq!(farm.store.leases(None, T0).await.unwrap(), []);
    // Control publishes what control ended, at once.
    let unpublished = farm.store.sweep(T0).await.unwrap().unpublished;
    let mut names: Vec<String> = unpublished.iter().map(|(task, _)| task.to_string()).collect();
    names.sort();
    assert_eq!(names, ["queued", "running"]);
    assert_eq!(running.run, 1);
    let unknown = farm.store.cancel_task(&id("ghost"), "ann", T0).await;
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

#[tokio::test]
async fn the_branch_of_a_cancelled_push_goes_once_nobody_can_be_pushing() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    farm.prepare(&run, '1', T0).await.unwrap();
    farm.prepare(&run, '2', T0).await.unwrap();
    farm.store.cancel_task(&id("t1"), "ann", T0 + 1).await.unwrap();
    assert_eq!(farm.store.sweep(T0 + LEASE - 1).await.unwrap().leftovers, []);
    let leftover =
        Leftover { task: id("t1"), repository: repo().to_string(), commits: vec![oid('1'), oid('2')] };
    assert_eq!(farm.store.sweep(T0 + LEASE).await.unwrap().leftovers, [leftover]);
    farm.store.intend_deletion(&id("t1"), &oid('1'), T0 + LEASE).await.unwrap();
    farm.store.branch_gone(&id("t1")).await.unwrap();
    assert_eq!(farm.store.sweep(T0 + LEASE).await.unwrap().leftovers, []);
}

#[tokio::test]
async fn cancelling_a_change_ends_what_it_has_and_what_still_comes() {
    let farm = Farm::new().await;
    let tasks = vec![of_change("a", "c1"), of_change("b", "c1"), of_change("c", "c1")];
    farm.store.accept_change(change("c1", tasks.clone()), "ann", T0).await.unwrap();
    let run = farm.run(&tasks[0], "r1", T0).await;
    farm.succeed(&run, T0).await;
    farm.run(&tasks[1], "r2", T0).await;
    assert_eq!(farm.store.cancel_change(&change_id("c1"), "ann", T0).await.unwrap(), 2);
    assert_eq!(farm.store.cancel_change(&change_id("c1"), "ann", T0).await.unwrap(), 0);
    let view = farm.store.change(&change_id("c1")).await.unwrap().unwrap();
    assert_eq!((view.state, view.reason), (ChangeState::Cancelled, Some(Reason::Cancelled)));
    assert_eq!(farm.view("a").await.status, Some(Status::Success));
    assert_eq!(farm.result("b").await.reason, Reason::Cancelled);
    assert!(matches!(farm.begin(&of_change("late", "c1"), "r3", T0).await, Began::Done { .. }));
    assert_eq!(farm.store.counts().await.unwrap().queued, 0);
}

#[tokio::test]
async fn a_retry_hastens_what_waits_and_replaces_what_failed() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    let refused = farm.store.retry_task(&id("t1"), None, "ann", T0).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    farm.give_back(&run, 600_000, T0).await;
    assert_eq!(names(&farm.offer(T0 + 1).await), Vec::<String>::new());
    assert_eq!(farm.store.retry_task(&id("t1"), None, "ann", T0 + 1).await.unwrap(), RetriedTask::Hastened);
    assert_eq!(names(&farm.offer(T0 + 1).await), ["t1"]);
    let run = farm.run(&new, "r2", T0 + 1).await;
    let bytes = farm.fail(&run, Reason::ChecksFailed, T0 + 1).await;
    let refused = farm.store.retry_task(&id("t1"), None, "ann", T0 + 1).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let replaced = RetriedTask::Replaced { by: id("t1-2") };
    for _ in 0..2 {
        let answer = farm.store.retry_task(&id("t1"), Some(task("t1-2")), "ann", T0 + 2).await.unwrap();
        assert_eq!(answer, replaced);
    }
    assert_eq!(
        (farm.view("t1").await.result, farm.view("t1").await.replaced_by),
        (Some(bytes), Some(id("t1-2")))
    );
    assert_eq!(farm.view("t1-2").await.state, TaskState::Queued);
    let accepted = farm.store.accept_bundle(vec![task("t1-2")], T0 + 3).await.unwrap();
    assert_eq!(accepted, [Accepted::Same]);
}
