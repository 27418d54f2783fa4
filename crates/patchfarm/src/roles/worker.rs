//! `patchfarm worker`: stateless, any number of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use farm_core::port::Context;
use farm_core::redact::{Redactor, Secret};
use farm_git::credentials::Credentials;
use farm_git::exports::Exports;
use farm_git::mirror::Mirrors;
use farm_kafka::{Consumer, Producer, Settings as KafkaSettings, StartAt};
use farm_rag::index::Limits;
use farm_rag::local::Local;
use farm_rag::remote::Remote as RemoteContext;
use farm_sandbox::{Sandbox, Settings as SandboxSettings, Toolchains};
use farm_web::health::Health;
use farm_wire::client::{Settings as ClientSettings, TasksClient};
use farm_worker::checks::BaseResults;
use farm_worker::kafka::{KafkaSink, KafkaSource};
use farm_worker::kit::{Kit, Settings as KitSettings};
use farm_worker::metrics::Metrics;
use farm_worker::worker::Worker;

use crate::failure::{Failure, Outcome, exit};
use crate::models::Models;
use crate::program::{Program, SystemClock};
use crate::roles::control::git;
use crate::roles::{TIDY, folder, kafka, registry, serve_health, topics};

/// Runs until told to stop, or for one task.
pub(crate) async fn run(program: Program, once: Option<Duration>) -> Outcome {
    let settings = &program.settings;
    let health = Health::default();
    let registry = registry("worker")?;
    let metrics = Metrics::new(&registry)?;
    let address = serve_health(&program, registry.clone(), health.clone()).await?;
    let topics = topics(settings);
    let sink = Arc::new(KafkaSink::new(
        Producer::start(kafka(settings)?)?,
        topics.clone(),
        settings.get("kafka.max-record-bytes")?,
    ));
    let kit = Arc::new(kit(&program, Arc::clone(&sink), metrics, &registry).await?);
    // Who has a name for good goes on with its partitions after a crash. A worker for one task does not come back.
    let instance = settings.optional("worker.name").filter(|_| once.is_none()).map(str::to_owned);
    let member = KafkaSettings { instance, ..kafka(settings)? };
    let consumer = Consumer::start(&member, &[topics.coding_tasks], StartAt::Committed)?;
    let source = Arc::new(KafkaSource::new(consumer));
    let metrics_of_source = kit.metrics.clone();
    let slots: u32 = settings.get("worker.slots")?;
    tracing::info!(name = kit.settings.name, slots, metrics = %address, sandbox = %kit.sandbox.tier(), "worker is ready");
    health.set_ready(true, "");
    let grace = settings.duration("worker.grace-s")?;
    let (stop, unready) = (program.stop.clone(), health.clone());
    tokio::spawn(async move {
        stop.cancelled().await;
        unready.set_ready(false, "stopping");
    });
    let tidied = Arc::clone(&kit);
    let tidying = tokio::spawn(async move { tidied.mirrors.keep_tidy(TIDY).await });
    let (watched, moved) = (Arc::clone(&source), metrics_of_source);
    let watching = tokio::spawn(async move { watched.watch(&moved).await });
    let worker = Worker::new(kit, Arc::clone(&source) as _, slots, program.stop.clone());
    let ended = match once {
        None => worker.run(grace).await.map(|()| true),
        Some(idle) => worker.run_once(idle, grace).await,
    };
    tidying.abort();
    watching.abort();
    drop(worker);
    sink.flush(Duration::from_secs(10)).await;
    if let Some(source) = Arc::into_inner(source) {
        source.close().await;
    }
    if ended? || once.is_none() {
        return Ok(());
    }
    Err(Failure::new(exit::TIMEOUT, "no task came"))
}

async fn kit(
    program: &Program,
    sink: Arc<KafkaSink>,
    metrics: Metrics,
    registry: &prometheus::Registry,
) -> Outcome<Kit> {
    let settings = &program.settings;
    let name = match settings.optional("worker.name") {
        Some(name) => name.to_owned(),
        None => format!("{}-{}", hostname(), std::process::id()),
    };
    let tasks = TasksClient::new(ClientSettings {
        url: settings.text("worker.control-url").to_owned(),
        token: program.token(),
        worker: name.clone(),
        call_timeout: Duration::from_secs(20),
        retries: 5,
    })?;
    let models = Models::find(program)?.ok_or_else(|| {
        Failure::new(
            exit::USAGE,
            "a worker needs a model: set CODING_MODEL (and OPENAI_API_KEY or OPENAI_BASE_URL), or MOCK_LLM=1 for none",
        )
    })?;
    let secrets: Vec<Secret> = models.secrets().chain(program.token()).collect();
    let model = models.client(Redactor::new(&secrets), registry)?;
    let context_timeout = settings.duration("worker.context-timeout-ms")?;
    let rag = match settings.optional("worker.rag-url") {
        Some(url) => Some(Arc::new(RemoteContext::new(url, context_timeout)?) as Arc<dyn Context>),
        None => None,
    };
    let cache_dir = folder(settings, "worker.cache-dir", "")?;
    let environment: BTreeMap<OsString, OsString> =
        program.environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let mut sandbox = SandboxSettings::new(folder(settings, "worker.cache-dir", "work")?);
    sandbox.toolchains = Toolchains::discover(&environment).await;
    let environment = format!("{:?}", sandbox.toolchains);
    let sandbox = match Sandbox::probe(sandbox.clone()).await {
        Ok(sandbox) => sandbox,
        Err(error) if settings.flag("worker.allow-no-sandbox") => {
            tracing::error!(%error, "checks run UNCONTAINED, since worker.allow-no-sandbox says so");
            Sandbox::none_audited(sandbox)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Kit {
        tasks: Arc::new(tasks),
        sink,
        clock: Arc::new(SystemClock),
        model: Arc::new(model),
        rag,
        local_search: Arc::new(Local::new(Limits { read_time: context_timeout, ..Local::LIMITS })),
        mirrors: Mirrors::open(cache_dir.join("mirrors"), git(program))?,
        exports: Exports::open(cache_dir.join("exports"), settings.get("worker.export-bytes")?)?,
        sandbox,
        base_results: BaseResults::open(cache_dir.join("base-results"))?,
        credentials: Credentials::new(program.environment.clone()),
        secrets,
        metrics,
        settings: KitSettings {
            name,
            heartbeat: settings.duration("worker.heartbeat-ms")?,
            deadline: settings.duration("worker.deadline-s")?,
            max_retries: settings.get("worker.max-retries")?,
            context_timeout,
            context_tokens: settings.get("worker.context-tokens")?,
            model_deadline: settings.duration("model.timeout-s")?,
            give_back_delay: settings.duration("worker.give-back-ms")?,
            environment: farm_core::delta::sha256(environment.as_bytes()),
        },
    })
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}
