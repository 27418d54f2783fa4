//! A control with a store and a bare remote in a temporary folder, and a worker that does what it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use farm_control::control::{Control, Settings};
use farm_control::metrics::Metrics;
use farm_control::phases;
use farm_control::publish::Publisher;
use farm_core::delta::FileMode;
use farm_core::id::{ChangeId, Oid, RepoName, TaskId};
use farm_core::policy::Policy;
use farm_core::port::{Clock, Model, ModelCall, ModelError, ModelReply, NoReply};
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Usage};
use farm_core::service::{Begun, Prepare, RawRecord, Repository, Run, RunRef};
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{Budget, ChangeRequest, CodingTask};
use farm_core::topics::Topics;
use farm_demo::samples::{BRANCH, GREET};
use farm_git::command::GitSettings;
use farm_git::credentials::Credentials;
use farm_git::mirror::{Mirror, Mirrors};
use farm_git::objects::{CommitSpec, Content, FileWrite, NewFile};
use farm_git::remote::Remote;
use farm_kafka::{Producer, Settings as Kafka};
use farm_store::{ChangeView, Options, Store, TaskFilter, TaskView};
use farm_wire::{Message, record, v1};
use tempfile::TempDir;

/// When tests begin, Unix milliseconds. Far from 0, as clocks are.
const T0: u64 = 1_700_000_000_000;

/// A file of the sample that tests change: its first and its last lines are far enough apart for two patches.
pub(crate) const FILE: &str = "greet/phrases.py";

/// A clock that only tests move.
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A model that says what it was told to, in order, and keeps what it was asked.
pub(crate) struct Script {
    replies: Mutex<VecDeque<Result<&'static str, ModelError>>>,
    asked: Mutex<Vec<ModelCall>>,
}

impl Script {
    pub(crate) fn new(replies: impl IntoIterator<Item = Result<&'static str, ModelError>>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), asked: Mutex::default() })
    }

    pub(crate) fn asked(&self) -> Vec<ModelCall> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Model for Script {
    async fn ask(&self, call: &ModelCall) -> Result<ModelReply, NoReply> {
        self.asked.lock().unwrap().push(call.clone());
        let reply = self.replies.lock().unwrap().pop_front().unwrap();
        let text = reply.map_err(|error| NoReply { error, usage: Usage::default() })?;
        Ok(ModelReply {
            text: text.to_owned(),
            model: "script".into(),
            usage: Usage::default(),
            truncated: false,
        })
    }

    fn worst_case(&self, _: &ModelCall) -> Budget {
        Budget::default()
    }
}

pub(crate) struct Farm {
    pub(crate) control: Control,
    /// The tip of the target branch.
    pub(crate) tip: Oid,
    hands: Arc<Hands>,
    mirrors: Mirrors,
    folder: TempDir,
}

/// What a worker is about to push.
pub(crate) struct Patch {
    pub(crate) commit: Oid,
    pub(crate) result: CommitResult,
    pub(crate) bytes: Vec<u8>,
    prepare: Prepare,
}

impl Farm {
    pub(crate) async fn new() -> Self {
        Self::with(None).await
    }

    pub(crate) async fn with(model: Option<Arc<dyn Model>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = GREET.build(folder.path()).unwrap();
        let options = Options::new(|result| v1::CommitResult::from(result).encode_to_vec());
        let store = Store::open(&folder.path().join("farm.db"), options, T0).await.unwrap();
        let git = GitSettings { path: std::env::var_os("PATH").unwrap(), ..GitSettings::default() };
        let dead = Kafka {
            properties: BTreeMap::from([("message.timeout.ms".to_owned(), "50".to_owned())]),
            ..Kafka::new("127.0.0.1:1")
        };
        let hands = Arc::new(Hands(AtomicU64::new(T0)));
        let control = Control {
            store,
            mirrors: Mirrors::open(folder.path().join("control"), git.clone()).unwrap(),
            credentials: Credentials::new([]),
            model,
            tips: Default::default(),
            publisher: Publisher::new(Producer::start(dead).unwrap(), Topics::default()),
            clock: Arc::<Hands>::clone(&hands),
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            settings: Settings::default(),
        };
        let mirrors = Mirrors::open(folder.path().join("worker"), git).unwrap();
        let farm = Self { control, tip: built.commit, hands, mirrors, folder };
        farm.register("greet", Policy::default()).await;
        farm
    }

    /// Registers the sample under a name, with a policy.
    pub(crate) async fn register(&self, name: &str, policy: Policy) {
        let repository = Repository {
            name: repo(name),
            url: self.url(),
            target: BRANCH.to_owned(),
            credential: None,
            checks: None,
            policy,
        };
        self.control.store.put_repository(repository, "test", T0).await.unwrap();
    }

    fn url(&self) -> String {
        self.folder.path().join("greet.git").to_str().unwrap().to_owned()
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.hands.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// A mirror that control does not share.
    pub(crate) async fn mirror(&self) -> Mirror {
        self.mirrors.mirror(&Remote::new(&self.url(), None).unwrap()).await.unwrap()
    }

    /// A change of these tasks.
    pub(crate) async fn submit(&self, id: &str, tasks: Vec<CodingTask>) -> ChangeId {
        self.control.submit(request(id, tasks), "test").await.unwrap()
    }

    /// Moves every change on as far as it goes by itself.
    pub(crate) async fn step(&self) {
        phases::step(&self.control).await.unwrap();
    }

    pub(crate) async fn change(&self, id: &ChangeId) -> ChangeView {
        self.control.store.change(id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, id: &ChangeId) -> ChangeState {
        self.change(id).await.state
    }

    pub(crate) async fn task(&self, id: &str) -> TaskView {
        self.control.store.task(&task_id(id)).await.unwrap().unwrap()
    }

    /// The result of a task that has ended.
    pub(crate) async fn result(&self, id: &str) -> CommitResult {
        phases::decode_result(&self.task(id).await.result.unwrap()).unwrap()
    }

    /// The ids of a change's tasks that have not ended, oldest first.
    pub(crate) async fn open_tasks(&self, change: &ChangeId) -> Vec<String> {
        let filter = TaskFilter { change: Some(change.clone()), ..TaskFilter::default() };
        let views = self.control.store.tasks(&filter, farm_store::Page::first(100)).await.unwrap();
        let open = views.into_iter().rev().filter(|view| view.state != TaskState::Done);
        open.map(|view| view.task.id.to_string()).collect()
    }

    /// What Begin answers to a record.
    pub(crate) async fn begin(&self, record: RawRecord) -> Begun {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let request = format!("r{}", REQUESTS.fetch_add(1, Ordering::Relaxed));
        self.control.begin(&request, "w1", &record).await.unwrap()
    }

    /// What Begin answers to the record of a task that has a row.
    pub(crate) async fn begin_known(&self, task: &str) -> Begun {
        let payload = self.control.store.record(&task_id(task)).await.unwrap().unwrap();
        self.begin(RawRecord { kind: Some(record::TYPE_TASK.to_owned()), payload }).await
    }

    pub(crate) async fn run(&self, task: &str) -> Run {
        match self.begin_known(task).await {
            Begun::Run(run) => *run,
            other => panic!("expected a run of {task}, found {other:?}"),
        }
    }

    /// Writes a commit that replaces `from` in [`FILE`] of the run's base, and asks for leave to push it.
    pub(crate) async fn prepare(&self, run: &Run, from: &str, to: &str) -> Patch {
        let mirror = self.mirror().await;
        mirror.ensure_commit(&run.base, Some(BRANCH)).await.unwrap();
        let objects = mirror.objects();
        let base_tree = objects.tree_of(&run.base).unwrap();
        let old = self.read(&run.base).await;
        assert!(old.contains(from), "{from:?} is not in\n{old}");
        let content = Content::Bytes(old.replacen(from, to, 1).into_bytes());
        let new = Some(NewFile { content, mode: FileMode::Regular });
        let tree = objects.apply(&base_tree, &[FileWrite { path: FILE.into(), new }]).unwrap();
        let commit = objects
            .commit(&CommitSpec {
                tree: tree.clone(),
                parents: vec![run.base.clone()],
                message: format!("{}\n", run.task.goal),
                time_s: 1_700_000_000,
            })
            .unwrap();
        let delta = objects.delta(&base_tree, &tree).unwrap();
        let mut result = ended(run, Reason::Ok, &[]);
        result.commit = Some(commit.clone());
        result.branch = Some(run.task.id.branch());
        result.tree = Some(tree);
        result.delta_digest = Some(delta.digest());
        let bytes = encode(&result);
        let prepare = Prepare {
            run: run_ref(run),
            old: None,
            commit: commit.clone(),
            delta,
            symbols: Vec::new(),
            result: bytes.clone(),
        };
        self.control.store.prepare(&prepare, &result, self.control.now_ms()).await.unwrap().unwrap();
        Patch { commit, result, bytes, prepare }
    }

    pub(crate) async fn push(&self, patch: &Patch) {
        let branch = patch.prepare.run.task.branch();
        self.mirror().await.push(&branch, None, &patch.commit).await.unwrap();
    }

    /// Runs a task to its good end: `from` becomes `to` in [`FILE`].
    pub(crate) async fn patch(&self, task: &str, from: &str, to: &str) -> Oid {
        let run = self.run(task).await;
        let patch = self.prepare(&run, from, to).await;
        self.push(&patch).await;
        self.complete(&run, &patch.result).await;
        patch.commit
    }

    /// Runs a task to an end without a commit.
    pub(crate) async fn end(&self, task: &str, reason: Reason, notes: &[&str]) {
        let run = self.run(task).await;
        self.complete(&run, &ended(&run, reason, notes)).await;
    }

    pub(crate) async fn complete(&self, run: &Run, result: &CommitResult) {
        let (store, now_ms) = (&self.control.store, self.control.now_ms());
        store.complete(&run_ref(run), result, &encode(result), now_ms).await.unwrap().unwrap();
    }

    /// Where a branch of the remote stands.
    pub(crate) async fn branch(&self, name: &str) -> Option<Oid> {
        self.mirror().await.tip(name).await.unwrap()
    }

    /// [`FILE`] in a commit.
    pub(crate) async fn read(&self, commit: &Oid) -> String {
        let mirror = self.mirror().await;
        mirror.ensure_commit(commit, None).await.unwrap();
        let objects = mirror.objects();
        let tree = objects.tree_of(commit).unwrap();
        let blob = objects.read(&tree, &FILE.into(), 1 << 20).unwrap().unwrap();
        String::from_utf8(blob.content.unwrap()).unwrap()
    }
}

/// A result of a run that has no commit.
pub(crate) fn ended(run: &Run, reason: Reason, notes: &[&str]) -> CommitResult {
    let notes = notes.iter().map(|note| (*note).to_owned()).collect();
    let mut result = CommitResult::ended(run.task.id.clone(), reason, notes);
    result.base = Some(run.base.clone());
    result.token = run.token;
    result
}

fn encode(result: &CommitResult) -> Vec<u8> {
    v1::CommitResult::from(result).encode_to_vec()
}

fn run_ref(run: &Run) -> RunRef {
    RunRef { task: run.task.id.clone(), token: run.token }
}

pub(crate) fn repo(name: &str) -> RepoName {
    RepoName::new(name).unwrap()
}

pub(crate) fn task_id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

pub(crate) fn change_id(text: &str) -> ChangeId {
    ChangeId::new(text).unwrap()
}

/// A task of the sample repository.
pub(crate) fn task(id: &str) -> CodingTask {
    CodingTask { repository: Some(repo("greet")), ..CodingTask::new(task_id(id), format!("do {id}")) }
}

pub(crate) fn after(id: &str, predecessors: &[&str]) -> CodingTask {
    CodingTask { after: predecessors.iter().map(|id| task_id(id)).collect(), ..task(id) }
}

pub(crate) fn raw(task: &CodingTask) -> RawRecord {
    RawRecord { kind: Some(record::TYPE_TASK.to_owned()), payload: record::encode(task).0 }
}

pub(crate) fn request(id: &str, tasks: Vec<CodingTask>) -> ChangeRequest {
    ChangeRequest {
        id: Some(change_id(id)),
        repository: Some(repo("greet")),
        goal: "greet better".to_owned(),
        tasks,
        source: "test".to_owned(),
        risk: Default::default(),
        priority: 0,
    }
}
