//! What an operator says of models: providers, roles and prices.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use farm_core::redact::Secret;
use serde::{Deserialize, Serialize};

/// The keys of providers, by provider name. Settings only say where a key is; whoever reads environment and files fills this.
pub type Keys = BTreeMap<String, Secret>;

/// Everything that a [`crate::Client`] is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The services that can be asked, by name.
    pub providers: BTreeMap<String, Provider>,
    /// Who is asked for what.
    pub roles: Roles,
    /// Calls under way at once, over all roles.
    #[serde(default = "default_max_concurrent")]
    pub max_concurrent: usize,
}

impl Settings {
    /// One provider, one model for every role.
    pub fn single(name: impl Into<String>, provider: Provider, model: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            roles: Roles::all(Role::new(name.clone(), model)),
            providers: BTreeMap::from([(name, provider)]),
            max_concurrent: default_max_concurrent(),
        }
    }

    /// No network: every coder reply appends one harmless line (`MOCK_LLM=1`).
    pub fn mock() -> Self {
        Self::single("mock", Provider { via: Via::Mock, ..Provider::new(Api::OpenAi) }, "mock")
    }

    /// No network: replies come from `file` (`replay:FILE`; see [`crate::replay`]).
    pub fn replay(file: impl Into<PathBuf>) -> Self {
        let via = Via::Replay { file: file.into() };
        Self::single("replay", Provider { via, ..Provider::new(Api::OpenAi) }, "replay")
    }

    /// Refuses values that would make every call fail or none ever begin.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        within("max-concurrent", "", self.max_concurrent as f64, 1.0..=1e6)?;
        for (name, provider) in &self.providers {
            within("tries of provider", name, provider.tries.into(), 1.0..=100.0)?;
            within("max-body-bytes of provider", name, provider.max_body_bytes as f64, 1.0..=1e9)?;
        }
        for name in Roles::NAMES {
            let Some(role) = self.roles.of(name) else { continue };
            within("context-tokens of role", name, role.context_tokens as f64, 1.0..=1e9)?;
            within("max-output-tokens of role", name, role.max_output_tokens as f64, 1.0..=1e9)?;
            within("temperature of role", name, role.temperature, 0.0..=2.0)?;
            let prices = [
                Some(role.prices.input),
                role.prices.cached_input,
                role.prices.cache_write,
                Some(role.prices.output),
            ];
            for price in prices.into_iter().flatten() {
                within("prices of role", name, price as f64, 0.0..=1e12)?;
            }
            if role.model.is_empty() {
                return Err(SettingsError::BadValue {
                    setting: format!("model of role {name}"),
                    expected: "a model's name".to_owned(),
                    found: "nothing".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Which model serves which role. A role that is not set is served as the coder is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Roles {
    /// Writes patches and reports.
    pub coder: Role,
    /// Turns a goal into tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planner: Option<Role>,
    /// Judges patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<Role>,
}

impl Roles {
    /// Every role.
    pub const NAMES: [&str; 3] = ["coder", "planner", "reviewer"];

    /// The same for every role.
    pub fn all(role: Role) -> Self {
        Self { coder: role, planner: None, reviewer: None }
    }

    /// The settings of the role of that name; `None` if there is no such role.
    pub fn of(&self, name: &str) -> Option<&Role> {
        match name {
            "coder" => Some(&self.coder),
            "planner" => Some(self.planner.as_ref().unwrap_or(&self.coder)),
            "reviewer" => Some(self.reviewer.as_ref().unwrap_or(&self.coder)),
            _ => None,
        }
    }
}

/// A model, and how it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Role {
    /// A name in [`Settings::providers`].
    pub provider: String,
    /// The model, as its provider calls it.
    pub model: String,
    /// 0 repeats itself most. Not sent to a model that refuses to be told.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// What a prompt may fill, in tokens of about four bytes.
    #[serde(default = "default_context_tokens")]
    pub context_tokens: usize,
    /// Where a reply is cut off.
    #[serde(default = "default_max_output_tokens")]
    pub max_output_tokens: u64,
    /// What it costs; nothing when absent.
    #[serde(default)]
    pub prices: Prices,
}

impl Role {
    /// A model with the default settings.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            temperature: default_temperature(),
            context_tokens: default_context_tokens(),
            max_output_tokens: default_max_output_tokens(),
            prices: Prices::default(),
        }
    }
}

/// Micro-dollars for a million tokens: 2.50 USD is `2500000`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prices {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the prompt that came from the provider's cache; as `input` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<u64>,
    /// Tokens of the prompt that were put into the cache; five quarters of `input` when absent, as Anthropic charges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// Tokens of the reply.
    pub output: u64,
}

/// The protocol that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// Chat completions: OpenAI, vLLM, Ollama, llama.cpp and many more.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl Api {
    /// Where its owner serves it.
    pub fn default_base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
        }
    }
}

/// A service that can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// The protocol.
    pub api: Api,
    /// `http`, `mock` or `replay:FILE`.
    #[serde(default)]
    pub via: Via,
    /// Up to and with `/v1`; the protocol's owner when absent. Holds no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Where its key is; local servers need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<KeyFrom>,
    /// The most that it can hold a reply to. What it turns out not to know is not asked again.
    #[serde(default)]
    pub structured: Structured,
    /// The field that limits a reply. When absent, `max_completion_tokens` for OpenAI itself, else `max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<OutputLimit>,
    /// Until the connection stands.
    #[serde(default = "default_connect_timeout", rename = "connect-timeout-s", with = "seconds")]
    pub connect_timeout: Duration,
    /// One try, to the last byte.
    #[serde(default = "default_call_timeout", rename = "call-timeout-s", with = "seconds")]
    pub call_timeout: Duration,
    /// Between two pieces of an answer that has begun.
    #[serde(default = "default_idle_timeout", rename = "idle-timeout-s", with = "seconds")]
    pub idle_timeout: Duration,
    /// The longest answer that is read.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
    /// How often a call is sent at most.
    #[serde(default = "default_tries")]
    pub tries: u32,
    /// A file that every exchange is appended to, in the form that `replay:FILE` reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

impl Provider {
    /// The protocol's owner, over HTTP, with the default limits.
    pub fn new(api: Api) -> Self {
        Self {
            api,
            via: Via::Http,
            base_url: None,
            api_key: None,
            structured: Structured::default(),
            output_limit: None,
            connect_timeout: default_connect_timeout(),
            call_timeout: default_call_timeout(),
            idle_timeout: default_idle_timeout(),
            max_body_bytes: default_max_body_bytes(),
            tries: default_tries(),
            record: None,
        }
    }

    pub(crate) fn output_limit(&self) -> OutputLimit {
        self.output_limit.unwrap_or(match self.base_url {
            None => OutputLimit::MaxCompletionTokens,
            Some(_) => OutputLimit::MaxTokens,
        })
    }
}

/// How questions reach a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Via {
    /// Over the network.
    #[default]
    Http,
    /// They do not: see [`Settings::mock`].
    Mock,
    /// They do not: see [`crate::replay`].
    Replay {
        /// The recorded replies.
        file: PathBuf,
    },
}

impl TryFrom<String> for Via {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "http" => Ok(Self::Http),
            "mock" => Ok(Self::Mock),
            _ => match text.strip_prefix("replay:") {
                Some(file) if !file.is_empty() => Ok(Self::Replay { file: file.into() }),
                _ => Err(format!("expected `http`, `mock` or `replay:FILE`, found {text:?}")),
            },
        }
    }
}

impl From<Via> for String {
    fn from(via: Via) -> String {
        match via {
            Via::Http => "http".to_owned(),
            Via::Mock => "mock".to_owned(),
            Via::Replay { file } => format!("replay:{}", file.display()),
        }
    }
}

/// Where a key is found; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyFrom {
    /// The environment variable of this name.
    Env(String),
    /// The content of this file, without white space at its ends.
    File(PathBuf),
}

/// How far a server can hold a reply to a form. Each one includes those below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structured {
    /// Not at all; the prompt alone asks for the form.
    Plain,
    /// To some JSON object.
    JsonObject,
    /// To a JSON schema.
    #[default]
    JsonSchema,
}

/// The name of the field that limits a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputLimit {
    /// What OpenAI's newer models insist on.
    MaxCompletionTokens,
    /// What everything else knows.
    MaxTokens,
}

/// Settings that no client can be made from.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A role names a provider that is not there.
    #[error("role {role} names provider {provider:?}, which is not set up; known are: {known}")]
    UnknownProvider {
        /// The role.
        role: &'static str,
        /// What it names.
        provider: String,
        /// What could be named.
        known: String,
    },
    /// A value outside what it may be.
    #[error("{setting} must be {expected}, found {found}")]
    BadValue {
        /// Which one.
        setting: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A key that no header can carry.
    #[error(
        "the key of provider {provider} must be printable ascii without spaces; check where it is read from"
    )]
    BadKey {
        /// Whose.
        provider: String,
    },
    /// The replies to replay cannot be read.
    #[error("replay file {file}: {detail}")]
    BadReplay {
        /// Which file.
        file: String,
        /// What was expected, and where.
        detail: String,
    },
    /// The system's TLS library does not start.
    #[error("no http client can be made for provider {provider}: {detail}")]
    NoHttp {
        /// Whose.
        provider: String,
        /// What the library said.
        detail: String,
    },
}

fn within(setting: &str, whose: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), SettingsError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(SettingsError::BadValue {
        setting: format!("{setting} {whose}").trim_end().to_owned(),
        expected: format!("from {} to {}", range.start(), range.end()),
        found: value.to_string(),
    })
}

fn default_max_concurrent() -> usize {
    64
}

fn default_temperature() -> f64 {
    0.1
}

fn default_context_tokens() -> usize {
    32_000
}

fn default_max_output_tokens() -> u64 {
    8_192
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_call_timeout() -> Duration {
    Duration::from_secs(120)
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_max_body_bytes() -> usize {
    8 << 20
}

fn default_tries() -> u32 {
    5
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(duration),
            _ => Err(D::Error::custom(format!("expected seconds above 0, found {seconds}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_document_is_enough_and_comes_back() {
        let text = r#"
            [providers.here]
            api = "openai"
            base-url = "http://127.0.0.1:8000/v1"
            api-key = { env = "HERE_KEY" }
            idle-timeout-s = 5

            [providers.there]
            api = "anthropic"
            via = "replay:/tmp/replies.jsonl"

            [roles.coder]
            provider = "here"
            model = "m"
            prices = { input = 2500000, output = 10000000 }

            [roles.planner]
            provider = "there"
            model = "n"
        "#;
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.roles.of("planner").unwrap().model, "n");
        assert_eq!(settings.roles.of("reviewer").unwrap().model, "m");
        assert_eq!(settings.roles.of("poet"), None);
        assert_eq!(settings.roles.coder.temperature, 0.1);
        assert_eq!(settings.providers["here"].idle_timeout, Duration::from_secs(5));
        assert_eq!(settings.providers["here"].api_key, Some(KeyFrom::Env("HERE_KEY".to_owned())));
        assert_eq!(settings.providers["there"].via, Via::Replay { file: "/tmp/replies.jsonl".into() });
        let again: Settings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expect) in [
            (
                "[roles.coder]\nprovider='a'\nmodel='m'\n[providers.a]\napi='openai'\nkey='sk'",
                "unknown field `key`",
            ),
            ("[roles.poet]\nprovider='a'\nmodel='m'\n[providers]", "unknown field `poet`"),
            (
                "[roles.coder]\nprovider='a'\nmodel='m'\n[providers.a]\napi='openai'\nvia='replay:'",
                "replay:FILE",
            ),
            (
                "[roles.coder]\nprovider='a'\nmodel='m'\n[providers.a]\napi='openai'\nidle-timeout-s=-1",
                "above 0",
            ),
        ] {
            let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
