//! I9: granted before it is spent, settled after, and a crash keeps the charge.

use farm_core::reason::Reason;
use farm_core::service::Beat;
use farm_core::task::Budget;

use crate::support::*;

fn tokens(tokens: u64) -> Budget {
    Budget { tokens, cost_micro_usd: tokens * 10 }
}

fn spender(budget: u64) -> farm_store::NewTask {
    with("t1", |task| task.budget = tokens(budget))
}

async fn grant(farm: &Farm, run: &farm_core::service::Run, spent: u64, now_ms: u64) -> u64 {
    match farm.store.heartbeat(&run_ref(run), tokens(spent), now_ms).await.unwrap() {
        Beat::Renewed { grant, .. } => {
            assert_eq!(grant.cost_micro_usd, grant.tokens * 10);
            grant.tokens
        }
        beat => panic!("{beat:?}"),
    }
}

#[tokio::test]
async fn grants_grow_with_what_is_spent_up_to_the_budget() {
    let farm = Farm::new().await;
    let run = farm.run(&spender(1_000), "r1", T0).await;
    assert_eq!(run.grant, tokens(200));
    assert_eq!(grant(&farm, &run, 0, T0).await, 200);
    assert_eq!(grant(&farm, &run, 150, T0).await, 350);
    // What was granted is not taken back, and one call may need more than a part.
    assert_eq!(grant(&farm, &run, 0, T0).await, 350);
    assert_eq!(grant(&farm, &run, 700, T0).await, 900);
    assert_eq!(grant(&farm, &run, 950, T0).await, 1_000);
    assert_eq!(grant(&farm, &run, 5_000, T0).await, 1_000);
}

#[tokio::test]
async fn a_crash_keeps_the_charge_and_leaves_the_last_run_a_part() {
    let farm = Farm::new().await;
    let new = spender(1_000);
    for n in 1..=5 {
        let now = T0 + n * LEASE;
        let run = farm.run(&new, &format!("r{n}"), now).await;
        assert_eq!(run.grant, tokens(200), "run {n}");
        assert_eq!(farm.view("t1").await.charged, tokens(n * 200));
    }
}

#[tokio::test]
async fn a_run_that_ends_pays_what_it_spent() {
    let farm = Farm::new().await;
    let new = spender(1_000);
    let run = farm.run(&new, "r1", T0).await;
    let mut back = given_back(&run, 0);
    back.spent = tokens(30);
    farm.store.give_back(&back, T0).await.unwrap();
    assert_eq!(farm.view("t1").await.charged, tokens(30));
    // A crash: the whole grant.
    let run = farm.run(&new, "r2", T0).await;
    assert_eq!(grant(&farm, &run, 100, T0).await, 300);
    let run = farm.run(&new, "r3", T0 + LEASE).await;
    assert_eq!(farm.view("t1").await.charged, tokens(330 + 200));
    // The result tells what was used: 1,000 tokens for 50 micro-dollars.
    farm.succeed(&run, T0 + LEASE).await;
    let charged = farm.view("t1").await.charged;
    assert_eq!(charged, Budget { tokens: 330 + 1_000, cost_micro_usd: 3_300 + 50 });
}

#[tokio::test]
async fn a_stored_result_is_not_paid_twice() {
    let farm = Farm::new().await;
    let new = spender(1_000);
    let run = farm.run(&new, "r1", T0).await;
    let bytes = farm.prepare(&run, '1', T0).await.unwrap();
    let again = farm.run(&new, "r2", T0 + LEASE).await;
    farm.complete(&again, &bytes, T0 + LEASE).await.unwrap();
    assert_eq!(farm.view("t1").await.charged, tokens(200));
}

#[tokio::test]
async fn a_spent_budget_grants_nothing_and_still_runs() {
    let farm = Farm::new().await;
    let new = spender(100);
    let run = farm.run(&new, "r1", T0).await;
    let mut back = given_back(&run, 0);
    back.spent = tokens(120);
    farm.store.give_back(&back, T0).await.unwrap();
    let run = farm.run(&new, "r2", T0).await;
    assert_eq!(run.grant, nothing());
    assert_eq!(grant(&farm, &run, 10, T0).await, 0);
    farm.fail(&run, Reason::BudgetSpent, T0).await;
    assert_eq!(farm.view("t1").await.charged, tokens(120));
}
