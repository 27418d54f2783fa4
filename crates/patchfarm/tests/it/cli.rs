//! Verbs that need no farm, and what is said when there is none.

use farm_testkit::program::{Program, Ran};
use serde_json::Value;
use tempfile::TempDir;

use crate::BINARY;

/// An empty folder to run in; nothing listens at the addresses of these settings.
fn alone() -> (TempDir, Program) {
    let home = tempfile::tempdir().unwrap();
    let program = Program::new(BINARY, home.path())
        .set("url", "http://127.0.0.1:9")
        .set("metrics.listen", "127.0.0.1:0");
    (home, program)
}

fn row(shown: &Ran, key: &str) -> Value {
    let rows = shown.json();
    rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone()
}

#[tokio::test]
async fn config_show_tells_each_origin_and_no_secret() {
    let (home, program) = alone();
    std::fs::write(home.path().join("patchfarm.toml"), "token = \"hidden-1\"\n[worker]\nslots = 7\n")
        .unwrap();
    let program = program
        .env("OPENAI_API_KEY", "hidden-2")
        .env("KAFKA_BOOTSTRAP", "kafka:9092")
        .set("kafka.properties", "sasl.password=hidden-3");
    let show = ["config", "show", "-o", "json", "--set", "worker.name=alice"];
    let shown = program.run(&show).await.good();
    for (key, value, origin) in [
        ("token", "…", "patchfarm.toml"),
        ("worker.slots", "7", "patchfarm.toml"),
        ("model.key", "…", "environment OPENAI_API_KEY"),
        ("kafka.properties", "…", "environment PATCHFARM_KAFKA_PROPERTIES"),
        ("kafka.bootstrap", "kafka:9092", "environment KAFKA_BOOTSTRAP"),
        ("worker.name", "alice", "flag --set"),
        ("control.lease-ms", "120000", "default"),
    ] {
        let row = row(&shown, key);
        assert_eq!((row["value"].as_str(), row["origin"].as_str()), (Some(value), Some(origin)), "{key}");
    }
    for form in ["table", "json", "jsonl"] {
        let shown = program.run(&["config", "show", "-o", form]).await.good();
        assert!(!shown.stdout.contains("hidden"), "{}", shown.stdout);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_exits_with_2_and_names_it() {
    let (home, program) = alone();
    for (args, words) in [
        (&["--set", "worker.slotz=1", "config", "show"][..], "worker.slotz"),
        (&["--config", "nowhere.toml", "config", "show"], "nowhere.toml"),
        (&["--set", "kafka.max-record-bytes=many", "topics", "apply"], "kafka.max-record-bytes"),
        (&["patch", "apply", "-o", "json"], "--repo"),
        (&["patch", "apply", "--repo", ".", "--dir", ".", "-o", "json"], "--dir"),
        (&["task", "frobnicate"], "frobnicate"),
        (&["submit", "--file", "-"], "ChangeRequest"),
        (&["worker"], "CODING_MODEL"),
    ] {
        let ran = program.run_with(args, "no JSON").await.exits(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{args:?}: {}", ran.stdout);
    }
    std::fs::write(home.path().join("patchfarm.toml"), "[worker]\nslotz = 1\n").unwrap();
    let ran = program.run(&["config", "show"]).await.exits(2);
    assert!(ran.stderr.contains("patchfarm.toml") && ran.stderr.contains("worker.slotz"), "{}", ran.stderr);
}

#[tokio::test]
async fn without_a_farm_verbs_say_where_they_looked() {
    let (_home, program) = alone();
    for args in [&["task", "list"][..], &["change", "show", "x"], &["ledger", "verify"], &["repo", "list"]] {
        let ran = program.run(args).await.exits(1);
        assert!(
            ran.stderr.contains("http://127.0.0.1:9") && ran.stderr.contains("PATCHFARM_URL"),
            "{}",
            ran.stderr
        );
    }
    program.run(&["health", "--address", "127.0.0.1:9"]).await.exits(1);
}

#[tokio::test]
async fn doctor_says_what_is_there_and_what_is_missing() {
    let (_home, program) = alone();
    let doctor = program.set("kafka.bootstrap", "127.0.0.1:9").run(&["doctor"]).await.exits(1);
    let findings: Vec<(&str, &str)> = doctor
        .stdout
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let expected = [
        ("ok", "git"),
        ("ok", "bwrap"),
        ("ok", "sandbox"),
        ("MISSING", "kafka"),
        ("MISSING", "model"),
        ("MISSING", "control"),
    ];
    assert_eq!(findings, expected, "{}", doctor.stdout);
}

#[tokio::test]
async fn every_shell_gets_completions() {
    let (_home, program) = alone();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = program.run(&["completions", shell]).await.good();
        assert!(ran.stdout.contains("patchfarm") && ran.stdout.contains("submit"), "{shell}");
    }
}

/// I6: a worker that cannot contain commands does not start. Bubblewrap itself is hidden from it by bubblewrap.
#[tokio::test]
async fn without_a_sandbox_a_worker_refuses_to_start() {
    let (_home, program) = alone();
    let mut wrapper = vec!["bwrap", "--dev-bind", "/", "/"];
    for place in ["/usr/local/bin/bwrap", "/usr/bin/bwrap"] {
        if std::path::Path::new(place).exists() {
            wrapper.extend(["--ro-bind", "/dev/null", place]);
        }
    }
    wrapper.push("--");
    let program = program.under(&wrapper).env("MOCK_LLM", "1");
    let ran = program.run(&["worker"]).await.exits(1);
    assert!(ran.stderr.contains("apt install bubblewrap"), "{}", ran.stderr);
}
