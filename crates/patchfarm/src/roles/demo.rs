//! `patchfarm demo`: the product, not a show. Embedded broker, real gRPC, git over smart HTTP, checks in the sandbox; only the
//! model is a local server with recorded replies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use farm_core::policy::Policy;
use farm_core::service::Repository;
use farm_demo::git_http::GitHttp;
use farm_demo::model_server::ModelServer;
use farm_demo::samples::BRANCH;
use farm_demo::scenario::{Expected, Scenario, TreeFile};
use farm_git::objects::Objects;
use serde_json::Value;

use crate::client::Client;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{say, table, tell};
use crate::program::Program;
use crate::roles::up::{self, Farm};

/// Who pushes in the demo; the remote asks for it, so that credentials are exercised too.
const PUSHER: (&str, &str) = ("patchfarm", "demo-push-token");
const PUSHER_VARIABLE: &str = "PATCHFARM_DEMO_GIT";
const N_WORKERS: u32 = 2;
const MODEL_LATENCY: Duration = Duration::from_millis(50);
/// The longest that the demo may take before it counts as failed.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs the scenario and says whether each task ended as it should.
pub(crate) async fn run(program: Program, keep: bool) -> Outcome {
    let scenario = Scenario::new()?;
    let home = tempfile::Builder::new().prefix("patchfarm-demo-").tempdir()?;
    let repositories = home.path().join("repositories");
    std::fs::create_dir(&repositories)?;
    for repository in &scenario.repositories {
        let built = repository.sample.build(&repositories);
        built.map_err(|error| Failure::new(exit::FAILURE, error.to_string()))?;
    }
    let auth = Some((PUSHER.0.to_owned(), PUSHER.1.to_owned()));
    let git = GitHttp::start(&repositories, auth).await?;
    let model = ModelServer::start(scenario.script.clone(), MODEL_LATENCY).await?;
    let farm = up::start(&settle(&program, home.path(), &model.url()), N_WORKERS).await?;
    tell(&format!("the farm is up: {}; {N_WORKERS} workers; fourteen tasks", farm.url));

    let client = Client::at(&farm.url, None)?;
    let since = Instant::now();
    submit(&client, &scenario, &git).await?;
    let work = watch(&client, &scenario, &farm, &model);
    let tasks = tokio::select! {
        tasks = tokio::time::timeout(LIMIT, work) => {
            tasks.map_err(|_| Failure::new(exit::TIMEOUT, format!("not done after {LIMIT:?}")))?
        }
        () = program.stop.cancelled() => Err(Failure::new(exit::FAILURE, "interrupted")),
    };
    let good = match tasks {
        Ok(tasks) => report(&client, &scenario, &repositories, &tasks, &farm, since.elapsed()).await,
        Err(failure) => Err(failure),
    };
    if keep && good.is_ok() {
        say(&format!("it stays up until you press ^C: {}  (PATCHFARM_URL={})", farm.url, farm.url));
        program.stop.cancelled().await;
    }
    program.stop.cancel();
    farm.end().await;
    if keep {
        say(&format!("kept: {}", home.keep().display()));
    }
    good
}

/// The demo's settings: everything in one folder, short leases so that a killed worker's task is soon somebody else's.
fn settle(program: &Program, home: &Path, model_url: &str) -> Program {
    let mut settings = program.settings.clone();
    let path = |name: &str| home.join(name).display().to_string();
    for (key, value) in [
        ("control.store", path("store.db")),
        ("control.cache-dir", path("control")),
        ("worker.cache-dir", path("worker")),
        ("control.lease-ms", "4000".to_owned()),
        ("worker.heartbeat-ms", "1000".to_owned()),
        ("worker.give-back-ms", "500".to_owned()),
        ("worker.grace-s", "5".to_owned()),
        ("worker.slots", "4".to_owned()),
        ("model.name", "recorded".to_owned()),
        ("model.base-url", model_url.to_owned()),
        ("model.api", "openai".to_owned()),
        ("model.key", "demo-model-key".to_owned()),
        ("model.mock", "false".to_owned()),
        ("model.replay", String::new()),
        ("token", String::new()),
        ("control.default-repository", String::new()),
    ] {
        settings.decide(key, value);
    }
    if !settings.is_set("log.filter") {
        settings.decide("log.filter", "error");
    }
    let mut demo = program.with(settings);
    demo.environment.insert(PUSHER_VARIABLE.to_owned(), format!("{}:{}", PUSHER.0, PUSHER.1));
    demo
}

async fn submit(client: &Client, scenario: &Scenario, git: &GitHttp) -> Outcome {
    for repository in &scenario.repositories {
        let registered = Repository {
            name: repository.name.clone(),
            url: git.url(&format!("{}.git", repository.sample.name)),
            target: BRANCH.to_owned(),
            credential: Some(format!("env:{PUSHER_VARIABLE}")),
            checks: None,
            policy: Policy { ..repository.policy.clone() },
        };
        client.post("/repositories", &serde_json::to_value(&registered)?).await?;
    }
    for change in &scenario.changes {
        client.post("/changes", &serde_json::to_value(change)?).await?;
    }
    Ok(())
}

type Tasks = BTreeMap<String, Value>;

/// Waits until every task has its result and the integrated change its build, and kills the worker that the scenario names.
async fn watch(client: &Client, scenario: &Scenario, farm: &Farm, model: &ModelServer) -> Outcome<Tasks> {
    let victim = scenario.expected.iter().find(|expected| expected.kill_worker);
    if let Some(victim) = victim {
        model.until_asked(victim.task.as_str(), 1).await;
        let task = client.get(&format!("/tasks/{}", victim.task)).await?;
        let worker = task["worker"].as_str().unwrap_or_default().to_owned();
        if farm.kill(&worker) {
            tell(&format!("killed {worker} while it had {}", victim.task));
        }
    }
    let mut done = Tasks::new();
    loop {
        for expected in &scenario.expected {
            let id = expected.task.to_string();
            if done.contains_key(&id) {
                continue;
            }
            let task = client.get(&format!("/tasks/{id}")).await?;
            if task["state"] == "done" {
                tell(&format!("{:<24} {:<9} {}", id, word(&task, "status"), word(&task, "reason")));
                done.insert(id, task);
            }
        }
        let change = client.get(&format!("/changes/{}", scenario.integrated.change)).await?;
        let settled = matches!(word(&change, "state").as_str(), "approval" | "failed" | "done" | "cancelled");
        if done.len() == scenario.expected.len() && settled {
            done.insert(scenario.integrated.change.to_string(), change);
            return Ok(done);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A field as a plain word; `reason` may be an object with its code.
fn word(value: &Value, name: &str) -> String {
    let field = &value[name];
    field.as_str().or_else(|| field["code"].as_str()).unwrap_or_default().to_owned()
}

async fn report(
    client: &Client,
    scenario: &Scenario,
    repositories: &Path,
    tasks: &Tasks,
    farm: &Farm,
    elapsed: Duration,
) -> Outcome {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for expected in &scenario.expected {
        let task = &tasks[expected.task.as_str()];
        let faults = faults(expected, task, &git_dir(scenario, expected, repositories));
        let result = &task["result"];
        let seconds = result["duration-ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
        rows.push(vec![
            expected.task.to_string(),
            expected.title.to_owned(),
            format!("{} {}", word(task, "status"), word(task, "reason")),
            result["attempts"].to_string(),
            result["branch"].as_str().unwrap_or("-").to_owned(),
            format!("{seconds:.1} s"),
            if faults.is_empty() { "as it should".to_owned() } else { "WRONG".to_owned() },
        ]);
        wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", expected.task)));
    }
    let change = &tasks[scenario.integrated.change.as_str()];
    let state = word(change, "state");
    if state != "approval" {
        wrong.push(format!(
            "{}: expected to pass build1 and wait for approval, found {state}",
            scenario.integrated.change
        ));
    }
    let built = scenario.expected.iter().find(|expected| {
        scenario.changes.iter().any(|change| {
            change.id.as_ref() == Some(&scenario.integrated.change)
                && change.tasks.iter().any(|task| task.id == expected.task)
        })
    });
    if let Some(built) = built {
        let branch = scenario.integrated.change.branch();
        wrong.extend(tree_faults(
            &git_dir(scenario, built, repositories),
            &branch,
            &scenario.integrated.files,
        ));
    }
    let ledger = client.get("/ledger/verify").await?;
    if ledger["whole"] != true {
        wrong.push(format!("the ledger does not verify: {ledger}"));
    }
    say(&table(&["task", "what it shows", "result", "attempts", "branch", "time", ""], &rows));
    say(&format!("change {}: {state} after build1", scenario.integrated.change));
    say(&format!(
        "branches: {}   page: {}   {:.1} s in all",
        repositories.display(),
        farm.url,
        elapsed.as_secs_f64()
    ));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(exit::FAILURE, format!("not as it should be:\n{}", wrong.join("\n"))))
}

fn git_dir(scenario: &Scenario, expected: &Expected, repositories: &Path) -> PathBuf {
    let mut tasks = scenario.changes.iter().flat_map(|change| &change.tasks);
    let repository = tasks.find(|task| task.id == expected.task).and_then(|task| task.repository.as_ref());
    let sample = repository.and_then(|name| scenario.repositories.iter().find(|known| known.name == *name));
    repositories.join(format!("{}.git", sample.map_or("", |known| known.sample.name)))
}

fn faults(expected: &Expected, task: &Value, git_dir: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compare = |what: &str, wanted: &str, found: &str| {
        if wanted != found {
            faults.push(format!("expected {what} {wanted}, found {found}"));
        }
    };
    compare("status", expected.status.as_str(), &word(task, "status"));
    compare("reason", expected.reason.code(), &word(task, "reason"));
    let attempts = u32::try_from(task["result"]["attempts"].as_u64().unwrap_or_default()).unwrap_or_default();
    if !expected.attempts.contains(&attempts) {
        faults.push(format!("expected {:?} attempts, found {attempts}", expected.attempts));
    }
    let branch = expected.task.branch();
    if expected.files.is_empty() {
        let there = Objects::open(git_dir).and_then(|objects| objects.resolve(&branch)).is_ok();
        if there {
            faults.push(format!("expected no branch {branch}, found one"));
        }
    } else {
        faults.extend(tree_faults(git_dir, &branch, expected.files));
    }
    faults
}

/// Reads the remote's own repository: what is there counts, not what the farm says of it.
fn tree_faults(git_dir: &Path, branch: &str, files: &[TreeFile]) -> Vec<String> {
    let tree = Objects::open(git_dir).and_then(|objects| {
        let tree = objects.tree_of(&objects.resolve(branch)?)?;
        Ok((objects, tree))
    });
    let (objects, tree) = match tree {
        Ok(found) => found,
        Err(error) => return vec![format!("expected branch {branch}: {error}")],
    };
    let differs = |file: &&TreeFile| {
        let blob = objects.read(&tree, &file.path.into(), 1 << 20).ok().flatten();
        blob.and_then(|blob| blob.content).is_none_or(|content| content != file.content.as_bytes())
    };
    files
        .iter()
        .filter(differs)
        .map(|file| format!("{} on {branch} does not read as it should", file.path))
        .collect()
}
