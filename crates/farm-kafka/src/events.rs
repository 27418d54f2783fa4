//! What librdkafka tells beside records: its log, at a bearable rate, and its last word on authentication.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as Native;

use crate::error::KafkaError;
use crate::settings::Settings;

/// One kind of event is logged once in this time; a broker that is down would otherwise fill the log.
const QUIET: Duration = Duration::from_secs(10);

/// Listens to one client.
#[derive(Debug)]
pub(crate) struct Events {
    secrets: Vec<String>,
    logged: Mutex<HashMap<String, Logged>>,
    auth: Mutex<Option<KafkaError>>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    n_suppressed: u64,
}

impl Events {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { secrets: settings.secrets(), logged: Mutex::default(), auth: Mutex::default() }
    }

    /// Returns the authentication failure since the last success, if there is one.
    pub(crate) fn auth(&self) -> Option<KafkaError> {
        lock(&self.auth).clone()
    }

    /// Notes that the brokers accept us.
    pub(crate) fn accepted(&self) {
        *lock(&self.auth) = None;
    }

    /// Answers how many of a kind were left out since the last one that was logged, or `None`: leave this one out.
    fn admit(&self, kind: &str) -> Option<u64> {
        let mut logged = lock(&self.logged);
        let now = Instant::now();
        match logged.get_mut(kind) {
            Some(last) if now.duration_since(last.at) < QUIET => {
                last.n_suppressed += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.n_suppressed))
            }
            None => {
                logged.insert(kind.to_owned(), Logged { at: now, n_suppressed: 0 });
                Some(0)
            }
        }
    }

    fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let text = self.redact(text);
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(facility, text, "librdkafka"),
            // Told on every start: a property meant for the other kind of client.
            _ if facility == "CONFWARN" => tracing::debug!(facility, text, "librdkafka"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(facility, text, "librdkafka"),
            _ => {
                if let Some(n_suppressed) = self.admit(facility) {
                    tracing::warn!(facility, text, n_suppressed, "librdkafka");
                }
            }
        }
    }

    fn error(&self, error: Native, reason: &str) {
        let reason = self.redact(reason);
        let read = KafkaError::from_native(&error, &reason, None);
        if matches!(read, KafkaError::Auth { .. }) {
            *lock(&self.auth) = Some(KafkaError::Auth { reason: reason.clone() });
        }
        let code = error.rdkafka_error_code().map(|code| code.to_string()).unwrap_or_default();
        if let Some(n_suppressed) = self.admit(&code) {
            tracing::warn!(code, reason, n_suppressed, "kafka error");
        }
    }
}

impl ConsumerContext for Events {}

/// Locks what no panic can leave half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_kind_is_left_out_and_another_is_not() {
        let events = Events::new(&Settings::new("localhost:9092"));
        assert_eq!(events.admit("a"), Some(0));
        assert_eq!(events.admit("a"), None);
        assert_eq!(events.admit("b"), Some(0));
    }

    #[test]
    fn secrets_are_cut_out_of_what_is_logged() {
        let mut settings = Settings::new("localhost:9092");
        settings.properties.insert("sasl.password".to_owned(), "hunter2".to_owned());
        assert_eq!(Events::new(&settings).redact("user hunter2 refused"), "user *** refused");
    }
}
