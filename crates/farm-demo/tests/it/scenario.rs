//! The scenario's replies, applied by hand: they must be as right and as wrong as it claims.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use farm_core::delta::{Entry, FileMode, PathChange, TreeDelta};
use farm_core::id::Oid;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::task::{CodingTask, Strategy};
use farm_demo::model_server::ModelServer;
use farm_demo::samples::SAMPLES;
use farm_demo::scenario::{Expected, FAILURES_HEADING, Scenario, TreeFile};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{checks, git};

/// The scenario and its built repositories.
struct Stage {
    scenario: Scenario,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for sample in SAMPLES {
            sample.build(folder.path()).unwrap();
        }
        Self { scenario: Scenario::new().unwrap(), folder }
    }

    fn tasks(&self) -> Vec<(&CodingTask, &Expected)> {
        let tasks = self.scenario.changes.iter().flat_map(|change| &change.tasks);
        tasks.zip(&self.scenario.expected).collect()
    }

    /// A fresh clone of the task's repository.
    fn checkout(&self, task: &CodingTask, name: &str) -> PathBuf {
        let repository = task.repository.as_ref().unwrap();
        git::ok(self.folder.path(), &["clone", "-q", &format!("{repository}.git"), name]);
        self.folder.path().join(name)
    }

    /// All replies that the script has for a task, in order.
    fn replies(&self, task: &CodingTask) -> Vec<String> {
        let again = format!("{}/again", task.id);
        let rules = self.scenario.script.rules.iter();
        rules
            .filter(|rule| rule.key == task.id.as_str() || rule.key == again)
            .flat_map(|rule| rule.answers.iter().map(|answer| answer.text.clone()))
            .collect()
    }
}

/// Does what a reply says.
fn apply(tree: &Path, reply: &str) {
    if reply.contains("<<<<<<< SEARCH") {
        return search_and_replace(tree, reply);
    }
    let diff = match serde_json::from_str::<Value>(reply) {
        Ok(object) => object["diff"].as_str().unwrap().to_owned(),
        Err(_) => reply.split_once("```diff\n").unwrap().1.split_once("```\n").unwrap().0.to_owned(),
    };
    std::fs::write(tree.join(".git/reply.diff"), diff).unwrap();
    git::ok(tree, &["apply", ".git/reply.diff"]);
}

fn search_and_replace(tree: &Path, reply: &str) {
    for block in reply.split_inclusive(">>>>>>> REPLACE\n") {
        let Some((before, rest)) = block.split_once("<<<<<<< SEARCH\n") else { continue };
        let path = before.lines().rev().find(|line| !line.starts_with("```") && !line.is_empty()).unwrap();
        let (search, rest) = rest.split_once("=======\n").unwrap();
        let replace = rest.strip_suffix(">>>>>>> REPLACE\n").unwrap();
        let text = std::fs::read_to_string(tree.join(path)).unwrap();
        assert_eq!(text.matches(search).count(), 1, "{path}: {search}");
        std::fs::write(tree.join(path), text.replace(search, replace)).unwrap();
    }
}

/// Every path that differs from the last commit.
fn changed(tree: &Path) -> Vec<String> {
    git::ok(tree, &["add", "--all"]);
    git::ok(tree, &["diff", "--cached", "--name-only"]).lines().map(str::to_owned).collect()
}

fn assert_reads(tree: &Path, files: &[TreeFile], what: &str) {
    for file in files {
        let found = std::fs::read_to_string(tree.join(file.path)).unwrap();
        assert_eq!(found, file.content, "{what}: {}", file.path);
    }
}

#[test]
fn it_has_the_fourteen_tasks_and_the_prompt_tells_them_apart() {
    let stage = Stage::new();
    let tasks = stage.tasks();
    assert_eq!((tasks.len(), stage.scenario.expected.len()), (14, 14));
    let ids: HashSet<_> = tasks.iter().map(|(task, _)| &task.id).collect();
    assert_eq!(ids.len(), 14);
    for (task, expected) in &tasks {
        assert_eq!(task.id, expected.task);
        assert_eq!(expected.files.is_empty(), expected.status != Status::Success, "{}", task.id);
        let others = tasks.iter().filter(|(other, _)| other.id != task.id);
        let in_others = others.filter(|(other, _)| other.goal.contains(&task.goal)).count();
        let in_samples =
            SAMPLES.iter().flat_map(|s| s.files).filter(|f| f.content.contains(&task.goal)).count();
        assert_eq!((in_others, in_samples), (0, 0), "{:?} must be unique", task.goal);
    }
    for change in &stage.scenario.changes {
        assert!(change.tasks.iter().all(|task| task.repository == change.repository));
        let text = serde_json::to_string(change).unwrap();
        assert_eq!(&serde_json::from_str::<farm_core::task::ChangeRequest>(&text).unwrap(), change);
    }
    let sizes: Vec<_> = stage.scenario.changes.iter().map(|change| change.tasks.len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3]);
    let failed: BTreeMap<_, _> = tasks
        .iter()
        .filter(|(_, expected)| expected.status != Status::Success)
        .map(|(task, expected)| (task.id.as_str(), (expected.status, expected.reason)))
        .collect();
    let hard = (Status::HardFail, Reason::PathForbidden);
    let soft = (Status::SoftFail, Reason::ChecksFailed);
    assert_eq!(failed, [("relay-production", hard), ("relay-notice", soft)].into());
    assert_eq!(tasks.iter().filter(|(_, expected)| expected.kill_worker).count(), 1);
}

#[test]
fn right_work_gives_the_expected_files_and_passes_every_check() {
    let stage = Stage::new();
    for (task, expected) in stage.tasks() {
        if expected.status != Status::Success {
            continue;
        }
        let tree = stage.checkout(task, task.id.as_str());
        match &task.strategy {
            Strategy::Command { argv } => assert_eq!(checks::failure(&tree, argv), None, "{}", task.id),
            Strategy::SingleShot => apply(&tree, stage.replies(task).last().unwrap()),
        }
        let paths: Vec<_> = expected.files.iter().map(|file| file.path).collect();
        assert_eq!(changed(&tree), paths, "{}", task.id);
        assert_reads(&tree, expected.files, task.id.as_str());
        assert_eq!(checks::failures(&tree), [], "{}", task.id);
    }
}

#[test]
fn the_wrong_line_numbers_are_wrong_in_every_hunk() {
    let stage = Stage::new();
    let (task, _) =
        stage.tasks().into_iter().find(|(task, _)| task.id.as_str() == "relay-retry-limit").unwrap();
    let tree = stage.checkout(task, "offsets");
    let reply = &stage.replies(task)[0];
    for line in reply.lines().filter(|line| line.starts_with("@@ -")) {
        let start: usize = line["@@ -".len()..].split(',').next().unwrap().parse().unwrap();
        assert!(start > 40, "{line}");
    }
    for file in ["lib/retry.sh", "tests/retry_test.sh"] {
        assert!(std::fs::read_to_string(tree.join(file)).unwrap().lines().count() < 40, "{file}");
    }
}

#[test]
fn wrong_work_fails_a_check_that_passed_before() {
    let stage = Stage::new();
    let mut n_wrong = 0;
    for (task, expected) in stage.tasks() {
        let replies = stage.replies(task);
        let wrong = match (expected.reason, *expected.attempts.end()) {
            (Reason::ChecksFailed, _) => &replies[..],
            (Reason::Ok, 2) if !expected.kill_worker => &replies[..1],
            _ => continue,
        };
        for (idx, reply) in wrong.iter().enumerate() {
            let tree = stage.checkout(task, &format!("{}-{idx}", task.id));
            apply(&tree, reply);
            let failures = checks::failures(&tree);
            let names: Vec<_> = failures.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["unit"], "{} {idx}: {failures:?}", task.id);
            n_wrong += 1;
        }
    }
    assert_eq!(n_wrong, 4, "one of the median, three of the level");
}

#[test]
fn policies_forbid_the_one_path_and_nothing_else() {
    let stage = Stage::new();
    let entry =
        |digit: &str| Entry { oid: Oid::new(digit.repeat(40)).unwrap(), mode: FileMode::Regular, size: 1 };
    let mut n_denied = 0;
    for (task, expected) in stage.tasks() {
        let mut repositories = stage.scenario.repositories.iter();
        let repository = repositories.find(|known| Some(&known.name) == task.repository.as_ref()).unwrap();
        let paths: Vec<&str> = match expected.reason {
            Reason::PathForbidden => {
                let tree = stage.checkout(task, "forbidden");
                apply(&tree, &stage.replies(task)[0]);
                assert_eq!(changed(&tree), ["deploy/production.conf"]);
                vec!["deploy/production.conf"]
            }
            _ => expected.files.iter().map(|file| file.path).collect(),
        };
        let changes = paths
            .into_iter()
            .map(|path| PathChange { path: path.into(), old: Some(entry("1")), new: Some(entry("2")) })
            .collect();
        let denials = repository.policy.judge(&[]).unwrap().denials(&TreeDelta { changes });
        let reasons: Vec<_> = denials.iter().map(|denial| denial.reason).collect();
        n_denied += reasons.len();
        assert!(reasons.iter().all(|reason| *reason == expected.reason), "{}: {denials:?}", task.id);
    }
    assert_eq!(n_denied, 1);
}

#[test]
fn the_change_of_three_merges_into_the_integrated_files_and_passes() {
    let stage = Stage::new();
    let integrated = &stage.scenario.integrated;
    let change =
        stage.scenario.changes.iter().find(|change| change.id.as_ref() == Some(&integrated.change)).unwrap();
    let tree = stage.checkout(&change.tasks[0], "integrated");
    for task in &change.tasks {
        let branch = task.id.branch();
        git::ok(&tree, &["switch", "-q", "-c", &branch, "origin/main"]);
        apply(&tree, &stage.replies(task)[0]);
        git::ok(&tree, &["add", "--all"]);
        git::ok(&tree, &["commit", "-q", "-m", &task.goal]);
    }
    git::ok(&tree, &["switch", "-q", "main"]);
    for task in &change.tasks {
        git::ok(&tree, &["merge", "-q", "--no-edit", &task.id.branch()]);
    }
    let touched = git::ok(&tree, &["diff", "--name-only", "origin/main", "HEAD"]);
    let mut paths: Vec<_> = integrated.files.iter().map(|file| file.path).collect();
    paths.sort_unstable();
    assert_eq!(touched.lines().collect::<Vec<_>>(), paths);
    assert_reads(&tree, &integrated.files, "integrated");
    assert_eq!(checks::failures(&tree), []);
}

#[tokio::test]
async fn the_model_answers_each_goal_as_the_scenario_says() {
    let stage = Stage::new();
    let server = ModelServer::start(stage.scenario.script.clone(), Duration::ZERO).await.unwrap();
    let client = reqwest::Client::new();
    for (task, expected) in stage.tasks() {
        let replies = stage.replies(task);
        for (attempt, expected_reply) in replies.iter().enumerate() {
            let failures = if attempt > 0 { FAILURES_HEADING } else { "" };
            let prompt = format!("Goal: {}\n\n{failures}\n", task.goal);
            let body = json!({"messages": [{"role": "user", "content": prompt}]});
            let url = format!("{}/chat/completions", server.url());
            let reply: Value = client.post(url).json(&body).send().await.unwrap().json().await.unwrap();
            assert_eq!(reply["choices"][0]["message"]["content"], **expected_reply, "{}", task.id);
        }
        assert_eq!(replies.is_empty(), task.strategy != Strategy::SingleShot, "{}", task.id);
        if !replies.is_empty() {
            assert!(server.calls()[task.id.as_str()] >= 1);
            assert!(replies.len() <= *expected.attempts.end() as usize, "{}", task.id);
        }
    }
}
