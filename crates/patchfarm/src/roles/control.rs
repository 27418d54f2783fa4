//! `patchfarm control`: the store and all that only one process may do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farm_control::control::{Control, Settings as ControlSettings};
use farm_control::metrics::Metrics;
use farm_control::publish::Publisher;
use farm_control::tips::Tips;
use farm_control::{dispatch, intake, phases, server, sweep};
use farm_core::id::RepoName;
use farm_core::policy::Policy;
use farm_core::port::Model;
use farm_core::redact::Redactor;
use farm_core::result::CommitResult;
use farm_core::service::Repository;
use farm_core::state::ChangeState;
use farm_git::command::GitSettings;
use farm_git::credentials::Credentials;
use farm_git::mirror::Mirrors;
use farm_kafka::{Consumer, Producer, StartAt};
use farm_store::{Options, Store, StoreError};
use farm_web::health::Health;
use farm_wire::{Message, v1};
use tokio::task::JoinSet;

use crate::failure::Outcome;
use crate::models::Models;
use crate::program::{Program, SystemClock};
use crate::roles::{TIDY, bind, folder, kafka, registry, serve_health, topics};

/// Control, under way.
pub(crate) struct Started {
    /// Where workers call.
    pub grpc: SocketAddr,
    /// Page and API.
    pub http: SocketAddr,
    /// Health and metrics.
    pub metrics: SocketAddr,
    control: Arc<Control>,
    parts: JoinSet<()>,
}

/// The name of the repository that `REMOTE_REPO` registers.
const DEFAULT_REPOSITORY: &str = "default";

/// Runs until told to stop.
pub(crate) async fn run(program: Program) -> Outcome {
    let started = start(&program).await?;
    tracing::info!(grpc = %started.grpc, http = %started.http, metrics = %started.metrics, "control is ready");
    program.stop.cancelled().await;
    started.end().await;
    Ok(())
}

/// Starts every part and returns when all listen.
pub(crate) async fn start(program: &Program) -> Outcome<Started> {
    let settings = &program.settings;
    let registry = registry("control")?;
    let metrics = Metrics::new(&registry)?;
    let health = Health::default();
    let metrics_address = serve_health(program, registry.clone(), health.clone()).await?;
    let control = Arc::new(control(program, metrics, &registry).await?);
    register_default(&control, program).await?;
    // Whether the topic still holds what was offered nobody can know after a restart; offering twice harms nothing.
    control.store.forget_offers().await?;

    let (grpc_listener, grpc) = bind(settings, "control.grpc-listen").await?;
    let (http_listener, http) = bind(settings, "control.http-listen").await?;
    if program.token().is_none() && !(grpc.ip().is_loopback() && http.ip().is_loopback()) {
        tracing::warn!(%grpc, %http, "whoever reaches these addresses may do anything: set PATCHFARM_TOKEN");
    }
    let partitions = partitions(program).await;
    let requests = Consumer::start(
        &farm_kafka::Settings {
            group: format!("{}-control", settings.text("kafka.group")),
            ..kafka(settings)?
        },
        &[topics(settings).change_requests],
        StartAt::Committed,
    )?;

    let mut parts = JoinSet::new();
    let stop = || program.stop.clone();
    parts.spawn(dispatch::run(Arc::clone(&control), partitions, stop()));
    parts.spawn(sweep::run(Arc::clone(&control), stop()));
    parts.spawn(phases::run(Arc::clone(&control), stop()));
    parts.spawn(intake::run(Arc::clone(&control), requests, stop()));
    parts.spawn(gauges(Arc::clone(&control), stop()));
    parts.spawn(proofs(Arc::clone(&control), stop()));
    let (tidied, stopped) = (Arc::clone(&control), stop());
    parts.spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = tidied.mirrors.keep_tidy(TIDY) => {}
        }
    });
    let serving = server::serve(Arc::clone(&control), grpc_listener, program.token(), stop());
    parts.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "workers are not served any more");
        }
    });
    let serving = farm_web::server::serve(http_listener, Arc::clone(&control), program.token(), stop());
    parts.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "page and API are not served any more");
        }
    });
    health.set_ready(true, "");
    Ok(Started { grpc, http, metrics: metrics_address, control, parts })
}

impl Started {
    /// Waits for every part to end, for a short time, and closes the store.
    pub(crate) async fn end(mut self) {
        let parts = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), parts).await.is_err() {
            tracing::warn!("some parts of control did not end in time");
            self.parts.abort_all();
        }
        if let Err(error) = self.control.publisher.flush(Duration::from_secs(5)).await {
            tracing::warn!(%error, "kafka took not everything before the end; it is sent again after the start");
        }
        self.control.store.close().await;
    }
}

async fn control(program: &Program, metrics: Metrics, registry: &prometheus::Registry) -> Outcome<Control> {
    let settings = &program.settings;
    let mut options = Options::new(|result: &CommitResult| v1::CommitResult::from(result).encode_to_vec());
    options.lease_ms = settings.get("control.lease-ms")?;
    options.max_runs = settings.get("control.max-runs")?;
    options.offer_timeout_ms = settings.get("control.offer-timeout-ms")?;
    let store = Store::open(Path::new(settings.text("control.store")), options, now_ms()).await?;
    let model = match Models::find(program)? {
        Some(models) => {
            let secrets: Vec<_> = models.secrets().chain(program.token()).collect();
            Some(Arc::new(models.client(Redactor::new(&secrets), registry)?) as Arc<dyn Model>)
        }
        None => None,
    };
    let default = settings.optional("control.default-repository").map(|_| RepoName::new(DEFAULT_REPOSITORY));
    Ok(Control {
        store,
        mirrors: Mirrors::open(folder(settings, "control.cache-dir", "mirrors")?, git(program))?,
        credentials: Credentials::new(program.environment.clone()),
        model,
        tips: Tips::default(),
        publisher: Publisher::new(Producer::start(kafka(settings)?)?, topics(settings)),
        clock: Arc::new(SystemClock),
        metrics,
        settings: ControlSettings {
            default_repository: default.transpose()?,
            max_record_bytes: settings.get("kafka.max-record-bytes")?,
            sweep_interval: settings.duration("control.sweep-ms")?,
            model_deadline: settings.duration("model.timeout-s")?,
            ..ControlSettings::default()
        },
    })
}

/// How git is run: with the `PATH` and the proxy of this process and nothing else of it.
pub(crate) fn git(program: &Program) -> GitSettings {
    const PASSED: [&str; 7] = [
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "SSH_AUTH_SOCK",
    ];
    let mut git = GitSettings::default();
    if let Some(path) = program.environment.get("PATH") {
        git.path = path.into();
    }
    git.env = PASSED
        .iter()
        .filter_map(|name| program.environment.get(*name).map(|value| ((*name).into(), value.into())))
        .collect();
    git
}

fn now_ms() -> u64 {
    use farm_core::port::Clock;
    SystemClock.now_ms()
}

/// The seed's one repository, for tasks that name none.
async fn register_default(control: &Control, program: &Program) -> Outcome {
    let (Some(name), Some(url)) =
        (&control.settings.default_repository, program.settings.optional("control.default-repository"))
    else {
        return Ok(());
    };
    if control.store.repository(name).await?.is_some_and(|known| known.url == url) {
        return Ok(());
    }
    let repository = Repository {
        name: name.clone(),
        url: url.to_owned(),
        target: program.settings.text("control.default-target").to_owned(),
        credential: program
            .environment
            .get("GIT_TOKEN")
            .filter(|token| !token.is_empty())
            .map(|_| "env:GIT_TOKEN".to_owned()),
        checks: None,
        policy: Policy::default(),
    };
    Ok(control.store.put_repository(repository, "settings", control.now_ms()).await?)
}

/// The topic's partitions; while Kafka does not tell, what the settings say.
async fn partitions(program: &Program) -> u32 {
    let configured = program.settings.get("kafka.partitions").unwrap_or(1);
    let Ok(kafka) = kafka(&program.settings) else { return configured };
    match farm_kafka::partitions(&kafka, &topics(&program.settings).coding_tasks).await {
        Ok(found) => u32::try_from(found).unwrap_or(configured).max(1),
        Err(error) => {
            tracing::warn!(%error, configured, "kafka does not tell the topic's partitions");
            configured
        }
    }
}

async fn gauges(control: Arc<Control>, stop: tokio_util::sync::CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = count(&control).await {
            tracing::warn!(%error, "tasks and changes cannot be counted");
        }
    }
}

async fn count(control: &Control) -> Result<(), StoreError> {
    let (store, metrics) = (&control.store, &control.metrics);
    let gauge = |n| i64::try_from(n).unwrap_or(i64::MAX);
    let tasks = store.counts().await?;
    for (state, n) in [("queued", tasks.queued), ("running", tasks.running), ("done", tasks.done)] {
        metrics.tasks.with_label_values(&[state]).set(gauge(n));
    }
    let changes = store.change_counts().await?;
    for state in ChangeState::ALL {
        let n = changes.get(&state).copied().unwrap_or_default();
        metrics.changes.with_label_values(&[state.name()]).set(gauge(n));
    }
    metrics.ledger_entries.inc_by(store.ledger_len().await?.saturating_sub(metrics.ledger_entries.get()));
    Ok(())
}

/// How often the whole ledger is verified.
const PROVE: Duration = Duration::from_secs(3600);

async fn proofs(control: Arc<Control>, stop: tokio_util::sync::CancellationToken) {
    let mut ticks = tokio::time::interval(PROVE);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match control.store.verify_ledger().await {
            Ok(Ok(_)) => control.metrics.ledger_verify_ok.set(1),
            Ok(Err(broken)) => {
                control.metrics.ledger_verify_ok.set(0);
                tracing::error!(%broken, "the ledger is broken");
            }
            Err(error) => tracing::warn!(%error, "the ledger cannot be read; it is looked at again"),
        }
    }
}
