//! Plans: what a model says becomes tasks, or fails the change.

use farm_core::port::ModelError;
use farm_core::reason::Reason;
use farm_core::state::ChangeState;

use crate::support::*;

const PLAN: &str = r#"{"tasks": [
    {"id": "hi", "goal": "say hi", "path": "greet/phrases.py", "after": []},
    {"id": "tests", "goal": "test it", "path": "tests/test_phrases.py", "after": ["hi"]}
]}"#;

#[tokio::test]
async fn a_plan_becomes_the_tasks_of_its_change() {
    let model = Script::new([Ok(PLAN)]);
    let farm = Farm::with(Some(model.clone())).await;
    let change = farm.submit("c1", Vec::new()).await;
    assert_eq!(farm.state(&change).await, ChangeState::Plan);
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase);
    assert_eq!(farm.open_tasks(&change).await, ["c1-hi", "c1-tests"]);
    let second = farm.task("c1-tests").await.task;
    assert_eq!((second.goal.as_str(), second.path.as_deref()), ("test it", Some("tests/test_phrases.py")));
    assert_eq!((second.after, second.repository), (vec![task_id("c1-hi")], Some(repo("greet"))));
    let asked = model.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].user.contains("greet better") && asked[0].user.contains(FILE), "{}", asked[0].user);
}

#[tokio::test]
async fn a_plan_that_cannot_be_used_is_fed_back_once() {
    let bad = r#"{"tasks": [{"id": "a", "goal": "g", "after": ["nobody"]}]}"#;
    let model = Script::new([Ok(bad), Ok(PLAN)]);
    let farm = Farm::with(Some(model.clone())).await;
    let change = farm.submit("c1", Vec::new()).await;
    farm.step().await;
    assert_eq!(farm.state(&change).await, ChangeState::CodePhase);
    assert!(model.asked()[1].user.contains("nobody"), "{}", model.asked()[1].user);

    let model = Script::new([Ok(bad), Ok("no plan at all")]);
    let farm = Farm::with(Some(model.clone())).await;
    let change = farm.submit("c1", Vec::new()).await;
    farm.step().await;
    farm.step().await;
    let failed = farm.change(&change).await;
    assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::ReplyUnreadable)));
    assert_eq!((model.asked().len(), failed.notes.len()), (2, 1), "{:?}", failed.notes);
    assert_eq!(farm.open_tasks(&change).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_model_that_refuses_fails_the_change() {
    let refusal = ModelError::Refused { status: 401, detail: "no such key".into() };
    let farm = Farm::with(Some(Script::new([Err(refusal)]))).await;
    let change = farm.submit("c1", Vec::new()).await;
    farm.step().await;
    let failed = farm.change(&change).await;
    assert_eq!((failed.state, failed.reason), (ChangeState::Failed, Some(Reason::ModelRefused)));
    assert!(failed.notes[0].contains("no such key"), "{:?}", failed.notes);
}
