//! How a request reaches whoever answers it.

mod http;

use std::time::Duration;

use serde_json::Value;

use crate::mock;
use crate::replay::Script;
use crate::wire::{Tokens, openai};

pub(crate) use http::Http;

/// A way to an answer.
pub(crate) enum Transport {
    Http(Http),
    Mock,
    Replay(Script),
}

/// An answer, whole and unread.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request never left.
    Connect(String),
    /// Nothing came for this long.
    Timeout { phase: &'static str, after: Duration },
    /// The connection broke before the end.
    Cut(String),
    /// The answer is longer than may be read.
    TooLarge { max_bytes: usize },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(detail) => write!(f, "no connection: {detail}"),
            Self::Timeout { phase, after } => write!(f, "{phase} took longer than {} ms", after.as_millis()),
            Self::Cut(detail) => write!(f, "the connection broke: {detail}"),
            Self::TooLarge { max_bytes } => write!(f, "expected at most {max_bytes} bytes, found more"),
        }
    }
}

impl Transport {
    /// Sends `body` and reads the whole answer within `limit`.
    pub(crate) async fn send(&self, role: &str, body: &Value, limit: Duration) -> Result<Answer, Fault> {
        match self {
            Self::Http(http) => http.send(body, limit).await,
            Self::Mock => {
                let text = mock::reply(role, &openai::prompt_of(body));
                Ok(scripted(200, &openai::answer(&model_of(body), &text, None, false)))
            }
            Self::Replay(script) => {
                let prompt = openai::prompt_of(body);
                let Some(line) = script.take(role, &prompt) else {
                    return Ok(scripted(404, &script.nothing_fits(role, &prompt)));
                };
                tokio::time::timeout(limit, tokio::time::sleep(line.delay()))
                    .await
                    .map_err(|_| Fault::Timeout { phase: "the recorded delay", after: limit })?;
                let model = model_of(body);
                Ok(scripted(200, &openai::answer(&model, &line.text(), line.tokens(), line.truncated)))
            }
        }
    }

    /// Whether a request can take money even if its answer is lost.
    pub(crate) fn guess_lost(&self, body: &Value, fault: &Fault) -> Tokens {
        match (self, fault) {
            (Self::Http(_), Fault::Timeout { .. } | Fault::Cut(_) | Fault::TooLarge { .. }) => {
                Tokens::guess(body.to_string().len(), 0)
            }
            _ => Tokens::default(),
        }
    }
}

fn model_of(body: &Value) -> String {
    body["model"].as_str().unwrap_or_default().to_owned()
}

fn scripted(status: u16, body: &Value) -> Answer {
    let body = body.to_string().into_bytes();
    Answer { status, retry_after: None, content_type: "application/json".to_owned(), body }
}
