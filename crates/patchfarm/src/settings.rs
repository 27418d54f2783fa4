//! Settings: one table of keys, four layers (defaults < `patchfarm.toml` < environment < flags), each value with its origin.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

/// One setting. The environment name is `PATCHFARM_` and the key in capitals, plus the seed's name where it had one.
struct Key {
    name: &'static str,
    default: &'static str,
    seed_name: &'static str,
    secret: bool,
    help: &'static str,
}

const fn key(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, seed_name: "", secret: false, help }
}

const fn seed(key: Key, seed_name: &'static str) -> Key {
    Key { seed_name, ..key }
}

const fn secret(key: Key) -> Key {
    Key { secret: true, ..key }
}

/// Every setting, in the order in which `config show` prints them.
const KEYS: &[Key] = &[
    key("url", "http://127.0.0.1:8080", "control's HTTP address, for the verbs of people"),
    secret(key("token", "", "bearer token of control's API and gRPC; empty: none, loopback only")),
    seed(key("kafka.bootstrap", "127.0.0.1:9092", "brokers, comma-separated"), "KAFKA_BOOTSTRAP"),
    key("kafka.group", "coding-agent", "consumer group of the workers"),
    key("kafka.topic-prefix", "", "put before each topic's name"),
    key("kafka.partitions", "12", "partitions of coding-tasks, for `topics apply`"),
    key("kafka.replication", "1", "replication of the topics, for `topics apply`"),
    secret(key(
        "kafka.properties",
        "",
        "librdkafka properties, `name=value` separated by commas or newlines",
    )),
    key("kafka.max-record-bytes", "1000000", "the largest record that is taken or sent"),
    key("control.store", "patchfarm.db", "the store's file"),
    key("control.cache-dir", ".patchfarm/control", "mirrors"),
    key("control.grpc-listen", "127.0.0.1:9090", "task service and reservations"),
    key("control.http-listen", "127.0.0.1:8080", "page and API"),
    seed(
        key("control.default-repository", "", "URL of the repository of tasks that name none"),
        "REMOTE_REPO",
    ),
    key("control.default-target", "main", "its target branch"),
    key("control.lease-ms", "120000", "how long a run's lease lasts unless renewed"),
    key("control.max-runs", "5", "how often a task may be begun"),
    key("control.offer-timeout-ms", "30000", "when an offer that nobody began is made again"),
    key("control.sweep-ms", "1000", "how often the sweep looks"),
    key("worker.name", "", "names the worker, and no other, for good; empty: host and process id"),
    key("worker.control-url", "http://127.0.0.1:9090", "the task service"),
    key("worker.rag-url", "", "the context service; empty: the worker's own search"),
    key("worker.slots", "4", "runs at once"),
    key("worker.cache-dir", ".patchfarm/worker", "mirrors, exports, base results, workspaces"),
    key("worker.heartbeat-ms", "30000", "how often a lease is renewed"),
    key("worker.deadline-s", "900", "how long a run may take"),
    key("worker.grace-s", "960", "how long runs may go on after SIGTERM"),
    key("worker.max-retries", "2", "attempts beyond the first"),
    key("worker.context-tokens", "6000", "what the context may fill"),
    key("worker.context-timeout-ms", "1500", "how long the context service may take"),
    key(
        "worker.give-back-ms",
        "5000",
        "the least pause before a run that nobody is to blame for is tried again",
    ),
    key("worker.export-bytes", "10000000000", "disk for shared base trees"),
    key(
        "worker.allow-no-sandbox",
        "false",
        "run checks uncontained where no sandbox is to be had; stamped in each result",
    ),
    key("rag.listen", "127.0.0.1:9100", "the context service"),
    key("rag.cache-bytes", "512000000", "memory for extracted blobs"),
    seed(key("model.name", "", "the model of every role; empty: no model"), "CODING_MODEL"),
    key("model.api", "openai", "openai (chat completions) or anthropic (messages)"),
    seed(key("model.base-url", "", "the service; empty: the API's own"), "OPENAI_BASE_URL"),
    seed(secret(key("model.key", "", "its key")), "OPENAI_API_KEY"),
    key("model.key-file", "", "a file that holds the key, instead"),
    key(
        "model.file",
        "",
        "providers and roles as docs/models.md describes them, instead of the model.* settings",
    ),
    key("model.temperature", "0.1", "0 repeats itself most"),
    key("model.output-tokens", "8192", "where a reply is cut off"),
    key("model.timeout-s", "120", "how long a model call may take, its retries included"),
    key("model.input-micro-usd", "0", "price of a million input tokens"),
    key("model.output-micro-usd", "0", "price of a million output tokens"),
    seed(key("model.mock", "false", "no model is asked; each task appends a line"), "MOCK_LLM"),
    key("model.replay", "", "replies come from this file"),
    key("metrics.listen", "127.0.0.1:9600", "health and metrics of every role"),
    key("log.filter", "info", "what is logged, as tracing's EnvFilter reads it"),
    key("log.format", "text", "text or json"),
];

/// Every value with its origin.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Clone)]
struct Value {
    text: String,
    origin: String,
}

/// A value that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Nobody knows this key.
    #[error("{origin}: there is no setting {key:?}{hint}")]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: String,
        /// The nearest key, if one is near.
        hint: String,
    },
    /// The value does not read as what it must be.
    #[error("{origin}: {key} = {value:?}: {detail}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What stands there; secrets are not shown.
        value: String,
        /// Where it stands.
        origin: String,
        /// What was expected.
        detail: String,
    },
    /// The file cannot be read.
    #[error("{file}: {detail}")]
    File {
        /// Which file.
        file: String,
        /// Why.
        detail: String,
    },
}

impl Settings {
    /// Puts the layers together. `file` is read if it is there, and must be there if it was `named`.
    pub(crate) fn load(
        file: &Path,
        named: bool,
        environment: &BTreeMap<String, String>,
        flags: &[String],
    ) -> Result<Self, SettingsError> {
        let defaults = KEYS
            .iter()
            .map(|key| (key.name, Value { text: key.default.to_owned(), origin: "default".to_owned() }));
        let mut settings = Self { values: defaults.collect() };
        match std::fs::read_to_string(file) {
            Ok(text) => settings.read_file(file, &text)?,
            Err(error) if named || error.kind() != std::io::ErrorKind::NotFound => {
                let file = file.display().to_string();
                return Err(SettingsError::File { file, detail: error.to_string() });
            }
            Err(_) => {}
        }
        for key in KEYS {
            for name in [key.seed_name.to_owned(), environment_name(key.name)] {
                if let Some(text) = environment.get(&name).filter(|text| !text.is_empty()) {
                    settings.set(key.name, text, &format!("environment {name}"))?;
                }
            }
        }
        for flag in flags {
            let (key, text) = flag.split_once('=').unwrap_or((flag, "true"));
            settings.set(key, text, "flag --set")?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, file: &Path, text: &str) -> Result<(), SettingsError> {
        let name = file.display().to_string();
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::File {
            file: name.clone(),
            detail: error.to_string(),
        })?;
        for (section, value) in &table {
            match value {
                // What a repository says of its checks is the repository's, not the farm's.
                toml::Value::Array(_) if section == "check" => {}
                toml::Value::Table(table) => {
                    for (key, value) in table {
                        self.set(&format!("{section}.{key}"), &plain(value), &name)?;
                    }
                }
                value => self.set(section, &plain(value), &name)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str, origin: &str) -> Result<(), SettingsError> {
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let near = KEYS.iter().find(|known| known.name.ends_with(key) || key.ends_with(known.name));
            let hint = near.map(|near| format!("; did you mean {}?", near.name)).unwrap_or_default();
            return Err(SettingsError::Unknown { key: key.to_owned(), origin: origin.to_owned(), hint });
        };
        self.values.insert(known.name, Value { text: text.to_owned(), origin: origin.to_owned() });
        Ok(())
    }

    /// The text of a setting.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", |value| value.text.as_str())
    }

    /// A setting that may be empty.
    pub(crate) fn optional(&self, key: &str) -> Option<&str> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    /// A setting as what it must be.
    pub(crate) fn get<T: FromStr>(&self, key: &'static str) -> Result<T, SettingsError>
    where
        T::Err: Display,
    {
        let text = self.text(key);
        text.parse().map_err(|error: T::Err| self.invalid(key, format!("{error}")))
    }

    /// Milliseconds or seconds, by the key's last word.
    pub(crate) fn duration(&self, key: &'static str) -> Result<std::time::Duration, SettingsError> {
        let n: u64 = self.get(key)?;
        Ok(if key.ends_with("-ms") {
            std::time::Duration::from_millis(n)
        } else {
            std::time::Duration::from_secs(n)
        })
    }

    /// `true`, `1`, `yes` and `on`; everything else is false.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.text(key), "true" | "1" | "yes" | "on")
    }

    /// An error that names the key and where its value stands.
    pub(crate) fn invalid(&self, key: &'static str, detail: impl Into<String>) -> SettingsError {
        let value = self.values.get(key);
        let is_secret = KEYS.iter().any(|known| known.name == key && known.secret);
        SettingsError::Invalid {
            key,
            value: if is_secret { "…".to_owned() } else { self.text(key).to_owned() },
            origin: value.map(|value| value.origin.clone()).unwrap_or_default(),
            detail: detail.into(),
        }
    }

    /// A layer above flags: what a parent decides for the roles that it starts.
    pub(crate) fn decide(&mut self, key: &'static str, text: impl Into<String>) {
        self.values.insert(key, Value { text: text.into(), origin: "decided by this role".to_owned() });
    }

    /// Whether anybody set it.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| value.origin != "default")
    }

    /// The environment that gives a child process these settings, secrets included.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        let set = self.values.iter().filter(|(key, _)| self.is_set(key));
        set.map(|(key, value)| (environment_name(key), value.text.as_str()))
    }

    /// Every key with its value, origin and help; secrets are not shown.
    pub(crate) fn rows(&self) -> Vec<[String; 4]> {
        KEYS.iter()
            .filter_map(|key| {
                let value = self.values.get(key.name)?;
                let text = if key.secret && !value.text.is_empty() { "…" } else { &value.text };
                Some([key.name.to_owned(), text.to_owned(), value.origin.clone(), key.help.to_owned()])
            })
            .collect()
    }

    /// Librdkafka's properties.
    pub(crate) fn kafka_properties(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        self.text("kafka.properties")
            .split([',', '\n'])
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').ok_or_else(|| {
                    self.invalid("kafka.properties", "expected name=value, separated by commas")
                })?;
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            })
            .collect()
    }
}

/// `worker.cache-dir` → `PATCHFARM_WORKER_CACHE_DIR`.
pub(crate) fn environment_name(key: &str) -> String {
    format!("PATCHFARM_{}", key.replace(['.', '-'], "_").to_uppercase())
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Settings, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("patchfarm.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Settings::load(&path, true, &environment, &flags)
    }

    #[test]
    fn later_layers_win_and_say_so() {
        let file = "[kafka]\nbootstrap = \"file:1\"\n[worker]\nslots = 8\n";
        let environment = [("KAFKA_BOOTSTRAP", "seed:1"), ("PATCHFARM_KAFKA_BOOTSTRAP", "env:1")];
        let settings = load(file, &environment, &["worker.slots=16"]).unwrap();
        assert_eq!(settings.text("kafka.bootstrap"), "env:1");
        assert_eq!(settings.get::<u32>("worker.slots").unwrap(), 16);
        let origin = |key: &str| settings.rows().into_iter().find(|row| row[0] == key).unwrap()[2].clone();
        assert_eq!(origin("kafka.bootstrap"), "environment PATCHFARM_KAFKA_BOOTSTRAP");
        assert_eq!(origin("worker.slots"), "flag --set");
        assert_eq!(origin("kafka.group"), "default");
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_place() {
        let error = load("[worker]\nslotz = 1\n", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("worker.slotz") && error.contains("patchfarm.toml"), "{error}");
    }

    #[test]
    fn a_bad_value_names_key_origin_and_value_unless_secret() {
        let error = load("", &[("PATCHFARM_WORKER_SLOTS", "many")], &[]).unwrap().get::<u32>("worker.slots");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("PATCHFARM_WORKER_SLOTS") && error.contains("many"), "{error}");
        let settings = load("", &[("OPENAI_API_KEY", "hunter22")], &[]).unwrap();
        assert!(!settings.invalid("model.key", "x").to_string().contains("hunter22"));
        assert!(!settings.rows().iter().any(|row| row.concat().contains("hunter22")));
    }

    #[test]
    fn properties_are_read() {
        let settings = load("", &[("PATCHFARM_KAFKA_PROPERTIES", "a.b=c, d=e=f\n")], &[]).unwrap();
        let expected =
            BTreeMap::from([("a.b".to_owned(), "c".to_owned()), ("d".to_owned(), "e=f".to_owned())]);
        assert_eq!(settings.kafka_properties().unwrap(), expected);
    }

    #[test]
    fn every_key_has_a_name_of_its_own_in_the_environment() {
        let names: std::collections::BTreeSet<String> =
            KEYS.iter().map(|key| environment_name(key.name)).collect();
        assert_eq!(names.len(), KEYS.len());
    }
}
