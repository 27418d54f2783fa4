//! Where the brokers are and how to speak to them.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::error::KafkaError;

/// The group of the workers, as the seed named it (DESIGN §7).
const DEFAULT_GROUP: &str = "coding-agent";
const DEFAULT_CLIENT_ID: &str = "patchfarm";
/// What a broker takes by default, less room for the framing of a batch.
const DEFAULT_MAX_RECORD_BYTES: usize = 1_000_000;
/// The limits of librdkafka's `message.max.bytes`.
const MAX_RECORD_BYTES_RANGE: std::ops::RangeInclusive<usize> = 1_000..=1_000_000_000;

/// What one fetch asks for. A larger record still comes: a broker always sends the first batch whole.
const FETCH_MAX_BYTES: usize = 16 << 20;
/// The largest answer that is taken. Far above any sane `max.message.bytes`, so that whatever a broker accepted is
/// delivered, and can be dead-lettered above us instead of wedging its partition for ever.
const RECEIVE_MAX_BYTES: usize = 256 << 20;

/// Properties that a promise of this crate rests on, or that have a setting of their own.
const DECIDED: [&str; 10] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "log.queue",
    "message.max.bytes",
];

/// How to reach the brokers. `Debug` leaves out the values of properties, since some are secrets.
#[derive(Clone)]
pub struct Settings {
    /// Comma-separated `host:port`.
    pub bootstrap: String,
    /// The consumer group; only [`Consumer`](crate::Consumer) and [`group_lag`](crate::group_lag) use it.
    pub group: String,
    /// A name for this member of the group that outlives it, and that no other member has: whoever comes back with it within
    /// the session timeout, as after a crash, has its partitions at once, and no other member notices.
    pub instance: Option<String>,
    pub client_id: String,
    /// Any property of librdkafka, `security.*`, `ssl.*` and `sasl.*` as well; they win over our defaults.
    pub properties: BTreeMap<String, String>,
    /// The largest record that the producer sends; what is read may be larger.
    pub max_record_bytes: usize,
}

impl Settings {
    /// Makes settings with the farm's defaults for the brokers at `bootstrap`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            group: DEFAULT_GROUP.to_owned(),
            instance: None,
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            properties: BTreeMap::new(),
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
        }
    }

    /// Configures a consumer. One that only asks questions or reads without a group may have an empty group.
    pub(crate) fn consumer(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        let fetch_max = FETCH_MAX_BYTES.max(self.max_record_bytes);
        config
            // The classic protocol: librdkafka 2.12 may die of a missed poll under the new one (its issue 5488).
            .set("group.protocol", "classic")
            .set("group.id", if self.group.is_empty() { DEFAULT_CLIENT_ID } else { &self.group })
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "45000")
            .set("heartbeat.interval.ms", "3000")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            // A topic that is made, or gets partitions, while we run is found within this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // What the lag is read from.
            .set("statistics.interval.ms", "5000")
            // Little is read ahead: a rebalance would throw it away.
            .set("queued.min.messages", "16")
            .set("queued.max.messages.kbytes", "16384")
            // A partition whose read-ahead was full waits for the fetch under way, hence far below the default of 500.
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", (1_usize << 20).to_string())
            .set("fetch.max.bytes", fetch_max.to_string())
            .set("receive.message.max.bytes", RECEIVE_MAX_BYTES.max(fetch_max + (1 << 20)).to_string());
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        self.finish(config)
    }

    /// Configures a producer that loses and doubles nothing while it lives.
    pub(crate) fn producer(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("message.timeout.ms", "30000")
            .set("topic.metadata.propagation.max.ms", "10000")
            .set("topic.metadata.refresh.interval.ms", "10000");
        self.finish(config)
    }

    /// Names the values that may not show in a log: those of properties that hold credentials.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let secret = |name: &str| {
            ["password", "secret", "token", "pem", "jaas"].iter().any(|part| name.contains(part))
        };
        let values = self.properties.iter().filter(|(name, value)| secret(name) && value.len() >= 3);
        values.map(|(_, value)| value.clone()).collect()
    }

    fn finish(&self, mut config: ClientConfig) -> Result<ClientConfig, KafkaError> {
        if self.bootstrap.trim().is_empty() {
            return Err(refused("bootstrap.servers", "is empty; give the brokers as host:port, with commas"));
        }
        if !MAX_RECORD_BYTES_RANGE.contains(&self.max_record_bytes) {
            let problem = format!("is {}; it must lie in {MAX_RECORD_BYTES_RANGE:?}", self.max_record_bytes);
            return Err(refused("message.max.bytes", &problem));
        }
        config
            .set("bootstrap.servers", self.bootstrap.trim())
            .set("client.id", &self.client_id)
            .set("message.max.bytes", self.max_record_bytes.to_string())
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "3000");
        for (name, value) in &self.properties {
            if DECIDED.contains(&name.as_str()) {
                return Err(refused(name, "is decided by the farm or has a setting of its own; remove it"));
            }
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> =
            self.properties.keys().map(|name| (name.as_str(), "(not shown)")).collect();
        f.debug_struct("Settings")
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("client_id", &self.client_id)
            .field("properties", &properties)
            .field("max_record_bytes", &self.max_record_bytes)
            .finish()
    }
}

fn refused(name: &str, problem: &str) -> KafkaError {
    KafkaError::Property { name: name.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Settings {
        let mut settings = Settings::new("localhost:9092");
        settings.properties.insert(name.to_owned(), value.to_owned());
        settings
    }

    #[test]
    fn librdkafka_is_built_with_tls_sasl_and_every_codec() {
        let native = Settings::new("localhost:9092").consumer().unwrap().create_native_config().unwrap();
        let features = native.get("builtin.features").unwrap();
        let features: Vec<&str> = features.split(',').collect();
        for needed in ["ssl", "sasl_scram", "sasl_plain", "gzip", "zstd", "lz4", "snappy"] {
            assert!(features.contains(&needed), "{needed} is missing in {features:?}");
        }
    }

    #[test]
    fn properties_win_over_defaults_but_not_over_promises() {
        let config = with("session.timeout.ms", "6000").consumer().unwrap();
        assert_eq!(config.get("session.timeout.ms"), Some("6000"));
        for name in DECIDED {
            let error = with(name, "hunter2").consumer().unwrap_err();
            assert!(matches!(&error, KafkaError::Property { name: n, .. } if n == name), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn values_of_properties_show_neither_in_debug_nor_in_errors() {
        let settings = with("sasl.password", "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        assert_eq!(settings.secrets(), ["hunter2"]);
        let config = with("security.protocol", "hunter2").producer().unwrap();
        let native = config.create_native_config().map(|_| ()).unwrap_err();
        let error = KafkaError::from_native(&native, "", None);
        assert!(
            matches!(&error, KafkaError::Property { name, .. } if name == "security.protocol"),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn a_record_limit_outside_of_librdkafkas_range_is_refused() {
        for max_record_bytes in [0, 999, 1_000_000_001] {
            let settings = Settings { max_record_bytes, ..Settings::new("localhost:9092") };
            assert!(matches!(settings.producer(), Err(KafkaError::Property { .. })), "{max_record_bytes}");
        }
        let settings = Settings { max_record_bytes: 1_000_000_000, ..Settings::new("localhost:9092") };
        assert!(settings.consumer().unwrap().create_native_config().is_ok());
    }

    #[test]
    fn no_brokers_is_an_error_that_says_so() {
        let error = Settings::new(" ").producer().unwrap_err().to_string();
        assert!(error.contains("bootstrap.servers is empty"), "{error}");
    }
}
