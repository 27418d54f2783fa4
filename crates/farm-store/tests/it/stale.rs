//! I3: a token that is not the run's does nothing, whatever the call.

use farm_core::id::Token;
use farm_core::reason::Reason;
use farm_core::service::{Beat, Phase, Run, Step};
use farm_store::GivenBack;

use crate::support::*;

/// Makes every call of a run with `run`, which has no right to any, and expects to be turned away each time.
async fn is_powerless(farm: &Farm, run: &Run, reason: Reason, now_ms: u64, case: &str) {
    let before = farm.view(run.task.id.as_str()).await;
    let leases = farm.store.leases(None, now_ms).await.unwrap();
    match farm.store.heartbeat(&run_ref(run), nothing(), now_ms).await.unwrap() {
        Beat::Stop(denied) => assert_eq!(denied.reason, reason, "{case}: heartbeat"),
        beat => panic!("{case}: {beat:?}"),
    }
    let step = Step {
        at_ms: now_ms,
        attempt: 1,
        phase: Phase::Push,
        duration_ms: 1,
        summary: "late".into(),
        detail: String::new(),
    };
    farm.store.report(&run_ref(run), vec![step]).await.unwrap();
    assert_eq!(farm.prepare(run, '7', now_ms).await.unwrap_err().reason, reason, "{case}: prepare");
    let (push, _) = prepared(run, '7', &["src/a.rs"]);
    assert_eq!(
        farm.complete(run, &push.result, now_ms).await.unwrap_err().reason,
        reason,
        "{case}: complete"
    );
    let failure = failed(run, Reason::ChecksFailed);
    assert_eq!(farm.complete(run, &failure, now_ms).await.unwrap_err().reason, reason, "{case}: complete");
    assert_eq!(farm.give_back(run, 0, now_ms).await, GivenBack::Stale, "{case}: give back");
    assert_eq!(farm.view(run.task.id.as_str()).await, before, "{case}: the task changed");
    assert_eq!(farm.store.leases(None, now_ms).await.unwrap(), leases, "{case}: a lease changed");
}

async fn reports_nothing(farm: &Farm, task: &str) {
    assert_eq!(farm.store.steps(&id(task), 0).await.unwrap(), [], "a stale run told something");
}

#[tokio::test]
async fn a_run_that_was_overtaken_is_powerless() {
    let farm = Farm::new().await;
    let new = on_path("t1", "src/a.rs");
    let old = farm.run(&new, "r1", T0).await;
    let later = T0 + LEASE;
    let newer = farm.run(&new, "r2", later).await;
    is_powerless(&farm, &old, Reason::LeaseLost, later, "overtaken").await;
    for token in [0, old.token.0 - 1, newer.token.0 + 1, u64::MAX] {
        is_powerless(&farm, &stale(&newer, Token(token)), Reason::LeaseLost, later, &token.to_string()).await;
    }
    reports_nothing(&farm, "t1").await;
    let bytes = farm.succeed(&newer, later).await;
    is_powerless(&farm, &old, Reason::LeaseLost, later, "done since").await;
    assert_eq!(farm.view("t1").await.result, Some(bytes));
}

#[tokio::test]
async fn a_run_whose_task_waits_again_is_powerless() {
    let farm = Farm::new().await;
    let new = task("t1");
    let run = farm.run(&new, "r1", T0).await;
    farm.give_back(&run, 60_000, T0).await;
    is_powerless(&farm, &run, Reason::LeaseLost, T0, "given back").await;
    let run = farm.run(&new, "r2", T0 + 60_000).await;
    assert_eq!(farm.store.sweep(T0 + 60_000 + LEASE).await.unwrap().expired, [id("t1")]);
    is_powerless(&farm, &run, Reason::LeaseLost, T0 + 60_000 + LEASE, "swept").await;
}

#[tokio::test]
async fn a_cancelled_run_is_told_so_and_powerless() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    farm.store.cancel_task(&id("t1"), "ann", T0).await.unwrap();
    is_powerless(&farm, &run, Reason::Cancelled, T0, "cancelled").await;
}

#[tokio::test]
async fn an_ended_lease_can_neither_be_kept_nor_used_to_push() {
    let farm = Farm::new().await;
    let run = farm.run(&task("t1"), "r1", T0).await;
    let bytes = farm.prepare(&run, '1', T0).await.unwrap();
    let end = T0 + LEASE;
    assert!(matches!(farm.store.heartbeat(&run_ref(&run), nothing(), end).await.unwrap(), Beat::Stop(_)));
    assert_eq!(farm.prepare(&run, '2', end).await.unwrap_err().reason, Reason::LeaseLost);
    // What was pushed under the lease is not thrown away while nobody else has the task.
    farm.complete(&run, &bytes, end).await.unwrap();
}

#[tokio::test]
async fn an_unknown_task_is_denied_without_a_row() {
    let farm = Farm::new().await;
    let mut run = farm.run(&task("t1"), "r1", T0).await;
    run.task.id = id("ghost");
    assert!(matches!(farm.store.heartbeat(&run_ref(&run), nothing(), T0).await.unwrap(), Beat::Stop(_)));
    assert_eq!(farm.prepare(&run, '1', T0).await.unwrap_err().reason, Reason::LeaseLost);
    assert_eq!(farm.give_back(&run, 0, T0).await, GivenBack::Stale);
    assert_eq!(farm.store.task(&id("ghost")).await.unwrap(), None);
}

#[tokio::test]
async fn tokens_rise_over_restarts_and_falling_clocks() {
    let mut farm = Farm::new().await;
    let mut last = Token(0);
    let mut now = T0;
    for (i, jump) in [0, 1, -3_600_000, -1, 7_200_000, 0].into_iter().enumerate() {
        now = now.saturating_add_signed(jump);
        farm.restart(now).await;
        let run = farm.run(&task(&format!("t{i}")), "r", now).await;
        assert!(run.token > last, "{:?} after {last:?}", run.token);
        assert!(run.token.0 >= now);
        last = run.token;
    }
}
