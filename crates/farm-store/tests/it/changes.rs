//! Changes from acceptance to their end.

use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::state::{ChangeState, TaskState};
use farm_store::{Accepted, ChangeFilter, Integration, Page, StoreError, TaskFilter};

use crate::support::*;

fn integration(digit: char) -> Integration {
    Integration {
        base: oid('b'),
        old: None,
        commit: oid(digit),
        tree: oid('e'),
        delta_digest: "d".repeat(64),
    }
}

#[tokio::test]
async fn a_change_is_accepted_once_with_all_of_its_tasks_or_none() {
    let farm = Farm::new().await;
    let id1 = change_id("c1");
    let good = change("c1", vec![of_change("a", "c1"), of_change("b", "c1")]);
    assert_eq!(farm.store.accept_change(good.clone(), "ann", T0).await.unwrap(), Accepted::New);
    assert_eq!(farm.store.accept_change(good.clone(), "ann", T0).await.unwrap(), Accepted::Same);
    let mut other = good.clone();
    other.request = serde_json::json!({ "goal": "worse" });
    let stranger = change("c2", vec![of_change("x", "c2"), of_change("y", "c9")]);
    let clash = change("c3", vec![of_change("z", "c3"), of_change("a", "c3")]);
    for refused in [other, stranger, clash] {
        let name = refused.id.clone();
        let answer = farm.store.accept_change(refused, "ann", T0).await.unwrap();
        assert!(matches!(answer, Accepted::OtherContent { .. }), "{name}: {answer:?}");
    }
    let filter = TaskFilter { state: Some(TaskState::Queued), ..TaskFilter::default() };
    assert_eq!(farm.store.tasks(&filter, Page::first(10)).await.unwrap().len(), 2);
    assert_eq!(farm.store.change(&id1).await.unwrap().unwrap().state, ChangeState::CodePhase);
    assert_eq!(farm.store.change(&change_id("c2")).await.unwrap(), None);
    // Two tasks of one list under one id.
    let mut twins = change("c4", vec![of_change("t", "c4"), of_change("t", "c4")]);
    twins.tasks[1].digest = "other".into();
    let answer = farm.store.accept_change(twins, "ann", T0).await;
    assert!(matches!(answer, Err(StoreError::Conflict { .. })), "{answer:?}");
    assert_eq!(farm.store.change(&change_id("c4")).await.unwrap(), None);
    assert!(farm.store.verify_ledger().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_planned_change_goes_its_way_and_back() {
    let farm = Farm::new().await;
    let c1 = change_id("c1");
    farm.store.accept_change(change("c1", Vec::new()), "ann", T0).await.unwrap();
    let view = async || farm.store.change(&c1).await.unwrap().unwrap();
    assert_eq!(view().await.state, ChangeState::Plan);
    let first = farm.store.add_tasks(&c1, vec![of_change("a", "c1")], T0 + 1).await.unwrap();
    assert_eq!((first, view().await.state), (Accepted::New, ChangeState::CodePhase));
    let go = async |from, to, note: &str| {
        farm.store.move_change(&c1, from, to, Some(Reason::ChecksFailed), vec![note.into()], T0 + 2).await
    };
    go(ChangeState::CodePhase, ChangeState::Build1, "all done").await.unwrap();
    farm.store.intend_integration(&c1, integration('1'), T0 + 2).await.unwrap();
    assert_eq!(view().await.integration, Some(integration('1')));
    for (from, to) in
        [(ChangeState::CodePhase, ChangeState::Build1), (ChangeState::Build1, ChangeState::Merge)]
    {
        let refused = go(from, to, "").await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    go(ChangeState::Build1, ChangeState::CodePhase, "red").await.unwrap();
    let back = view().await;
    assert_eq!((back.round, back.integration, back.notes), (1, None, vec!["all done".into(), "red".into()]));
    farm.store.add_tasks(&c1, vec![of_change("b", "c1")], T0 + 3).await.unwrap();
    assert_eq!((farm.view("a").await.round, farm.view("b").await.round), (0, 1));
    go(ChangeState::CodePhase, ChangeState::Failed, "too often").await.unwrap();
    let refused = farm.store.add_tasks(&c1, vec![of_change("d", "c1")], T0 + 3).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let events: Vec<Event> = farm.store.ledger_of("c1").await.unwrap().iter().map(|e| e.event).collect();
    use Event::{ChangeAccepted, ChangeMoved, IntegrationIntended};
    assert_eq!(
        events,
        [ChangeAccepted, ChangeMoved, ChangeMoved, IntegrationIntended, ChangeMoved, ChangeMoved]
    );
}

#[tokio::test]
async fn lists_are_newest_first_in_pages() {
    let farm = Farm::new().await;
    for i in 0..5 {
        let (name, task) = (format!("c{i}"), format!("t{i}"));
        farm.store.accept_change(change(&name, vec![of_change(&task, &name)]), "ann", T0).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page = Page::first(2);
    loop {
        let changes = farm.store.changes(&ChangeFilter::default(), page).await.unwrap();
        let Some(last) = changes.last() else { break };
        page.before_seq = Some(last.seq);
        seen.extend(changes.into_iter().map(|view| view.id.to_string()));
    }
    assert_eq!(seen, ["c4", "c3", "c2", "c1", "c0"]);
    let filter = TaskFilter { change: Some(change_id("c3")), ..TaskFilter::default() };
    let tasks = farm.store.tasks(&filter, Page::first(9)).await.unwrap();
    assert_eq!(tasks.iter().map(|view| view.task.id.to_string()).collect::<Vec<_>>(), ["t3"]);
    let elsewhere = farm_core::id::RepoName::new("other").unwrap();
    let filter = ChangeFilter { repository: Some(elsewhere), state: None };
    assert_eq!(farm.store.changes(&filter, Page::first(9)).await.unwrap(), []);
    assert_eq!(farm.store.repositories().await.unwrap(), [repository()]);
}
