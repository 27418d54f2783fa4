//! What the sweep puts right.

use farm_control::sweep;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::service::Begun;
use farm_core::state::TaskState;

use crate::support::*;

/// Longer than a lease.
const LONG_MS: u64 = 200_000;

async fn swept(farm: &Farm) {
    sweep::once(&farm.control).await.unwrap();
}

#[tokio::test]
async fn a_run_whose_lease_has_ended_is_queued_again() {
    let farm = Farm::new().await;
    farm.submit("c1", vec![task("a")]).await;
    let first = farm.run("a").await;
    swept(&farm).await;
    assert_eq!(farm.task("a").await.state, TaskState::Running, "its lease lasts");
    farm.pass(LONG_MS);
    swept(&farm).await;
    assert_eq!(farm.task("a").await.state, TaskState::Queued);
    assert_eq!(farm.control.metrics.leases_expired.get(), 1);
    let second = farm.run("a").await;
    assert!(second.token > first.token);
    assert_eq!((second.run, second.base), (2, first.base));
}

/// Begins `task` as often as it may be, and lets every lease but the last end.
async fn last_run(farm: &Farm, task: &str) -> farm_core::service::Run {
    loop {
        let run = farm.run(task).await;
        if run.run == 5 {
            return run;
        }
        farm.pass(LONG_MS);
        swept(farm).await;
    }
}

#[tokio::test]
async fn what_the_last_run_pushed_counts_although_it_never_completed() {
    let farm = Farm::new().await;
    farm.submit("c1", vec![task("a")]).await;
    let run = last_run(&farm, "a").await;
    let patch = farm.prepare(&run, "\"Hello\"", "\"Hi\"").await;
    farm.push(&patch).await;
    farm.pass(LONG_MS);
    swept(&farm).await;
    let done = farm.task("a").await;
    assert_eq!((done.state, done.status), (TaskState::Done, Some(Status::Success)));
    assert_eq!(done.result, Some(patch.bytes), "byte for byte what was prepared");
    swept(&farm).await;
    assert_eq!(farm.branch("agt/a").await, Some(patch.commit), "it is no leftover");
}

#[tokio::test]
async fn what_the_last_run_prepared_and_did_not_push_is_dead() {
    let farm = Farm::new().await;
    farm.submit("c1", vec![task("a"), task("b")]).await;
    let run = last_run(&farm, "a").await;
    farm.prepare(&run, "\"Hello\"", "\"Hi\"").await;
    last_run(&farm, "b").await;
    farm.pass(LONG_MS);
    swept(&farm).await;
    for id in ["a", "b"] {
        let result = farm.result(id).await;
        assert_eq!((result.status, result.reason), (Status::HardFail, Reason::Dead), "{id}");
    }
}

#[tokio::test]
async fn the_branch_of_a_task_that_failed_goes_unless_it_stands_elsewhere() {
    let farm = Farm::new().await;
    farm.submit("c1", vec![task("a"), task("b")]).await;
    let mut pushed = Vec::new();
    for id in ["a", "b"] {
        let run = farm.run(id).await;
        let patch = farm.prepare(&run, "\"Hello\"", &format!("\"Hi {id}\"")).await;
        farm.push(&patch).await;
        farm.complete(&run, &ended(&run, Reason::ChecksFailed, &["red"])).await;
        pushed.push(patch.commit);
    }
    // Somebody else has moved b's branch to the target's tip.
    farm.mirror().await.push("agt/b", Some(&pushed[1]), &farm.tip).await.unwrap();
    swept(&farm).await;
    assert_eq!(farm.branch("agt/a").await.as_ref(), Some(&pushed[0]), "its worker may still be pushing");
    farm.pass(LONG_MS);
    swept(&farm).await;
    assert_eq!(farm.branch("agt/a").await, None);
    assert_eq!(farm.branch("agt/b").await.as_ref(), Some(&farm.tip));
    assert_eq!(farm.control.metrics.branches_deleted.get(), 1);
    let events = farm.control.store.ledger_of("a").await.unwrap();
    assert!(events.iter().any(|entry| entry.event == farm_core::ledger::Event::DeletionIntended));
    let swept = farm.control.store.sweep(farm.control.now_ms()).await.unwrap();
    assert_eq!(swept.leftovers, [], "nothing is looked at for ever");
}

#[tokio::test]
async fn results_stay_unpublished_while_kafka_is_down() {
    let farm = Farm::new().await;
    farm.submit("c1", vec![task("a")]).await;
    farm.end("a", Reason::ChecksFailed, &["red"]).await;
    let bytes = farm.task("a").await.result.unwrap();
    for _ in 0..2 {
        farm.pass(LONG_MS);
        swept(&farm).await;
        assert_eq!(farm.task("a").await.published_ms, 0);
    }
    let left = farm.control.store.sweep(farm.control.now_ms()).await.unwrap();
    assert_eq!(left.unpublished, [(task_id("a"), bytes.clone())]);
    assert_eq!(farm.begin_known("a").await, Begun::Done { task: task_id("a"), result: bytes });
}
