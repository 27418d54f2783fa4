//! Tasks that come after others.

use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::TaskState;
use farm_store::Began;

use crate::support::*;

#[tokio::test]
async fn a_task_waits_until_each_predecessor_has_succeeded() {
    let farm = Farm::new().await;
    // The last one comes first: the order of arrival means nothing.
    let last = after("c", &["a", "b", "a"]);
    farm.accept(&[last.clone(), task("a"), task("b")], T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["a", "b"]);
    assert_eq!(farm.begin(&last, "r0", T0).await, Began::Deferred);
    let run = farm.run(&task("a"), "r1", T0).await;
    farm.succeed(&run, T0).await;
    assert_eq!(farm.begin(&last, "r2", T0).await, Began::Deferred);
    let run = farm.run(&task("b"), "r3", T0).await;
    farm.succeed(&run, T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["c"]);
    farm.run(&last, "r4", T0).await;
    // One that comes after its predecessors' success does not wait at all.
    farm.run(&after("d", &["a", "b"]), "r5", T0).await;
}

#[tokio::test]
async fn a_failure_ends_everything_that_waits_for_it() {
    for (reason, status) in
        [(Reason::ChecksFailed, Status::SoftFail), (Reason::PathForbidden, Status::HardFail)]
    {
        let farm = Farm::new().await;
        farm.accept(&[task("a"), task("x"), after("b", &["a", "x"]), after("c", &["b"])], T0).await;
        let run = farm.run(&task("a"), "r1", T0).await;
        farm.fail(&run, reason, T0).await;
        assert_eq!(farm.view("a").await.status, Some(status));
        for name in ["b", "c"] {
            let result = farm.result(name).await;
            assert_eq!((result.status, result.reason), (Status::HardFail, Reason::PrecedingFailed), "{name}");
        }
        assert!(farm.result("c").await.notes[0].contains("task b"));
        assert_eq!(farm.view("x").await.state, TaskState::Queued);
        // And one that arrives too late.
        let late = after("d", &["x", "c"]);
        assert!(matches!(farm.begin(&late, "r2", T0).await, Began::Done { .. }));
    }
}

#[tokio::test]
async fn a_long_chain_fails_in_one_go() {
    let farm = Farm::new().await;
    let name = |i: u32| format!("t{i}");
    let mut tasks = vec![task("t0")];
    tasks.extend((1..1_000).map(|i| after(&name(i), &[&name(i - 1)])));
    tasks.reverse();
    farm.accept(&tasks, T0).await;
    farm.store.cancel_task(&id("t0"), "ann", T0).await.unwrap();
    assert_eq!(farm.store.counts().await.unwrap().done, 1_000);
}

#[tokio::test]
async fn a_circle_is_refused_and_not_waited_for() {
    let farm = Farm::new().await;
    farm.accept(&[after("self", &["self"]), after("a", &["b"]), after("b", &["c"]), after("c", &["a"])], T0)
        .await;
    for (name, reason) in [
        ("self", Reason::TaskInvalid),
        ("c", Reason::TaskInvalid),
        ("b", Reason::PrecedingFailed),
        ("a", Reason::PrecedingFailed),
    ] {
        assert_eq!(farm.view(name).await.reason, Some(reason), "{name}");
    }
}

#[tokio::test]
async fn a_predecessor_that_never_comes_is_not_waited_for_for_ever() {
    let farm = Farm::new().await;
    farm.accept(&[after("a", &["ghost"]), after("b", &["a"])], T0).await;
    let wait = options().unknown_predecessor_ms;
    assert_eq!(farm.store.sweep(T0 + wait).await.unwrap().ended, []);
    assert_eq!(farm.store.sweep(T0 + wait + 1).await.unwrap().ended, [id("a")]);
    assert_eq!(farm.result("a").await.reason, Reason::PrecedingFailed);
    assert_eq!(farm.view("b").await.state, TaskState::Done);
}
