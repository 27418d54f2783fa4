//! SIGTERM: a worker ends what it can within its grace and gives back the rest (I10).

use farm_demo::model_server::script::Answer;
use farm_demo::samples::RELAY;
use farm_testkit::farm::{self, Farm};
use farm_testkit::wait::until_true;

use crate::BINARY;
use crate::script::{reply, rule, slow, task};

const SOON_GOAL: &str = "the README says it soon";
const NEVER_GOAL: &str = "the README says it at last";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_leaves_nothing_undone() {
    let rules = vec![
        rule(SOON_GOAL, vec![slow(3_000, reply("soon"))]),
        rule(NEVER_GOAL, vec![slow(120_000, reply("never")), Answer::text(reply("last"))]),
    ];
    let farm = Farm::start(BINARY, &[RELAY], rules, &[]).await;
    farm.register(&RELAY).await;

    let (patient, address) = farm.worker("patient", &[("worker.grace-s", "60")]).await;
    assert_eq!(farm::ask(&address, "/readyz").await.0, 200);
    farm.offer(&task("soon", SOON_GOAL)).await;
    farm.model.until_asked(SOON_GOAL, 1).await;
    patient.terminate();
    // Whoever watches it sees that it stops, and that it still works.
    until_true("it is not ready any more", async || farm::ask(&address, "/readyz").await.0 == 503).await;
    assert!(farm::metrics(&address).await.contains("patchfarm_tasks_in_flight 1"));
    assert_eq!(patient.ended().await, 0);
    assert_eq!(farm.results("soon").await.len(), 1, "it ended before it had published");
    assert_eq!(farm.result("soon").await.status, "SUCCESS");
    assert_eq!(farm.task("soon").await["runs"], 1);

    let (hasty, _) = farm.worker("hasty", &[("worker.grace-s", "1")]).await;
    farm.offer(&task("at-last", NEVER_GOAL)).await;
    farm.model.until_asked(NEVER_GOAL, 1).await;
    hasty.terminate();
    assert_eq!(hasty.ended().await, 0);
    assert!(farm.results("at-last").await.is_empty());

    // A job of one task, as Kubernetes runs it.
    let (once, _) = farm.worker_as(farm.program.clone(), "once", &["worker", "--once"], &[]).await;
    assert_eq!(once.ended().await, 0);
    assert_eq!(farm.result("at-last").await.status, "SUCCESS");
    let shown = farm.task("at-last").await;
    assert_eq!((&shown["runs"], &shown["worker"]), (&2.into(), &"once".into()), "{shown}");
}
