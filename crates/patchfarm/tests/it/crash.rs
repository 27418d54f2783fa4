//! Workers that are killed, and a remote that refuses: nothing is lost, nothing is done twice (I1, I2, I3, I10).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use farm_demo::git_http::{Fault, When};
use farm_demo::model_server::script::Answer;
use farm_demo::samples::{RELAY, Sample};
use farm_testkit::farm::{self, Farm};
use farm_testkit::wait::{until, until_true};
use farm_wire::v1;

use crate::BINARY;
use crate::metrics::{self, By};
use crate::script::{EDIT, command, replacing, rule, slow, task};

const SLOW_GOAL: &str = "level_rank() knows fatal, after a while";

/// A repository of its own, since a worker pushes to one after the other.
const OTHER: Sample = Sample { name: "other", ..RELAY };

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
    let old = "        error) echo 4 ;;";
    let reply = replacing("lib/levels.sh", old, &format!("{old}\n        fatal) echo 5 ;;"));
    let answers = vec![slow(120_000, reply.clone()), Answer::text(reply)];
    let settings = [
        ("control.lease-ms", "3000"),
        // How soon Kafka gives the partitions of a killed worker to another.
        ("kafka.properties", "session.timeout.ms=3000,heartbeat.interval.ms=500"),
    ];
    let farm = Farm::start(BINARY, &[RELAY, OTHER], vec![rule(SLOW_GOAL, answers)], &settings).await;
    farm.register(&RELAY).await;
    farm.register(&OTHER).await;
    let holds = [&RELAY, &OTHER].map(|repository| hold_pushes(&farm.git_dir(repository.name)));
    let (first, first_metrics) = farm.worker("worker-1", &[]).await;

    // One dies while the model thinks, two between their push and their Complete.
    farm.offer(&v1::CodingTask { path: "lib/levels.sh".to_owned(), ..task("slow", SLOW_GOAL) }).await;
    farm.offer(&command("held-kept", EDIT)).await;
    let other = OTHER.name.to_owned();
    farm.offer(&v1::CodingTask { repository: other, ..command("held-cancelled", EDIT) }).await;
    farm.model.until_asked(SLOW_GOAL, 1).await;
    let kept = until("held-kept is pushed", async || farm.tip("relay", "agt/held-kept")).await;
    until("held-cancelled is pushed", async || farm.tip("other", "agt/held-cancelled")).await;
    let under_way = farm::metrics(&first_metrics).await;
    metrics::assert_moved(metrics::WORKER, By::Crash, &[&under_way, "patchfarm_runs_given_back_total 1"]);
    first.kill().await;
    for hold in holds {
        std::fs::remove_file(hold).unwrap();
    }
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
    until_true("its branch is gone", async || farm.tip("other", "agt/held-cancelled").is_none()).await;

    refused_pushes(&farm, &second_metrics).await;
    farm.no_lag().await;
    for id in ["slow", "held-kept", "held-cancelled", "refused"] {
        assert_eq!(farm.results(id).await.len(), 1, "results of {id}");
    }
    metrics::assert_moved(metrics::CONTROL, By::Crash, &[farm::metrics(&farm.metrics).await.as_str()]);
}

fn hold_pushes(git_dir: &Path) -> PathBuf {
    let hook = git_dir.join("hooks/post-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, HOOK).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hold = git_dir.join("hold");
    std::fs::write(&hold, "").unwrap();
    hold
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
