//! Bad input: a dead letter or a HARD_FAIL with its reason, never both, and the worker goes on.

use std::collections::BTreeMap;

use farm_demo::model_server::script::Answer;
use farm_demo::samples::{RELAY, Sample, SampleFile};
use farm_kafka::{Outgoing, Record};
use farm_testkit::farm::{self, Farm};
use farm_wire::record::TYPE_HEADER;
use farm_wire::{Message, v1};

use crate::BINARY;
use crate::metrics::{self, By};
use crate::script::{EDIT, command, rule, task};

/// What control takes, and what a worker sends: less, so that a long result has to be published by the sweep.
const MAX_RECORD_BYTES: &str = "20000";
const WORKER_MAX_RECORD_BYTES: &str = "6000";
const REPORT_GOAL: &str = "explain all of it at length";

/// A repository in which nothing says how it is checked.
const NOTES: Sample = Sample {
    name: "notes",
    language: "text",
    files: &[SampleFile { path: "README.md", content: "Passes log lines on.\n", executable: false }],
};

/// Records that never become tasks: what, its header, its bytes, why.
fn dead() -> Vec<(&'static str, Option<&'static str>, Vec<u8>, &'static str)> {
    let with_id = |id: &str| command(id, EDIT).encode_to_vec();
    let other_goal = v1::CodingTask { goal: "something else".to_owned(), ..command("known", EDIT) };
    let too_large = v1::CodingTask { goal: "x".repeat(30_000), ..command("too-large", EDIT) };
    vec![
        ("no message", None, vec![0xff; 3], "undecodable"),
        ("no message, said to be a task", Some("task"), vec![0xff; 3], "undecodable"),
        ("a type that nobody knows", Some("picture"), with_id("picture"), "unknown_type"),
        ("too large", Some("task"), too_large.encode_to_vec(), "too_large"),
        ("nothing at all", None, Vec::new(), "no_id"),
        ("no id", Some("task"), with_id(""), "no_id"),
        ("an id that climbs", None, with_id("../x"), "bad_id"),
        ("an id of 300 characters", Some("task"), with_id(&"x".repeat(300)), "bad_id"),
        ("an id with a newline", Some("task"), with_id("a\nb"), "bad_id"),
        ("a known id with other bytes", Some("task"), other_goal.encode_to_vec(), "other_content"),
    ]
}

/// Tasks with a good new id that must not run, and why.
fn hard() -> Vec<(v1::CodingTask, &'static str)> {
    let edit = |id: &str| command(id, EDIT);
    let write = "mkdir -p .github/workflows && echo on: push > .github/workflows/ci.yml";
    vec![
        (
            v1::CodingTask { repository: "nowhere".to_owned(), ..edit("unknown-repository") },
            "repository_unknown",
        ),
        (v1::CodingTask { repository: String::new(), ..edit("no-repository") }, "repository_unknown"),
        (v1::CodingTask { repository: "../relay".to_owned(), ..edit("climbing-repository") }, "task_invalid"),
        (v1::CodingTask { base_commit: "1".repeat(40), ..edit("missing-base") }, "base_missing"),
        (v1::CodingTask { base_commit: "main".to_owned(), ..edit("no-base") }, "task_invalid"),
        (v1::CodingTask { goal: " \n".to_owned(), ..edit("empty-goal") }, "goal_empty"),
        (v1::CodingTask { path: "../x".to_owned(), ..edit("climbing-path") }, "task_invalid"),
        (v1::CodingTask { risk: "huge".to_owned(), ..edit("unknown-risk") }, "task_invalid"),
        (v1::CodingTask { repository: "notes".to_owned(), ..edit("no-checks") }, "no_checks"),
        (command("protected", &["sh", "-c", write]), "protected_path"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_record_has_one_answer_and_harms_nobody() {
    let report = "all of it\n".repeat(1000);
    let rules = vec![rule(REPORT_GOAL, vec![Answer::text(report.as_str())])];
    let settings = [("kafka.max-record-bytes", MAX_RECORD_BYTES)];
    let farm = Farm::start(BINARY, &[RELAY, NOTES], rules, &settings).await;
    let settings = [("kafka.max-record-bytes", WORKER_MAX_RECORD_BYTES)];
    let (mut worker, worker_metrics) = farm.worker("worker-1", &settings).await;
    let pid = worker.pid();
    farm.register(&RELAY).await;
    farm.register(&NOTES).await;

    farm.offer(&command("known", EDIT)).await;
    let known = farm.result("known").await;
    assert_eq!(known.status, "SUCCESS", "{known:?}");

    let mut expected = BTreeMap::new();
    for (what, kind, payload, reason) in dead() {
        let at = farm.produce(kind, payload).await;
        expected.insert(position(&farm, at.partition, at.offset), (what, reason));
    }
    let at = farm.send(Outgoing { headers: type_header(), ..Outgoing::default() }).await;
    expected.insert(position(&farm, at.partition, at.offset), ("a tombstone", "no_id"));
    let mut headers = type_header();
    headers.push(("note".to_owned(), vec![b'x'; 10_000]));
    let at = farm.send(Outgoing { headers, payload: Some(vec![0xff]), ..Outgoing::default() }).await;
    expected.insert(position(&farm, at.partition, at.offset), ("more headers than fit", "undecodable"));
    for (task, _) in hard() {
        farm.offer(&task).await;
    }
    let waived = Some(v1::Checks { checks: Vec::new() });
    farm.offer(&v1::CodingTask { checks: waived, repository: "notes".to_owned(), ..command("waived", EDIT) })
        .await;
    farm.offer(&v1::CodingTask { kind: "analyze".to_owned(), ..task("long-report", REPORT_GOAL) }).await;

    for (task, reason) in hard() {
        let result = farm.result(&task.id).await;
        assert_eq!((result.status.as_str(), result.reason.as_str()), ("HARD_FAIL", reason), "{result:?}");
        assert!(!result.notes.concat().is_empty(), "{} says nothing", task.id);
        assert_eq!(farm.tip("relay", &format!("agt/{}", task.id)), None);
    }
    let waived = farm.result("waived").await;
    assert_eq!((waived.status.as_str(), waived.checks_from.as_str()), ("SUCCESS", "waived"), "{waived:?}");
    let notes = farm.result("long-report").await.notes.concat();
    assert!(notes.trim_end() == report.trim_end(), "{} bytes of {}", notes.len(), report.len());

    // What came last has gone through, so nothing more is on its way.
    farm.offer(&command("afterwards", EDIT)).await;
    assert_eq!(farm.result("afterwards").await.status, "SUCCESS");
    farm.no_lag().await;
    assert!(worker.is_alive());
    assert_eq!(worker.pid(), pid);

    let dead_letters = farm.records(&farm.topics.dead_letters).await;
    let mut found = BTreeMap::new();
    for record in &dead_letters {
        let (what, _) = expected[&header(record, "position")];
        let twice = found.insert(header(record, "position"), (what, header(record, "reason")));
        assert!(twice.is_none(), "{what}: two dead letters");
        assert!(!header(record, "detail").is_empty(), "{what}");
        assert_eq!(header(record, "cut-from-bytes").is_empty(), what != "too large", "{what}");
        assert_eq!(
            header(record, "headers-left-out"),
            if what == "more headers than fit" { "1" } else { "" }
        );
    }
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(at, (what, reason))| (at, (what, reason.to_owned()))).collect();
    assert_eq!(found, expected);

    let mut results: Vec<Vec<u8>> =
        farm.records(&farm.topics.commit_results).await.into_iter().filter_map(|record| record.key).collect();
    results.sort();
    let mut tasks: Vec<Vec<u8>> = hard().into_iter().map(|(task, _)| task.id.into_bytes()).collect();
    tasks.extend(["known", "waived", "long-report", "afterwards"].map(|id| id.as_bytes().to_vec()));
    tasks.sort();
    assert_eq!(results, tasks, "one result a task, and none for a dead letter");

    dead_letter_verbs(&farm, dead_letters.len()).await;
    metrics::assert_moved(metrics::WORKER, By::BadInput, &[farm::metrics(&worker_metrics).await.as_str()]);
}

fn type_header() -> Vec<(String, Vec<u8>)> {
    vec![(TYPE_HEADER.to_owned(), b"task".to_vec())]
}

fn position(farm: &Farm, partition: i32, offset: i64) -> String {
    format!("{}/{partition}/{offset}", farm.topics.coding_tasks)
}

fn header(record: &Record, name: &str) -> String {
    let name = format!("pf-dlq-{name}");
    let found = record.headers.iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).unwrap_or_default()
}

async fn dead_letter_verbs(farm: &Farm, n: usize) {
    let list = farm.verb(&["dlq", "list", "-o", "json"]).await.good().json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), n);
    let find = |reason: &str| {
        let found = list.iter().find(|letter| letter["reason"] == reason);
        found.unwrap()["position"].as_str().unwrap()
    };
    let shown = farm.verb(&["dlq", "show", find("unknown_type")]).await.good().stdout;
    assert!(shown.contains("reason: unknown_type") && shown.contains("payload: "), "{shown}");
    farm.verb(&["dlq", "requeue", find("too_large")]).await.exits(6);
    farm.verb(&["dlq", "show", "nonsense"]).await.exits(2);
    farm.verb(&["dlq", "show", "0/999999"]).await.exits(1);
}
