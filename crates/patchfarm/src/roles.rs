//! The roles that one binary plays, and what they have in common.

pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod rag;
pub(crate) mod up;
pub(crate) mod worker;

use std::net::SocketAddr;

use farm_core::topics::Topics;
use farm_kafka::Settings as KafkaSettings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Outcome, exit};
use crate::program::Program;
use crate::settings::{Settings, SettingsError};

/// Binds an address of the settings; port 0 takes a free one.
pub(crate) async fn bind(settings: &Settings, key: &'static str) -> Outcome<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(settings.text(key))
        .await
        .map_err(|error| settings.invalid(key, format!("cannot listen there: {error}")))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// How Kafka is reached.
pub(crate) fn kafka(settings: &Settings) -> Result<KafkaSettings, SettingsError> {
    let mut kafka = KafkaSettings::new(settings.text("kafka.bootstrap"));
    kafka.group = settings.text("kafka.group").to_owned();
    kafka.properties = settings.kafka_properties()?;
    kafka.max_record_bytes = settings.get("kafka.max-record-bytes")?;
    Ok(kafka)
}

/// The topics' names.
pub(crate) fn topics(settings: &Settings) -> Topics {
    Topics::with_prefix(settings.text("kafka.topic-prefix"))
}

/// Serves health and metrics to the end of the process: a role that drains is still watched.
pub(crate) async fn serve_health(
    program: &Program,
    registry: prometheus::Registry,
    health: farm_web::health::Health,
) -> Outcome<SocketAddr> {
    let (listener, address) = bind(&program.settings, "metrics.listen").await?;
    tokio::spawn(async move {
        let never = CancellationToken::new();
        if let Err(error) = farm_web::health::serve(listener, registry, health, never).await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(address)
}

/// A registry with what every role tells of itself.
pub(crate) fn registry(role: &str) -> Outcome<prometheus::Registry> {
    let registry = prometheus::Registry::new();
    let info = prometheus::IntGaugeVec::new(
        prometheus::Opts::new("patchfarm_build_info", "Version of this program."),
        &["version", "role"],
    )?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION"), role]).set(1);
    registry.register(Box::new(info))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// How often mirrors are looked after.
pub(crate) const TIDY: std::time::Duration = std::time::Duration::from_secs(3600);

/// A folder of the settings, made if it is not there.
pub(crate) fn folder(settings: &Settings, key: &'static str, below: &str) -> Outcome<std::path::PathBuf> {
    let path = std::path::Path::new(settings.text(key)).join(below);
    std::fs::create_dir_all(&path)
        .map_err(|error| settings.invalid(key, format!("cannot be made: {error}")))?;
    std::fs::canonicalize(&path)
        .map_err(|error| Failure::new(exit::FAILURE, format!("{}: {error}", path.display())))
}
