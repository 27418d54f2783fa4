//! Changes that are sent back, and what becomes of the tasks of one that fails.

use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::state::{ChangeState, TaskState};
use farm_store::StoreError;

use crate::support::*;

#[tokio::test]
async fn a_change_is_sent_back_with_one_more_task_in_one_transaction() {
    let farm = Farm::new().await;
    let c1 = change_id("c1");
    let tasks = vec![of_change("a", "c1"), of_change("b", "c1")];
    for task in &tasks {
        // Ended before their change is known, which changes nothing for it.
        let run = farm.run(task, "r", T0).await;
        farm.succeed(&run, T0).await;
    }
    farm.store.accept_change(change("c1", tasks), "ann", T0).await.unwrap();
    let send_back = async |replaced: Option<&str>, repair: &str, of: &str| {
        let replaced = replaced.map(id);
        let repair = of_change(repair, of);
        farm.store.send_back(&c1, replaced.as_ref(), repair, "they collide".into(), T0 + 1).await
    };
    let view = async || farm.store.change(&c1).await.unwrap().unwrap();

    send_back(Some("b"), "r1", "c1").await.unwrap();
    let back = view().await;
    assert_eq!(
        (back.state, back.round, back.notes),
        (ChangeState::CodePhase, 1, vec!["they collide".into()])
    );
    let repair = farm.view("r1").await;
    assert_eq!((repair.state, repair.round, repair.replaced_by), (TaskState::Queued, 1, None));
    assert_eq!(farm.view("b").await.replaced_by, Some(id("r1")));
    assert_eq!(farm.view("a").await.replaced_by, None);
    let told = farm.store.ledger_of("b").await.unwrap();
    assert_eq!(
        told.last().map(|entry| (entry.event, entry.actor.as_str())),
        Some((Event::TaskRetried, "control"))
    );

    let ledger_len = async || farm.store.ledger(0, 1_000).await.unwrap().len();
    let before = (view().await, ledger_len().await);
    for (replaced, repair, of) in [
        // Known, replaced before, not done, unknown, of another change.
        (None, "r1", "c1"),
        (Some("b"), "r2", "c1"),
        (Some("r1"), "r2", "c1"),
        (Some("nobody"), "r2", "c1"),
        (None, "r2", "c9"),
    ] {
        let refused = send_back(replaced, repair, of).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { .. } | StoreError::Unknown { .. })),
            "{replaced:?} {repair}: {refused:?}"
        );
        let after = (view().await, ledger_len().await);
        assert_eq!(after, before, "{replaced:?} {repair}: nothing of it was done");
        assert_eq!(farm.store.task(&id("r2")).await.unwrap(), None);
    }

    farm.store.move_change(&c1, ChangeState::CodePhase, ChangeState::Build1, None, vec![], T0).await.unwrap();
    send_back(None, "r2", "c1").await.unwrap();
    assert_eq!((view().await.state, view().await.round), (ChangeState::CodePhase, 2));
    for (from, to) in
        [(ChangeState::CodePhase, ChangeState::Build1), (ChangeState::Build1, ChangeState::Approval)]
    {
        farm.store.move_change(&c1, from, to, None, vec![], T0).await.unwrap();
    }
    let refused = send_back(None, "r3", "c1").await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn the_open_tasks_of_a_change_that_fails_are_cancelled() {
    let farm = Farm::new().await;
    let tasks = ["done", "running", "queued"].map(|name| of_change(name, "c1"));
    farm.store.accept_change(change("c1", tasks.to_vec()), "ann", T0).await.unwrap();
    let done = farm.run(&tasks[0], "r1", T0).await;
    let kept = farm.succeed(&done, T0).await;
    let running = farm.run(&tasks[1], "r2", T0).await;
    let (from, to) = (ChangeState::CodePhase, ChangeState::Failed);
    farm.store.move_change(&change_id("c1"), from, to, Some(Reason::PatchRefused), vec![], T0).await.unwrap();
    for name in ["running", "queued"] {
        assert_eq!(farm.result(name).await.reason, Reason::Cancelled, "{name}");
    }
    assert_eq!(farm.view("done").await.result, Some(kept));
    let denied = farm.prepare(&running, '2', T0).await.unwrap_err();
    assert_eq!(denied.reason, Reason::Cancelled);
}
