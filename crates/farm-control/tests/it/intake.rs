//! What is asked of the farm.

use farm_control::control::ControlError;
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{ChangeRequest, Risk};

use crate::support::*;

#[tokio::test]
async fn the_same_request_is_the_same_change_and_another_under_its_id_is_refused() {
    let farm = Farm::new().await;
    let first = ChangeRequest { risk: Risk::Medium, priority: 7, ..request("c1", vec![task("a")]) };
    for _ in 0..2 {
        assert_eq!(farm.control.submit(first.clone(), "test").await.unwrap(), change_id("c1"));
    }
    assert_eq!(farm.state(&change_id("c1")).await, ChangeState::CodePhase);
    let stored = farm.task("a").await;
    assert_eq!((stored.state, stored.task.change), (TaskState::Queued, Some(change_id("c1"))));
    assert_eq!((stored.task.risk, stored.task.priority), (Risk::Medium, 7), "inherited");

    let mut foreign = task("x");
    foreign.repository = Some(repo("elsewhere"));
    for (what, refused) in [
        ("another goal", ChangeRequest { goal: "worse".into(), ..first.clone() }),
        ("other tasks", request("c1", vec![task("b")])),
        ("no goal", ChangeRequest { goal: "\n".into(), ..request("c2", vec![task("b")]) }),
        ("two repositories", request("c3", vec![task("b"), foreign])),
        ("no repository", ChangeRequest { repository: None, ..request("c4", vec![task("b")]) }),
        ("nobody who plans", request("c5", Vec::new())),
        ("a task of another change", request("c6", vec![task("a")])),
    ] {
        let id = refused.id.clone().unwrap();
        let answer = farm.control.submit(refused, "test").await;
        assert!(matches!(answer, Err(ControlError::Refused { .. })), "{what}: {answer:?}");
        assert_eq!(farm.control.store.change(&id).await.unwrap().is_some(), id == change_id("c1"), "{what}");
    }
    assert!(farm.control.store.task(&task_id("b")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_change_without_an_id_gets_one_of_its_own() {
    let farm = Farm::new().await;
    let fresh = |id: &str| ChangeRequest { id: None, ..request("c1", vec![task(id)]) };
    let one = farm.control.submit(fresh("a"), "test").await.unwrap();
    let two = farm.control.submit(fresh("b"), "test").await.unwrap();
    assert_ne!(one, two);
}
