//! Work that goes well, from the command line and from Kafka, over two workers and rag.

use std::time::Duration;

use farm_demo::model_server::script::Answer;
use farm_demo::samples::RELAY;
use farm_kafka::{Outgoing, Record};
use farm_testkit::farm::{self, Farm};
use farm_testkit::git;
use farm_testkit::wait::until_true;
use farm_wire::v1::symbol_reservation_manager_client::SymbolReservationManagerClient;
use farm_wire::{Message, v1};
use serde_json::{Value, json};

use crate::BINARY;
use crate::metrics::{self, By};
use crate::script::{EDIT, replacing, reply, rule};

const MODEL_GOAL: &str = "level_rank() knows fatal, which is graver than error";
const BUNDLE_GOAL: &str = "the README says what kind of lines these are";
const ANALYSE_GOAL: &str = "explain how a line is passed on";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_from_a_request_to_a_checked_branch() {
    let old = "        error) echo 4 ;;";
    let good = replacing("lib/levels.sh", old, &format!("{old}\n        fatal) echo 5 ;;"));
    let bad = replacing("lib/levels.sh", "        panic) echo 9 ;;", "        fatal) echo 5 ;;");
    let rules = vec![
        // Its first reply fits nowhere; the second one does.
        rule(MODEL_GOAL, vec![Answer::text(bad), Answer::text(good)]),
        rule(BUNDLE_GOAL, vec![Answer::text(reply("short"))]),
        rule(
            ANALYSE_GOAL,
            vec![
                Answer { status: 503, ..Answer::text("busy") },
                Answer { cached_tokens: 7, ..Answer::text("By a loop.") },
            ],
        ),
    ];
    let farm = Farm::start(BINARY, &[RELAY], rules, &[]).await;
    // The seed's one repository, for the tasks of its producers.
    let (_rag, rag_url) = farm.rag(BINARY).await;
    let with_rag = [("worker.rag-url", rag_url.as_str())];
    let (_one, first) = farm.worker("worker-1", &with_rag).await;
    let (_two, second) = farm.worker("worker-2", &with_rag).await;
    farm.register(&RELAY).await;

    a_change(&farm).await;
    a_bundle(&farm).await;
    redelivery(&farm).await;
    leases(&farm).await;
    verbs(&farm).await;
    farm.no_lag().await;

    until_true("control has counted", async || {
        metrics::value(&farm::metrics(&farm.metrics).await, "patchfarm_changes") > 0.0
    })
    .await;
    let control = farm::metrics(&farm.metrics).await;
    let workers = [farm::metrics(&first).await, farm::metrics(&second).await];
    metrics::assert_moved(metrics::CONTROL, By::Farm, &[control.as_str()]);
    let texts = workers.each_ref().map(String::as_str);
    metrics::assert_moved(metrics::WORKER, By::Farm, &texts);
    metrics::assert_moved(metrics::MODEL, By::Farm, &texts);
    metrics::keep("control", &control);
    metrics::keep("worker", workers.iter().max_by_key(|text| text.len()).unwrap());
}

/// Two tasks, one of them a model's; both are on their branches, and together they pass build1.
async fn a_change(farm: &Farm) {
    let request = json!({
        "id": "levels", "repository": "relay", "goal": "one more level",
        "tasks": [
            { "id": "levels-fatal", "kind": "FEAT", "goal": MODEL_GOAL, "path": "lib/levels.sh" },
            { "id": "levels-readme", "goal": "say it better", "strategy": { "name": "command", "argv": EDIT } },
        ],
    });
    let file = farm.program.home().join("change.json");
    std::fs::write(&file, request.to_string()).unwrap();
    let submitted = farm
        .verb(&["submit", "--wait", "--timeout", "60", "-o", "json", "--file", file.to_str().unwrap()])
        .await;
    let change = submitted.good().json();
    assert_eq!(change["state"], "approval", "{change}");

    for (id, attempts) in [("levels-fatal", 2), ("levels-readme", 1)] {
        let result = farm.result(id).await;
        assert_eq!((result.status.as_str(), result.reason.as_str()), ("SUCCESS", "ok"), "{result:?}");
        assert_eq!((result.attempts, result.checks_from.as_str()), (attempts, "patchfarm.toml"));
        assert_eq!(result.branch_name, format!("agt/{id}"));
        assert_eq!(Some(&result.commit_sha), farm.tip("relay", &result.branch_name).as_ref());
        let tree = format!("{}^{{tree}}", result.commit_sha);
        assert_eq!(Some(&result.tree), git::resolve(&farm.git_dir("relay"), &tree).as_ref());
        assert_eq!(result.change_id, "levels");
        assert_eq!(result.context, if id == "levels-fatal" { "rag" } else { "none" });
        assert_eq!(result.sandbox, "bubblewrap");
    }
    let build = farm.result("levels-build1-0").await;
    assert_eq!(build.status, "SUCCESS", "{build:?}");

    let tip = farm.tip("relay", "agt/change-levels").unwrap();
    let dir = farm.git_dir("relay");
    let show = |path: &str| git::run(&dir, &["show", &format!("{tip}:{path}")]);
    assert!(show("lib/levels.sh").contains("fatal) echo 5 ;;"));
    assert!(show("README.md").contains("log lines along"));
    let asked = only(farm.records(&farm.topics.build_requests).await);
    let asked = v1::BuildRequest::decode(asked.as_slice()).unwrap();
    assert_eq!(
        (asked.change_id.as_str(), &asked.commit_sha, asked.stage.as_str()),
        ("levels", &tip, "build1")
    );
    let told = only(farm.records(&farm.topics.build_results).await);
    let told = v1::BuildResult::decode(told.as_slice()).unwrap();
    assert_eq!((told.commit_sha, told.status.as_str(), told.checks.len()), (tip, "SUCCESS", 2));
}

fn only(records: Vec<Record>) -> Vec<u8> {
    let [record] = <[Record; 1]>::try_from(records).unwrap();
    record.payload.unwrap()
}

/// What the seed's producers send: no header, nothing but the seed's fields and, here, the repository.
async fn a_bundle(farm: &Farm) {
    let task = |id: &str, kind: &str, goal: &str| v1::CodingTask {
        id: id.to_owned(),
        kind: kind.to_owned(),
        goal: goal.to_owned(),
        path: "README.md".to_owned(),
        repository: "relay".to_owned(),
        ..Default::default()
    };
    let tasks = vec![task("bundle-1", "FIX", BUNDLE_GOAL), task("bundle-2", "analyze", ANALYSE_GOAL)];
    farm.produce(None, v1::TaskBundle { tasks }.encode_to_vec()).await;
    let patch = farm.result("bundle-1").await;
    assert_eq!(patch.status, "SUCCESS", "{patch:?}");
    assert_eq!(Some(patch.commit_sha), farm.tip("relay", "agt/bundle-1"));
    let report = farm.result("bundle-2").await;
    assert_eq!((report.status.as_str(), report.notes), ("SUCCESS", vec!["By a loop.".to_owned()]));
    assert_eq!(farm.tip("relay", "agt/bundle-2"), None);
}

/// A finished task's record, delivered once more, gets the stored result, byte for byte (I1).
async fn redelivery(farm: &Farm) {
    let records = farm.records(&farm.topics.coding_tasks).await;
    let offered = records.into_iter().find(|record| record.key.as_deref() == Some(b"levels-fatal")).unwrap();
    let Record { key, headers, payload, .. } = offered;
    farm.send(Outgoing { key, headers, payload, ..Outgoing::default() }).await;
    until_true("the result is published again", async || farm.results("levels-fatal").await.len() == 2).await;
    let results = farm.results("levels-fatal").await;
    assert_eq!(results[0], results[1]);
    assert_eq!(farm.task("levels-fatal").await["runs"], 1);
}

/// Producers may reserve files; a second one is told who has them.
async fn leases(farm: &Farm) {
    let channel = farm_wire::client::channel(&farm.grpc, None, Duration::from_secs(10)).unwrap();
    let mut client = SymbolReservationManagerClient::new(channel);
    let request = |task: &str| v1::ReserveRequest {
        request_id: format!("reserve-{task}"),
        repository: "relay".to_owned(),
        paths: vec!["bin/relay".to_owned()],
        task_id: task.to_owned(),
    };
    let given = client.reserve(request("first")).await.unwrap().into_inner();
    assert_eq!(given.leases.len(), 1, "{given:?}");
    let refused = client.reserve(request("second")).await.unwrap().into_inner();
    assert_eq!(refused.conflict.unwrap().task_id, "first");
}

/// What people ask afterwards.
async fn verbs(farm: &Farm) {
    let json = async |args: &[&str]| farm.verb(&[args, &["-o", "json"]].concat()).await.good().json();
    let ids = |list: &Value| -> Vec<String> {
        let items = list.as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let task = json(&["task", "show", "levels-fatal"]).await;
    assert_eq!((&task["state"], &task["status"]), (&json!("done"), &json!("SUCCESS")), "{task}");
    assert_eq!(task["commit"], json!(farm.tip("relay", "agt/levels-fatal")));
    let tasks = json(&["task", "list", "--change", "levels"]).await;
    assert_eq!(ids(&tasks), ["levels-build1-0", "levels-readme", "levels-fatal"]);
    let timeline = farm.verb(&["task", "show", "levels-fatal"]).await.good().stdout;
    for phase in ["base", "context", "strategy", "policy", "check", "prepare", "push", "complete"] {
        assert!(timeline.contains(&format!("  {phase} ")), "{phase} is missing in {timeline}");
    }
    let diff = farm.verb(&["task", "diff", "levels-fatal"]).await.good().stdout;
    assert!(diff.contains("\n+        fatal) echo 5 ;;\n"), "{diff}");

    assert_eq!(ids(&json(&["change", "list", "--state", "approval"]).await), ["levels"]);
    assert_eq!(json(&["change", "show", "levels"]).await["branch"], "agt/change-levels");
    let repositories = json(&["repo", "list"]).await;
    assert_eq!((&repositories[0]["name"], repositories.as_array().unwrap().len()), (&json!("relay"), 1));
    assert!(!repositories.to_string().contains(farm::PUSHER.1), "{repositories}");
    assert_eq!(json(&["dlq", "list"]).await, json!([]));
    let ledger = farm.verb(&["ledger", "verify"]).await.good().stdout;
    assert!(ledger.starts_with("whole: "), "{ledger}");
    let doctor = farm.verb(&["doctor"]).await.good().stdout;
    assert_eq!(doctor.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{doctor}");
    farm.verb(&["task", "show", "nobody"]).await.exits(6);
}
