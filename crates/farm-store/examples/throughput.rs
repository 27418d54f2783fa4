//! How fast the store is on this machine: `cargo run --release -p farm-store --example throughput [FOLDER [QUEUED]]`.
//!
//! Prints whole tasks (Begin, Prepare, Complete) per second at 64 at once with the latency of each call, and what one call of
//! dispatch takes over a long queue.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for people: it prints, and fails by panicking"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use farm_core::delta::{Entry, FileMode, PathChange, TreeDelta, sha256};
use farm_core::id::{ChangeId, Oid, RepoName, TaskId};
use farm_core::policy::Policy;
use farm_core::reason::Reason;
use farm_core::result::CommitResult;
use farm_core::service::{Prepare, Repository, RunRef};
use farm_core::task::CodingTask;
use farm_store::{Began, Begin, NewTask, Options, Store, Window};

const NOW: u64 = 1_700_000_000_000;
const AT_ONCE: usize = 64;
const TASKS: usize = 6_400;

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let queued = std::env::args().nth(2).map_or(100_000, |n| n.parse().unwrap());
    let folder = folder.join(format!("farm-store-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let options = Options::new(|result| serde_json::to_vec(result).unwrap());
    let store = Store::open(&folder.join("farm.db"), options, NOW).await.unwrap();
    store.put_repository(repository(), "throughput", NOW).await.unwrap();
    whole_tasks(&store, 1, TASKS / 16).await;
    whole_tasks(&store, AT_ONCE, TASKS).await;
    dispatch(&store, queued).await;
    store.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn whole_tasks(store: &Store, at_once: usize, tasks: usize) {
    let start = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut latencies = [Vec::new(), Vec::new(), Vec::new()];
                for i in 0..tasks / at_once {
                    let name = format!("run-{at_once}-{worker}-{i}");
                    for (all, one) in latencies.iter_mut().zip(one_task(&store, &name).await) {
                        all.push(one);
                    }
                }
                latencies
            })
        })
        .collect();
    let mut latencies = [Vec::new(), Vec::new(), Vec::new()];
    for worker in workers {
        for (all, own) in latencies.iter_mut().zip(worker.await.unwrap()) {
            all.extend(own);
        }
    }
    let rate = tasks as f64 / start.elapsed().as_secs_f64();
    println!("{at_once} at once: {rate:.0} tasks/s");
    for (call, mut latencies) in ["Begin", "Prepare", "Complete"].into_iter().zip(latencies) {
        println!("  {call}: {}", percentiles(&mut latencies));
    }
}

async fn one_task(store: &Store, name: &str) -> [Duration; 3] {
    let new = new_task(name, None);
    let begin = Begin {
        request_id: name.to_owned(),
        worker: "w".to_owned(),
        offered: new,
        repository: Some(repository()),
        pinned: Some(oid('b')),
    };
    let t = Instant::now();
    let Began::Run(run) = store.begin(begin, NOW).await.unwrap() else { panic!("{name} does not run") };
    let begun = t.elapsed();
    let entry = Entry { oid: oid('f'), mode: FileMode::Regular, size: 10 };
    let path = format!("src/{name}.rs");
    let delta =
        TreeDelta { changes: vec![PathChange { path: path.as_str().into(), old: None, new: Some(entry) }] };
    let mut result = CommitResult::ended(run.task.id.clone(), Reason::Ok, Vec::new());
    result.commit = Some(oid('c'));
    result.branch = Some(run.task.id.branch());
    result.base = Some(run.base.clone());
    result.delta_digest = Some(delta.digest());
    let bytes = serde_json::to_vec(&result).unwrap();
    let run = RunRef { task: run.task.id.clone(), token: run.token };
    let prepare = Prepare {
        run: run.clone(),
        old: None,
        commit: oid('c'),
        delta,
        symbols: Vec::new(),
        result: bytes.clone(),
    };
    let t = Instant::now();
    store.prepare(&prepare, &result, NOW).await.unwrap().unwrap();
    let prepared = t.elapsed();
    let t = Instant::now();
    store.complete(&run, &result, &bytes, NOW).await.unwrap().unwrap();
    [begun, prepared, t.elapsed()]
}

async fn dispatch(store: &Store, queued: usize) {
    let start = Instant::now();
    let tasks: Vec<NewTask> =
        (0..queued).map(|i| new_task(&format!("q{i}"), Some(&format!("c{}", i % 97)))).collect();
    for chunk in tasks.chunks(1_000) {
        store.accept_bundle(chunk.to_vec(), NOW).await.unwrap();
    }
    println!("{queued} tasks accepted in {:.1} s", start.elapsed().as_secs_f64());
    let window = Window { partitions: 12, records: 256, bytes: 1 << 20 };
    let (mut fills, mut idles) = (Vec::new(), Vec::new());
    loop {
        let t = Instant::now();
        if store.offer(window, NOW).await.unwrap().is_empty() {
            break;
        }
        fills.push(t.elapsed());
    }
    for _ in 0..100 {
        let t = Instant::now();
        store.offer(window, NOW).await.unwrap();
        idles.push(t.elapsed());
    }
    println!("  offer, 256 records: {}", percentiles(&mut fills));
    println!("  offer, window full: {}", percentiles(&mut idles));
    let mut sweeps = Vec::new();
    for _ in 0..100 {
        let t = Instant::now();
        store.sweep(NOW).await.unwrap();
        sweeps.push(t.elapsed());
    }
    println!("  sweep: {}", percentiles(&mut sweeps));
    let mut steady = Vec::new();
    for i in 0..100 {
        let new = new_task(&format!("q{i}"), Some(&format!("c{}", i % 97)));
        store.cancel_task(&new.task.id, "throughput", NOW).await.unwrap();
        let t = Instant::now();
        store.offer(window, NOW).await.unwrap();
        steady.push(t.elapsed());
    }
    println!("  offer, one at a time: {}", percentiles(&mut steady));
}

fn percentiles(latencies: &mut [Duration]) -> String {
    latencies.sort();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

fn new_task(name: &str, change: Option<&str>) -> NewTask {
    let mut task = CodingTask::new(TaskId::new(name).unwrap(), "make it better, whatever it takes to do so");
    task.repository = Some(RepoName::new("demo/app").unwrap());
    task.change = change.map(|change| ChangeId::new(change).unwrap());
    task.path = Some(format!("src/{name}.rs"));
    let record = serde_json::to_vec(&task).unwrap();
    NewTask { task, digest: sha256(&record), record, refusal: None }
}

fn repository() -> Repository {
    Repository {
        name: RepoName::new("demo/app").unwrap(),
        url: "http://git.test/app".into(),
        target: "main".into(),
        credential: None,
        checks: None,
        policy: Policy::default(),
    }
}

fn oid(digit: char) -> Oid {
    Oid::new(digit.to_string().repeat(40)).unwrap()
}
