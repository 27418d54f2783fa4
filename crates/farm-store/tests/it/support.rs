//! A store in a temporary folder, and short ways to say what a test is about.

use std::path::PathBuf;

use farm_core::delta::{Entry, FileMode, PathChange, TreeDelta, sha256};
use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
use farm_core::policy::Policy;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Usage};
use farm_core::service::{Denied, GiveBack, Prepare, Repository, Run, RunRef};
use farm_core::task::{Budget, CodingTask, Risk};
use farm_store::{Began, Begin, NewChange, NewTask, Offer, Options, Store, Window};
use tempfile::TempDir;

/// When tests begin. Far from 0, as clocks are.
pub(crate) const T0: u64 = 1_700_000_000_000;

pub(crate) const LEASE: u64 = 120_000;

pub(crate) struct Farm {
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
    options: Options,
}

pub(crate) fn options() -> Options {
    Options::new(|result| serde_json::to_vec(result).unwrap())
}

pub(crate) fn decode(bytes: &[u8]) -> CommitResult {
    serde_json::from_slice(bytes).unwrap()
}

impl Farm {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("farm.db"), options.clone(), T0).await.unwrap();
        store.put_repository(repository(), "test", T0).await.unwrap();
        Self { store, folder, options }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("farm.db")
    }

    /// As if the process had ended here and begun anew.
    pub(crate) async fn restart(&mut self, now_ms: u64) {
        self.store.close().await;
        self.store = Store::open(&self.path(), self.options.clone(), now_ms).await.unwrap();
    }

    pub(crate) async fn begin(&self, new: &NewTask, request: &str, now_ms: u64) -> Began {
        self.store.begin(begin(new, request), now_ms).await.unwrap()
    }

    pub(crate) async fn run(&self, new: &NewTask, request: &str, now_ms: u64) -> Run {
        match self.begin(new, request, now_ms).await {
            Began::Run(run) => *run,
            other => panic!("expected a run of {}, found {other:?}", new.task.id),
        }
    }

    pub(crate) async fn prepare(&self, run: &Run, digit: char, now_ms: u64) -> Result<Vec<u8>, Denied> {
        let (prepare, result) = prepared(run, digit, &["src/a.rs"]);
        self.store.prepare(&prepare, &result, now_ms).await.unwrap().map(|()| prepare.result)
    }

    pub(crate) async fn complete(&self, run: &Run, bytes: &[u8], now_ms: u64) -> Result<(), Denied> {
        self.store.complete(&run_ref(run), &decode(bytes), bytes, now_ms).await.unwrap()
    }

    /// Ends a run well, with a push.
    pub(crate) async fn succeed(&self, run: &Run, now_ms: u64) -> Vec<u8> {
        let bytes = self.prepare(run, '1', now_ms).await.unwrap();
        self.complete(run, &bytes, now_ms).await.unwrap();
        bytes
    }

    pub(crate) async fn fail(&self, run: &Run, reason: Reason, now_ms: u64) -> Vec<u8> {
        let bytes = failed(run, reason);
        self.complete(run, &bytes, now_ms).await.unwrap();
        bytes
    }

    pub(crate) async fn give_back(&self, run: &Run, delay_ms: u64, now_ms: u64) -> farm_store::GivenBack {
        self.store.give_back(&given_back(run, delay_ms), now_ms).await.unwrap()
    }

    pub(crate) async fn accept(&self, tasks: &[NewTask], now_ms: u64) {
        self.store.accept_bundle(tasks.to_vec(), now_ms).await.unwrap();
    }

    pub(crate) async fn offer(&self, now_ms: u64) -> Vec<Offer> {
        self.store.offer(Window::of(4), now_ms).await.unwrap()
    }

    pub(crate) async fn view(&self, task: &str) -> farm_store::TaskView {
        self.store.task(&id(task)).await.unwrap().unwrap()
    }

    pub(crate) async fn result(&self, task: &str) -> CommitResult {
        decode(&self.view(task).await.result.unwrap())
    }
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

pub(crate) fn change_id(text: &str) -> ChangeId {
    ChangeId::new(text).unwrap()
}

pub(crate) fn repo() -> RepoName {
    RepoName::new("demo/app").unwrap()
}

pub(crate) fn oid(digit: char) -> Oid {
    Oid::new(digit.to_string().repeat(40)).unwrap()
}

pub(crate) fn repository() -> Repository {
    Repository {
        name: repo(),
        url: "http://git.test/app".into(),
        target: "main".into(),
        credential: None,
        checks: None,
        policy: Policy { deny_write: vec!["infra/**".into()], ..Policy::default() },
    }
}

pub(crate) fn task(name: &str) -> NewTask {
    with(name, |_| {})
}

pub(crate) fn with(name: &str, edit: impl FnOnce(&mut CodingTask)) -> NewTask {
    let mut task = CodingTask::new(id(name), "make it better");
    task.repository = Some(repo());
    edit(&mut task);
    let record = serde_json::to_vec(&task).unwrap();
    NewTask { task, digest: sha256(&record), record, refusal: None }
}

pub(crate) fn of_change(name: &str, change: &str) -> NewTask {
    with(name, |task| task.change = Some(change_id(change)))
}

pub(crate) fn after(name: &str, predecessors: &[&str]) -> NewTask {
    with(name, |task| task.after = predecessors.iter().map(|p| id(p)).collect())
}

pub(crate) fn on_path(name: &str, path: &str) -> NewTask {
    with(name, |task| task.path = Some(path.to_owned()))
}

pub(crate) fn change(name: &str, tasks: Vec<NewTask>) -> NewChange {
    NewChange {
        id: change_id(name),
        repository: repo(),
        target: "main".into(),
        goal: "better".into(),
        source: "test".into(),
        risk: Risk::Low,
        priority: 0,
        request: serde_json::json!({ "goal": "better", "n": tasks.len() }),
        tasks,
    }
}

pub(crate) fn begin(new: &NewTask, request: &str) -> Begin {
    Begin {
        request_id: request.to_owned(),
        worker: "w1".to_owned(),
        offered: new.clone(),
        repository: Some(repository()),
        pinned: Some(oid('b')),
    }
}

pub(crate) fn run_ref(run: &Run) -> RunRef {
    RunRef { task: run.task.id.clone(), token: run.token }
}

pub(crate) fn delta(paths: &[&str]) -> TreeDelta {
    let change = |path: &&str| PathChange {
        path: (*path).into(),
        old: None,
        new: Some(Entry { oid: oid('f'), mode: FileMode::Regular, size: 10 }),
    };
    TreeDelta { changes: paths.iter().map(change).collect() }
}

/// What a run would push: commit `digit`, touching `paths`.
pub(crate) fn prepared(run: &Run, digit: char, paths: &[&str]) -> (Prepare, CommitResult) {
    let delta = delta(paths);
    let mut result = CommitResult::ended(run.task.id.clone(), Reason::Ok, Vec::new());
    result.commit = Some(oid(digit));
    result.branch = Some(run.task.id.branch());
    result.base = Some(run.base.clone());
    result.delta_digest = Some(delta.digest());
    result.token = run.token;
    result.usage = Usage {
        calls: 1,
        prompt_tokens: 900,
        completion_tokens: 100,
        cost_micro_usd: 50,
        ..Usage::default()
    };
    let prepare = Prepare {
        run: run_ref(run),
        old: None,
        commit: oid(digit),
        delta,
        symbols: Vec::new(),
        result: serde_json::to_vec(&result).unwrap(),
    };
    (prepare, result)
}

pub(crate) fn failed(run: &Run, reason: Reason) -> Vec<u8> {
    let mut result = CommitResult::ended(run.task.id.clone(), reason, vec!["no".into()]);
    result.token = run.token;
    serde_json::to_vec(&result).unwrap()
}

pub(crate) fn given_back(run: &Run, delay_ms: u64) -> GiveBack {
    GiveBack {
        run: run_ref(run),
        reason: Reason::GitUnavailable,
        detail: "the remote does not answer".into(),
        delay_ms,
        spent: nothing(),
    }
}

pub(crate) fn nothing() -> Budget {
    Budget { tokens: 0, cost_micro_usd: 0 }
}

pub(crate) fn names(offers: &[Offer]) -> Vec<String> {
    offers.iter().map(|offer| offer.task.to_string()).collect()
}

pub(crate) fn stale(run: &Run, token: Token) -> Run {
    Run { token, ..run.clone() }
}
