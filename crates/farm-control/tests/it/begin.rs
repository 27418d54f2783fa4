//! What becomes of a record.

use farm_core::policy::Policy;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::service::{Begun, DeadReason, RawRecord};
use farm_core::state::TaskState;
use farm_core::task::{CodingTask, Risk};
use farm_wire::{Message, record, v1};

use crate::support::*;

#[tokio::test]
async fn what_must_not_run_gets_a_row_that_says_why() {
    let farm = Farm::new().await;
    farm.register("off", Policy { enabled: false, ..Policy::default() }).await;
    let with = |id: &str, edit: &dyn Fn(&mut CodingTask)| {
        let mut task = task(id);
        edit(&mut task);
        task
    };
    for (task, reason) in [
        (with("unknown", &|task| task.repository = Some(repo("nowhere"))), Reason::RepositoryUnknown),
        (with("none", &|task| task.repository = None), Reason::RepositoryUnknown),
        (with("silent", &|task| task.goal = " ".into()), Reason::GoalEmpty),
        (with("up", &|task| task.path = Some("../etc/passwd".into())), Reason::TaskInvalid),
        (with("absolute", &|task| task.path = Some("/etc/passwd".into())), Reason::TaskInvalid),
        (with("glob", &|task| task.scope = vec!["a[".into()]), Reason::TaskInvalid),
        (with("off", &|task| task.repository = Some(repo("off"))), Reason::PolicyOff),
        (with("risky", &|task| task.risk = Risk::High), Reason::RiskNotAllowed),
    ] {
        let id = task.id.to_string();
        let answer = farm.begin(raw(&task)).await;
        let result = farm.result(&id).await;
        assert_eq!((result.status, result.reason), (Status::HardFail, reason), "{id}: {:?}", result.notes);
        let stored = farm.task(&id).await.result.unwrap();
        assert_eq!(answer, Begun::Done { task: task.id.clone(), result: stored }, "{id}");
        assert_eq!(farm.begin(raw(&task)).await, answer, "{id}: the same again");
    }
}

#[tokio::test]
async fn the_default_repository_is_that_of_tasks_that_name_none() {
    let mut farm = Farm::new().await;
    farm.control.settings.default_repository = Some(repo("greet"));
    let begun = farm.begin(raw(&CodingTask::new(task_id("a"), "g"))).await;
    let Begun::Run(run) = begun else { panic!("expected a run, found {begun:?}") };
    assert_eq!((run.repository.name, run.base), (repo("greet"), farm.tip.clone()));
}

#[tokio::test]
async fn a_bundle_is_exploded_and_what_is_wrong_with_one_task_harms_no_other() {
    let farm = Farm::new().await;
    farm.begin(raw(&task("known"))).await;
    let mut other = task("known");
    other.goal = "something else".into();
    let mut silent = task("silent");
    silent.goal = String::new();
    let nameless = v1::CodingTask { id: "No Id".into(), goal: "g".into(), ..Default::default() };
    let tasks = [&task("good"), &other, &silent, &task("also-good")].map(v1::CodingTask::from);
    let bundle = v1::TaskBundle { tasks: tasks.into_iter().chain([nameless]).collect() };
    let kind = Some(record::TYPE_BUNDLE.to_owned());
    let answer = farm.begin(RawRecord { kind, payload: bundle.encode_to_vec() }).await;
    let Begun::Deferred { refused } = answer else { panic!("{answer:?}") };
    let reasons: Vec<DeadReason> = refused.iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons, [DeadReason::BadId, DeadReason::OtherContent]);
    assert_eq!(refused[1].payload, record::encode(&other).0);
    for id in ["good", "also-good"] {
        assert_eq!(farm.task(id).await.state, TaskState::Queued, "{id}: none runs by this");
    }
    assert_eq!(farm.result("silent").await.reason, Reason::GoalEmpty);
    assert_eq!(farm.task("known").await.task.goal, "do known", "the first one stands");
}

#[tokio::test]
async fn a_task_without_a_base_starts_at_the_tip_or_at_what_the_one_before_it_made() {
    let farm = Farm::new().await;
    let tasks = vec![task("a"), task("b"), after("after-a", &["a"]), after("after-both", &["a", "b"])];
    farm.submit("c1", tasks).await;
    assert_eq!(farm.begin_known("after-a").await, Begun::Deferred { refused: Vec::new() });
    let commit = farm.patch("a", "\"Hello\"", "\"Hi\"").await;
    assert_eq!(farm.task("a").await.base.as_ref(), Some(&farm.tip));
    assert_eq!(farm.run("after-a").await.base, commit);
    farm.end("b", Reason::ChecksFailed, &[]).await;
    assert_eq!(farm.result("after-both").await.reason, Reason::PrecedingFailed);
    let known = CodingTask { base: Some(commit.clone()), ..task("pinned") };
    let Begun::Run(run) = farm.begin(raw(&known)).await else { panic!("a pinned base needs no look") };
    assert_eq!(run.base, commit);
}
