//! Structured logs on standard error.

use tracing_subscriber::EnvFilter;

use crate::settings::{Settings, SettingsError};

/// Starts logging, once a process.
pub(crate) fn start(settings: &Settings) -> Result<(), SettingsError> {
    let filter = EnvFilter::try_new(settings.text("log.filter"))
        .map_err(|error| settings.invalid("log.filter", error.to_string()))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.text("log.format") {
        "json" => logs.json().try_init(),
        "text" => logs.with_target(false).try_init(),
        _ => return Err(settings.invalid("log.format", "expected text or json")),
    };
    started.map_err(|error| settings.invalid("log.format", error.to_string()))
}
