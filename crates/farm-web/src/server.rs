//! Control's HTTP port (8080): the API, the page, and what guards both.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use farm_control::control::Control;
use farm_core::redact::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::{self, Gate};
use crate::{api, page};

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 4 << 20;

/// How long calls under way may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Everything comes from this server, and nothing in a page runs but the one script; no text can bring its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) control: Arc<Control>,
    pub(crate) gate: Arc<Gate>,
    /// Ends the streams that would otherwise last for ever.
    pub(crate) stop: CancellationToken,
}

/// The API and the page. Without a token only this machine may change anything.
pub fn router(control: Arc<Control>, token: Option<Secret>) -> Router {
    guarded(control, token, CancellationToken::new())
}

/// Serves the API and the page until told to stop.
pub async fn serve(
    listener: TcpListener,
    control: Arc<Control>,
    token: Option<Secret>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    serve_router(listener, guarded(control, token, stop.clone()), stop).await
}

/// Serves until told to stop; calls under way are answered if they end soon.
pub(crate) async fn serve_router(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server.into_future() => served,
        () = overdue => Ok(()),
    }
}

fn guarded(control: Arc<Control>, token: Option<Secret>, stop: CancellationToken) -> Router {
    let app = App { control, gate: Arc::new(Gate::new(token)), stop };
    Router::new()
        .nest("/api/v1", api::router())
        .merge(page::router())
        .layer(from_fn_with_state(app.clone(), access::guard))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(map_response(harden))
        .with_state(app)
}

/// Headers of every answer, errors included.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    set(REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(CACHE_CONTROL, "no-store");
    response
}
