//! `context search`, to the letter of its contract (DESIGN §9): no server, no working tree.

use farm_testkit::git::{self, Repo};
use farm_testkit::program::{Program, Ran};
use serde_json::json;
use tempfile::TempDir;

use crate::BINARY;

const RETRY: &str = "import time


def backoff(attempt):
    \"\"\"How long to wait before the next attempt.\"\"\"
    return 2 ** attempt


def retry(call, times):
    \"\"\"Calls again with backoff until it succeeds.\"\"\"
    for attempt in range(times):
        try:
            return call()
        except OSError:
            time.sleep(backoff(attempt))
    raise TimeoutError(times)
";
const COLOURS: &str =
    "def darker(colour):\n    \"\"\"A darker colour.\"\"\"\n    return [c // 2 for c in colour]\n";

/// A bare repository, which has no working tree.
fn bare() -> TempDir {
    let repo =
        Repo::new(&[("net/retry.py", RETRY), ("paint/colours.py", COLOURS), ("README.md", "# A sample\n")]);
    let dir = tempfile::tempdir().unwrap();
    let source = repo.path().to_str().unwrap();
    git::run(dir.path(), &["clone", "--quiet", "--bare", source, "bare.git"]);
    dir
}

async fn search(dir: &TempDir, args: &[&str]) -> Ran {
    let repo = dir.path().join("bare.git");
    let args = [&["context", "search", "-o", "json", "--repo", repo.to_str().unwrap()], args].concat();
    Program::new(BINARY, dir.path()).run(&args).await
}

#[tokio::test]
async fn the_code_that_a_query_is_about_comes_first() {
    let dir = bare();
    let ran = search(&dir, &["--rev", "main", "--limit", "5", "retry with backoff"]).await.good();
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let found = ran.json();
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&found), ["dropped", "results"]);
    assert!(found["dropped"].is_u64());
    let results = found["results"].as_array().unwrap();
    assert!(!results.is_empty() && results.len() <= 5, "{found}");
    let lines: Vec<&str> = RETRY.lines().collect();
    for result in results {
        assert_eq!(keys(result), ["end_line", "path", "score", "snippet", "start_line", "symbol"]);
        let line = |name: &str| usize::try_from(result[name].as_u64().unwrap()).unwrap();
        assert!(1 <= line("start_line") && line("start_line") <= line("end_line"), "{result}");
        assert!(result["symbol"].is_string() && result["score"].is_number(), "{result}");
        if result["path"] == "net/retry.py" {
            let snippet = lines[line("start_line") - 1..line("end_line")].join("\n");
            assert_eq!(result["snippet"].as_str().unwrap().trim_end(), snippet.trim_end(), "{result}");
        }
    }
    assert_eq!(results[0]["path"], "net/retry.py", "{found}");
    let scores: Vec<f64> = results.iter().map(|result| result["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
}

#[tokio::test]
async fn the_answer_is_always_the_same() {
    let dir = bare();
    let first = search(&dir, &["darker colour"]).await.good().stdout;
    for _ in 0..3 {
        assert_eq!(search(&dir, &["darker colour"]).await.good().stdout, first);
    }
}

#[tokio::test]
async fn limits_hold_and_what_they_cost_is_said() {
    let dir = bare();
    let all = search(&dir, &["--limit", "10", "attempt"]).await.good().json();
    assert!(all["results"].as_array().unwrap().len() > 1, "{all}");
    let one = search(&dir, &["--limit", "1", "attempt"]).await.good().json();
    assert_eq!(one["results"].as_array().unwrap().len(), 1, "{one}");
    assert_eq!(one["results"][0]["path"], all["results"][0]["path"]);
    let none = search(&dir, &["--tokens", "1", "attempt"]).await.good().json();
    assert_eq!(none["results"], json!([]), "{none}");
    assert!(none["dropped"].as_u64().unwrap() > 0, "{none}");
}

#[tokio::test]
async fn what_cannot_be_searched_is_an_error() {
    let dir = bare();
    let ran = search(&dir, &["--rev", "nowhere", "attempt"]).await.exits(1);
    assert!(ran.stderr.contains("nowhere") && ran.stdout.is_empty(), "{}", ran.stderr);
}
