//! What an operator says of models: providers, roles and prices.

mod error;
mod provider;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use farm_core::redact::Secret;
use serde::{Deserialize, Serialize};

pub use error::SettingsError;
pub use provider::{Api, KeyFrom, OutputLimit, Provider, Structured, Via};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
