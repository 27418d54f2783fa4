//! The port that every role has (9600): is it alive, is it ready, what has it counted.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::serve_router;

/// Whether a role can do its work; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Why it is not ready; `None` if it is.
    unready: Arc<watch::Sender<Option<String>>>,
}

impl Default for Health {
    /// Not ready: it starts.
    fn default() -> Self {
        Self { unready: Arc::new(watch::Sender::new(Some("starting".to_owned()))) }
    }
}

impl Health {
    /// Not ready until told.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether it is ready, and if not, why.
    pub fn set_ready(&self, ready: bool, reason: impl Into<String>) {
        self.unready.send_replace((!ready).then(|| reason.into()));
    }

    /// Why it is not ready; `None` if it is.
    pub fn unready(&self) -> Option<String> {
        self.unready.borrow().clone()
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` until told to stop.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    health: Health,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(metrics).with_state(registry));
    serve_router(listener, router, stop).await
}

async fn ready(State(health): State<Health>) -> Response {
    match health.unready() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
