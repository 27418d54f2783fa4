//! Workers that are killed, and a remote that refuses: nothing is lost, nothing is done twice (I1, I2, I3, I10).

use std::os::unix::fs::PermissionsExt;

use farm_demo::git_http::{Fault, When};
use farm_demo::model_server::script::Answer;
use farm_demo::samples::RELAY;
use farm_testkit::farm::{self, Farm};
use farm_testkit::wait::{until, until_true};

use crate::BINARY;
use crate::metrics::{self, By};
use crate::script::{EDIT, command, reply, rule, slow, task};

const SLOW_GOAL: &str = "the README says it slowly";

/// Keeps a push from being answered, after it has landed, while the file `hold` is there.
const HOOK: &str = "#!/bin/sh
while read -r _ _ ref; do
    case $ref in
        refs/heads/agt/held-*) while [ -e hold ]; do sleep 0.05; done ;;
    esac
done
";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_one_repeat_of_unfinished_work() {
    let answers = vec![slow(120_000, reply("late")), Answer::text(reply("quick"))];
    let farm = Farm::start(BINARY, &[RELAY], vec![rule(SLOW_GOAL, answers)], &[("control.lease-ms", "3000")]).await;
    farm.register(&RELAY).await;
    let hold = hold_pushes(&farm);
    let (first, first_metrics) = farm.worker("worker-1", &[]).await;

    // One dies while the model thinks, two between their push and their Complete.
    farm.offer(&task("slow", SLOW_GOAL)).await;
    farm.offer(&command("held-kept", EDIT)).await;
    farm.offer(&command("held-cancelled", EDIT)).await;
    farm.model.until_asked(SLOW_GOAL, 1).await;
    let pushed = async |id: &str| until(id, async || farm.tip("relay", &format!("agt/{id}"))).await;
    let kept = pushed("held-kept").await;
    pushed("held-cancelled").await;
    let under_way = farm::metrics(&first_metrics).await;
    metrics::assert_moved(metrics::WORKER, By::Crash, &[&under_way, "patchfarm_runs_given_back_total 1"]);
    first.kill().await;
    std::fs::remove_file(hold).unwrap();
    farm.verb(&["task", "cancel", "held-cancelled"]).await.good();

    let (_second, second_metrics) = farm.worker("worker-2", &[]).await;
    let slow = farm.result("slow").await;
    assert_eq!(slow.status, "SUCCESS", "{slow:?}");
    assert_eq!(Some(&slow.commit_sha), farm.tip("relay", "agt/slow").as_ref());
    let shown = farm.task("slow").await;
    assert_eq!((&shown["runs"], &shown["worker"]), (&2.into(), &"worker-2".into()), "{shown}");
    assert_eq!(farm.model.calls()[SLOW_GOAL], 2);

    // What was pushed is completed as it was prepared, and not made anew.
    let adopted = farm.result("held-kept").await;
    assert_eq!((adopted.status.as_str(), &adopted.commit_sha), ("SUCCESS", &kept), "{adopted:?}");
    assert_eq!(farm.tip("relay", "agt/held-kept"), Some(kept));

    // What was pushed and must not be is removed.
    let cancelled = farm.result("held-cancelled").await;
    assert_eq!((cancelled.status.as_str(), cancelled.reason.as_str()), ("HARD_FAIL", "cancelled"));
    until_true("its branch is gone", async || farm.tip("relay", "agt/held-cancelled").is_none()).await;

    refused_pushes(&farm, &second_metrics).await;
    farm.no_lag().await;
    for id in ["slow", "held-kept", "held-cancelled", "refused"] {
        assert_eq!(farm.results(id).await.len(), 1, "results of {id}");
    }
    metrics::assert_moved(metrics::CONTROL, By::Crash, &[farm::metrics(&farm.metrics).await.as_str()]);
}

fn hold_pushes(farm: &Farm) -> std::path::PathBuf {
    let dir = farm.git_dir("relay");
    let hooks = dir.join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    std::fs::write(hooks.join("post-receive"), HOOK).unwrap();
    std::fs::set_permissions(hooks.join("post-receive"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.join("hold"), "").unwrap();
    dir.join("hold")
}

/// A remote that refuses for a while is nobody's fault: the task is given back and tried again.
async fn refused_pushes(farm: &Farm, worker: &str) {
    farm.git.fail(When::Push, Fault::Forbidden);
    farm.offer(&command("refused", EDIT)).await;
    until_true("it is given back", async || {
        metrics::value(&farm::metrics(worker).await, "patchfarm_runs_given_back_total") > 0.0
    })
    .await;
    assert!(farm.results("refused").await.is_empty());
    farm.git.heal();
    assert_eq!(farm.result("refused").await.status, "SUCCESS");
}
