//! The roles that one binary plays, and what they have in common.

pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod rag;
pub(crate) mod up;
pub(crate) mod worker;

use std::net::SocketAddr;

use farm_core::redact::{Redactor, Secret};
use farm_core::topics::Topics;
use farm_kafka::Settings as KafkaSettings;
use farm_model::settings::{Api, Provider, Role};
use farm_model::{Client, Keys};
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

/// The model's client; `None` if no model is set.
pub(crate) fn model(settings: &Settings, redactor: Redactor) -> Outcome<Option<Client>> {
    if settings.flag("model.mock") {
        return Ok(Some(Client::new(&farm_model::Settings::mock(), &Keys::new(), redactor)?));
    }
    if let Some(file) = settings.optional("model.replay") {
        return Ok(Some(Client::new(&farm_model::Settings::replay(file), &Keys::new(), redactor)?));
    }
    let Some(name) = settings.optional("model.name") else { return Ok(None) };
    let api = match settings.text("model.api") {
        "openai" => Api::OpenAi,
        "anthropic" => Api::Anthropic,
        _ => return Err(settings.invalid("model.api", "expected openai or anthropic").into()),
    };
    let mut provider = Provider::new(api);
    provider.base_url = settings.optional("model.base-url").map(str::to_owned);
    let mut role = Role::new("model", name);
    role.prices.input = settings.get("model.input-micro-usd")?;
    role.prices.output = settings.get("model.output-micro-usd")?;
    let mut model = farm_model::Settings::single("model", provider, name);
    model.roles = farm_model::settings::Roles::all(role);
    let keys = model_key(settings)?.map(|key| ("model".to_owned(), key));
    Ok(Some(Client::new(&model, &keys.into_iter().collect(), redactor)?))
}

/// The model's key, from the environment or a file.
pub(crate) fn model_key(settings: &Settings) -> Outcome<Option<Secret>> {
    if let Some(key) = settings.optional("model.key") {
        return Ok(Some(Secret::new(key)));
    }
    let Some(file) = settings.optional("model.key-file") else { return Ok(None) };
    let key = std::fs::read_to_string(file)
        .map_err(|error| settings.invalid("model.key-file", error.to_string()))?;
    Ok(Some(Secret::new(key.trim())))
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
