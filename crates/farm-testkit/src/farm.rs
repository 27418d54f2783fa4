//! A farm of processes on Apache Kafka: real broker, real git over HTTP, real gRPC, real sandbox. Only the model is a script.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use farm_core::topics::Topics;
use farm_demo::git_http::GitHttp;
use farm_demo::model_server::ModelServer;
use farm_demo::model_server::script::{Rule, Script};
use farm_demo::samples::Sample;
use farm_kafka::{Delivered, Outgoing, Producer, Record, group_lag, read_to_end};
use farm_wire::record::TYPE_HEADER;
use farm_wire::{Message, v1};
use serde_json::Value;
use tempfile::TempDir;

use crate::git;
use crate::program::{Program, Ran, Role};
use crate::wait::{until, until_true};

/// The reference under which the farm's processes find who may push.
pub const CREDENTIAL: &str = "env:FARM_GIT";
/// Who may push, as [`CREDENTIAL`] and the seed's `GIT_TOKEN` hold it.
pub const PUSHER: (&str, &str) = ("farm", "push-token-of-the-tests");

/// A farm whose control runs; workers and rag are started by the test.
pub struct Farm {
    /// The remote of its repositories.
    pub git: GitHttp,
    /// The model of its workers.
    pub model: ModelServer,
    /// The names of its topics.
    pub topics: Topics,
    /// Runs verbs, and roles with further settings.
    pub program: Program,
    /// Where control's page and API are, as `http://…`.
    pub url: String,
    /// Where workers call.
    pub grpc: String,
    /// Where control's metrics are.
    pub metrics: String,
    kafka: farm_kafka::Settings,
    producer: Producer,
    repositories: PathBuf,
    _control: Role,
    // The last, since all of the above live in it.
    home: TempDir,
}

impl Drop for Farm {
    /// What a failed test leaves is what shows why.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.home.disable_cleanup(true);
            let kept = self.home.path().display();
            drop(writeln!(std::io::stderr(), "kept, with the logs of every role: {kept}"));
        }
    }
}

impl Farm {
    /// Starts one with these repositories behind the remote, none of them registered yet, and what the model answers.
    /// `settings` are for all its processes.
    pub async fn start(
        binary: &str,
        repositories: &[Sample],
        rules: Vec<Rule>,
        settings: &[(&str, &str)],
    ) -> Self {
        let bootstrap = std::env::var("KAFKA_BOOTSTRAP").unwrap_or_else(|_| {
            panic!(
                "KAFKA_BOOTSTRAP is not set: these tests need Apache Kafka; run scripts/kafka run cargo test"
            )
        });
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("repositories");
        std::fs::create_dir(&folder).unwrap();
        for repository in repositories {
            repository.build(&folder).unwrap();
        }
        let auth = (PUSHER.0.to_owned(), PUSHER.1.to_owned());
        let git = GitHttp::start(&folder, Some(auth)).await.unwrap();
        let model = ModelServer::start(Script { rules }, Duration::ZERO).await.unwrap();

        let name = unique();
        let prefix = format!("{name}.");
        let mut program = Program::new(binary, home.path())
            .env("KAFKA_BOOTSTRAP", bootstrap.as_str())
            .env("FARM_GIT", format!("{}:{}", PUSHER.0, PUSHER.1))
            .env("CODING_MODEL", "scripted")
            .env("OPENAI_BASE_URL", model.url())
            .env("OPENAI_API_KEY", "model-key-of-the-tests");
        for (key, value) in [
            ("kafka.group", name.as_str()),
            ("kafka.topic-prefix", prefix.as_str()),
            ("kafka.partitions", "4"),
            ("control.lease-ms", "5000"),
            ("control.sweep-ms", "200"),
            ("control.grpc-listen", "127.0.0.1:0"),
            ("control.http-listen", "127.0.0.1:0"),
            ("metrics.listen", "127.0.0.1:0"),
            ("worker.heartbeat-ms", "1000"),
            ("worker.give-back-ms", "300"),
            ("model.input-micro-usd", "1000000"),
            ("model.output-micro-usd", "2000000"),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        {
            program = program.set(key, value);
        }
        program.run(&["topics", "apply"]).await.good();
        let mut control = program.start("control", &["control"]);
        let ready = control.ready().await;
        let address = |name: &str| format!("http://{}", ready[name].as_str().unwrap());
        let kafka = farm_kafka::Settings { group: name, ..farm_kafka::Settings::new(bootstrap) };
        let (url, grpc) = (address("http"), address("grpc"));
        Self {
            program: program.set("url", url.as_str()).set("worker.control-url", grpc.as_str()),
            topics: Topics::with_prefix(&prefix),
            producer: Producer::start(kafka.clone()).unwrap(),
            metrics: address("metrics"),
            repositories: folder,
            git,
            model,
            url,
            grpc,
            kafka,
            _control: control,
            home,
        }
    }

    /// Registers a repository under its sample's name, as people do.
    pub async fn register(&self, sample: &Sample) {
        let url = self.git.url(&format!("{}.git", sample.name));
        self.verb(&["repo", "add", sample.name, &url, "--credential", CREDENTIAL]).await.good();
    }

    /// Starts a worker with these settings beside the farm's, waits until it is ready, and gives where its metrics are.
    pub async fn worker(&self, name: &str, settings: &[(&str, &str)]) -> (Role, String) {
        self.worker_as(self.program.clone(), name, &["worker"], settings).await
    }

    /// [`Farm::worker`], run as `program` says.
    pub async fn worker_as(
        &self,
        program: Program,
        name: &str,
        args: &[&str],
        settings: &[(&str, &str)],
    ) -> (Role, String) {
        let program = settings.iter().fold(program, |program, (key, value)| program.set(key, *value));
        // A machine of its own, as far as files go.
        let mut role = program.set("worker.name", name).set("worker.cache-dir", name).start(name, args);
        let metrics = format!("http://{}", role.ready().await["metrics"].as_str().unwrap());
        (role, metrics)
    }

    /// Starts rag and gives where it is; it gets nothing of the farm's environment.
    pub async fn rag(&self, binary: &str) -> (Role, String) {
        let program = Program::new(binary, self.program.home());
        let program = program.set("rag.listen", "127.0.0.1:0").set("metrics.listen", "127.0.0.1:0");
        let mut role = program.start("rag", &["rag"]);
        let url = format!("http://{}", role.ready().await["grpc"].as_str().unwrap());
        (role, url)
    }

    /// Runs a verb.
    pub async fn verb(&self, args: &[&str]) -> Ran {
        self.program.run(args).await
    }

    /// What control knows of a task.
    pub async fn task(&self, id: &str) -> Value {
        self.verb(&["task", "show", id, "-o", "json"]).await.good().json()
    }

    /// Puts a record on the task topic; `kind` is its `pf-type` header.
    pub async fn produce(&self, kind: Option<&str>, payload: Vec<u8>) -> Delivered {
        let headers = kind.map(|kind| (TYPE_HEADER.to_owned(), kind.as_bytes().to_vec()));
        self.send(Outgoing {
            headers: headers.into_iter().collect(),
            payload: Some(payload),
            ..Outgoing::default()
        })
        .await
    }

    /// Puts a record on the task topic, as it is given.
    pub async fn send(&self, outgoing: Outgoing) -> Delivered {
        let topic = self.topics.coding_tasks.clone();
        self.producer.send(Outgoing { topic, ..outgoing }).await.unwrap()
    }

    /// Puts a task on the task topic, as any producer may.
    pub async fn offer(&self, task: &v1::CodingTask) -> Delivered {
        self.produce(Some("task"), task.encode_to_vec()).await
    }

    /// All records of a topic.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        read_to_end(&self.kafka, topic, u32::MAX).await.unwrap()
    }

    /// Every result that was published for a task, as bytes.
    pub async fn results(&self, task: &str) -> Vec<Vec<u8>> {
        let records = self.records(&self.topics.commit_results).await;
        let own = records.into_iter().filter(|record| record.key.as_deref() == Some(task.as_bytes()));
        own.map(|record| record.payload.expect("a result is no tombstone")).collect()
    }

    /// Waits for a task's result, and checks that it is the only one so far, whatever its repeats (I1), and this task's. A
    /// record that comes again, as when a second worker joins the group, has its task's result published again.
    pub async fn result(&self, task: &str) -> v1::CommitResult {
        let results = until(&format!("a result of {task}"), async || {
            Some(self.results(task).await).filter(|results| !results.is_empty())
        })
        .await;
        assert!(results.iter().all(|result| *result == results[0]), "different results of {task}");
        let result = v1::CommitResult::decode(results[0].as_slice()).unwrap();
        assert_eq!(result.task_id, task);
        result
    }

    /// Waits until the workers have committed every record.
    pub async fn no_lag(&self) {
        let topics = [self.topics.coding_tasks.clone()];
        until_true("the group has no lag", async || group_lag(&self.kafka, &topics).await.unwrap() == 0)
            .await;
    }

    /// The folder of a repository behind the remote.
    pub fn git_dir(&self, repository: &str) -> PathBuf {
        self.repositories.join(format!("{repository}.git"))
    }

    /// Where a branch stands at the remote.
    pub fn tip(&self, repository: &str, branch: &str) -> Option<String> {
        git::resolve(&self.git_dir(repository), &format!("refs/heads/{branch}"))
    }
}

/// What stands at a path of a role's health port, and with which status.
pub async fn ask(address: &str, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// What a role counts, in Prometheus' text form.
pub async fn metrics(address: &str) -> String {
    let (status, text) = ask(address, "/metrics").await;
    assert_eq!(status, 200, "{text}");
    text
}

/// A name that no other test, run or process uses.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("it-{nanos:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
