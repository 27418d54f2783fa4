//! A control with a store and a git remote in a temporary folder, served on a free port.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use farm_control::control::{Control, Settings};
use farm_control::metrics::Metrics;
use farm_control::publish::Publisher;
use farm_core::delta::FileMode;
use farm_core::id::{Oid, TaskId};
use farm_core::port::Clock;
use farm_core::reason::Reason;
use farm_core::redact::Secret;
use farm_core::result::{CheckReport, CommitResult, Usage, Verdict};
use farm_core::service::{Begun, Phase, Prepare, RawRecord, Run, RunRef, Step};
use farm_core::task::{CheckKind, Expectation};
use farm_core::topics::Topics;
use farm_demo::samples::{BRANCH, GREET};
use farm_git::command::GitSettings;
use farm_git::credentials::Credentials;
use farm_git::mirror::Mirrors;
use farm_git::objects::{CommitSpec, Content, FileWrite, NewFile};
use farm_kafka::{Producer, Settings as Kafka};
use farm_store::{Options, Reserved, Store};
use farm_wire::{Message, record, v1};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Markup, an attribute's end, a bidirectional override and a terminal control.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script>\" onload=\"x\u{202e}\u{1b}[31m&amp;";

/// What of [`HOSTILE`] may never be in a page.
pub(crate) const PAYLOADS: [&str; 5] = ["<script>alert", "\" onload", "\u{202e}", "\u{1b}", "&amp;amp;\""];

/// Milliseconds, rising at every look, so that no two moments are one.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) struct Farm {
    pub(crate) control: Arc<Control>,
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    pub(crate) stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Farm {
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    pub(crate) async fn with(token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(|result| v1::CommitResult::from(result).encode_to_vec());
        let store = Store::open(&folder.path().join("farm.db"), options, 1_700_000_000_000).await.unwrap();
        let git = GitSettings { path: std::env::var_os("PATH").unwrap(), ..GitSettings::default() };
        let control = Arc::new(Control {
            store,
            mirrors: Mirrors::open(folder.path().join("mirrors"), git).unwrap(),
            credentials: Credentials::new([]),
            model: None,
            tips: Default::default(),
            publisher: Publisher::new(
                Producer::start(Kafka::new("127.0.0.1:1")).unwrap(),
                Topics::with_prefix("t."),
            ),
            clock: Arc::new(Ticks(AtomicU64::new(1_700_000_000_000))),
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            settings: Settings::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let token = token.map(Secret::new);
        let server = tokio::spawn(farm_web::server::serve(listener, control.clone(), token, stop.clone()));
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .build()
            .unwrap();
        Self { control, base, client, folder, stop, server }
    }

    /// With the sample repository `greet` registered over the API.
    pub(crate) async fn with_repository() -> Self {
        let farm = Self::start().await;
        let body = farm.repository_body("greet", BRANCH);
        assert_eq!(farm.post("/api/v1/repositories", &body).await.0, StatusCode::CREATED);
        farm
    }

    /// A registration of the sample, which is built at the first call.
    pub(crate) fn repository_body(&self, name: &str, target: &str) -> Value {
        let path = self.folder.path().join("greet.git");
        if !path.exists() {
            GREET.build(self.folder.path()).unwrap();
        }
        json!({ "name": name, "url": path.to_str().unwrap(), "target": target })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.request(Method::GET, path)).await
    }

    /// The JSON of a call that succeeds.
    pub(crate) async fn found(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        read(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn page(&self, path: &str) -> (StatusCode, String) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// A change `c1` of one task with this goal.
    pub(crate) async fn submit(&self, task: &str, goal: &str) {
        let body = json!({
            "id": format!("c-{task}"), "repository": "greet", "goal": goal,
            "tasks": [{ "id": task, "goal": goal, "checks": [] }],
        });
        let (status, answer) = self.post("/api/v1/changes", &body).await;
        assert_eq!((status, answer), (StatusCode::CREATED, json!({ "id": format!("c-{task}") })));
    }

    /// Begins a task, as a worker does.
    pub(crate) async fn begin(&self, task: &str) -> Run {
        let payload = self.control.store.record(&id(task)).await.unwrap().unwrap();
        let raw = RawRecord { kind: Some(record::TYPE_TASK.to_owned()), payload };
        match self.control.begin(&format!("request-{task}"), "worker-1", &raw).await.unwrap() {
            Begun::Run(run) => *run,
            other => panic!("expected a run of {task}, found {other:?}"),
        }
    }

    pub(crate) async fn report(&self, run: &Run, detail: &str) {
        let step = Step {
            at_ms: self.control.now_ms(),
            attempt: 1,
            phase: Phase::Strategy,
            duration_ms: 1_500,
            summary: format!("asked the model {detail}"),
            detail: detail.to_owned(),
        };
        self.control.store.report(&run_ref(run), vec![step]).await.unwrap();
    }

    /// Takes a lease on a file for a task that runs.
    pub(crate) async fn reserve(&self, run: &Run, path: &str) {
        let (store, now) = (&self.control.store, self.control.now_ms());
        let paths = vec![path.to_owned()];
        let reserved =
            store.reserve("reserve", &run.repository.name, paths, &run.task.id, now).await.unwrap();
        assert!(matches!(reserved, Reserved::Given(_)), "{reserved:?}");
    }

    /// Pushes a commit that adds `notes.txt` with this content, and completes.
    pub(crate) async fn succeed(&self, run: &Run, content: &str) -> Oid {
        let mirror = self.control.mirror(&run.repository).await.unwrap();
        mirror.ensure_commit(&run.base, Some(BRANCH)).await.unwrap();
        let objects = mirror.objects();
        let base_tree = objects.tree_of(&run.base).unwrap();
        let new = NewFile { content: Content::Bytes(content.into()), mode: FileMode::Regular };
        let write = FileWrite { path: "notes.txt".into(), new: Some(new) };
        let tree = objects.apply(&base_tree, &[write]).unwrap();
        let commit = objects
            .commit(&CommitSpec {
                tree: tree.clone(),
                parents: vec![run.base.clone()],
                message: "add notes\n".to_owned(),
                time_s: 1_700_000_000,
            })
            .unwrap();
        let delta = objects.delta(&base_tree, &tree).unwrap();
        let mut result = self.result(run, Reason::Ok, vec![HOSTILE.to_owned()]);
        result.commit = Some(commit.clone());
        result.branch = Some(run.task.id.branch());
        result.tree = Some(tree);
        result.delta_digest = Some(delta.digest());
        let bytes = v1::CommitResult::from(&result).encode_to_vec();
        let prepare = Prepare {
            run: run_ref(run),
            old: None,
            commit: commit.clone(),
            delta,
            symbols: Vec::new(),
            result: bytes.clone(),
        };
        let (store, now) = (&self.control.store, self.control.now_ms());
        store.prepare(&prepare, &result, now).await.unwrap().unwrap();
        mirror.push(&run.task.id.branch(), None, &commit).await.unwrap();
        store.complete(&run_ref(run), &result, &bytes, now).await.unwrap().unwrap();
        commit
    }

    /// Completes without a commit.
    pub(crate) async fn fail(&self, run: &Run, note: &str) {
        let result = self.result(run, Reason::ChecksFailed, vec![note.to_owned()]);
        let bytes = v1::CommitResult::from(&result).encode_to_vec();
        let now = self.control.now_ms();
        self.control.store.complete(&run_ref(run), &result, &bytes, now).await.unwrap().unwrap();
    }

    fn result(&self, run: &Run, reason: Reason, notes: Vec<String>) -> CommitResult {
        let verdict = if reason == Reason::Ok { Verdict::Pass } else { Verdict::Fail };
        CommitResult {
            change: run.task.change.clone(),
            repository: run.task.repository.clone(),
            base: Some(run.base.clone()),
            attempts: 2,
            checks: vec![CheckReport {
                name: "unit".to_owned(),
                kind: CheckKind::Test,
                expect: Expectation::NoWorse,
                verdict,
                exit_code: Some(1),
                duration_ms: 40,
                tests: None,
                new_failures: vec![format!("test {HOSTILE}")],
                output: format!("output {HOSTILE}"),
                found_in: "task".to_owned(),
            }],
            usage: Usage {
                calls: 1,
                prompt_tokens: 900,
                completion_tokens: 100,
                cost_micro_usd: 1_500,
                cached_tokens: 0,
            },
            token: run.token,
            model: format!("model {HOSTILE}"),
            suggested_checks: vec![HOSTILE.to_owned()],
            ..CommitResult::ended(run.task.id.clone(), reason, notes)
        }
    }

    /// Tells the server to stop; answers how it ended.
    pub(crate) async fn stopped(self) -> std::io::Result<()> {
        self.stop.cancel();
        self.server.await.unwrap()
    }
}

pub(crate) fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

pub(crate) fn run_ref(run: &Run) -> RunRef {
    RunRef { task: run.task.id.clone(), token: run.token }
}

/// The status and the body; an empty body is `null`.
pub(crate) async fn read(request: RequestBuilder) -> (StatusCode, Value) {
    let answer: Response = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(json!(text)) };
    (status, body)
}
