//! What every role and verb is given: settings, environment, and the word to stop.

use std::collections::BTreeMap;

use farm_core::port::Clock;
use farm_core::redact::Secret;
use tokio_util::sync::CancellationToken;

use crate::failure::Outcome;
use crate::settings::Settings;

/// The process, as far as roles and verbs may know it.
#[derive(Clone)]
pub(crate) struct Program {
    /// The settings.
    pub settings: Settings,
    /// The environment as it was at the start; nothing reads it later.
    pub environment: BTreeMap<String, String>,
    /// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
    pub stop: CancellationToken,
}

impl Program {
    /// Control's bearer token, if one is set.
    pub(crate) fn token(&self) -> Option<Secret> {
        self.settings.optional("token").map(Secret::new)
    }

    /// The same program with other settings.
    pub(crate) fn with(&self, settings: Settings) -> Self {
        Self { settings, ..self.clone() }
    }
}

/// The wall clock of this machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        elapsed.map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Cancels `stop` at the first signal and ends the process at the second.
pub(crate) fn stop_on_signals(stop: CancellationToken) -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                tracing::info!("stopping; a second signal ends at once");
                stop.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(())
}
