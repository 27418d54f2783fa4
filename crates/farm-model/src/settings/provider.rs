//! The services that can be asked, and how.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
