//! An OpenAI-compatible model on loopback that answers from a script.
//!
//! It speaks `POST /v1/chat/completions` and `GET /v1/models`, over real HTTP, with real status codes, delays and usage
//! figures, so that the farm's own model client is what runs.

pub mod script;

mod answer;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use script::Script;

/// Calls that no rule fits are counted under this key.
pub const UNMATCHED: &str = "unmatched";

/// How many of the last requests are kept.
const KEPT_REQUESTS: usize = 256;

/// A running model. It stops when dropped; calls under way end first.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Never sent on: dropping it is the signal to stop.
    _stop: oneshot::Sender<()>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The rule that fitted, or [`UNMATCHED`].
    pub key: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The whole body.
    pub body: serde_json::Value,
}

impl Asked {
    /// The text of all messages of this role, joined by newlines.
    pub fn text_of(&self, role: &str) -> String {
        answer::text_of(&self.body, role)
    }
}

impl ModelServer {
    /// Serves `script` on a free port of 127.0.0.1. An answer without a delay of its own takes `latency`.
    pub async fn start(script: Script, latency: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { script, latency, seen: Mutex::default(), arrivals: watch::Sender::new(()) });
        let router = Router::new()
            .route("/v1/chat/completions", post(answer::completions))
            .route("/v1/models", get(answer::models))
            // Prompts are as large as contexts; a limit here would only look like a fault of the farm.
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            // The sender is only ever dropped, so this ends with an error, and that is the signal.
            let _ = stopped.await;
        });
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "model server stopped");
            }
        });
        Ok(Self { address, shared, _stop: stop })
    }

    /// What `OPENAI_BASE_URL` should be: with `/v1`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How often each key was asked so far; a call counts when it arrives.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.seen().calls.clone()
    }

    /// Waits until `key` was asked `times` times in all.
    pub async fn until_asked(&self, key: &str, times: u64) {
        let mut arrivals = self.shared.arrivals.subscribe();
        while self.shared.seen().calls.get(key).is_none_or(|calls| *calls < times) {
            // The sender lives as long as `self`, so this cannot fail; if it did, nothing more would come.
            if arrivals.changed().await.is_err() {
                return;
            }
        }
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Asked> {
        self.shared.seen().requests.iter().cloned().collect()
    }
}

#[derive(Debug)]
struct Shared {
    script: Script,
    latency: Duration,
    seen: Mutex<Seen>,
    /// Changes with every call.
    arrivals: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: BTreeMap<String, u64>,
    requests: VecDeque<Asked>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call and says how many came before it under its key.
    fn record(&self, asked: Asked) -> u64 {
        let mut seen = self.seen();
        let calls = seen.calls.entry(asked.key.clone()).or_default();
        let before = *calls;
        *calls += 1;
        if seen.requests.len() == KEPT_REQUESTS {
            seen.requests.pop_front();
        }
        seen.requests.push_back(asked);
        self.arrivals.send_replace(());
        before
    }
}
