//! Placeholder.
use crate::server::App;
use axum::Router;
pub(crate) fn router() -> Router<App> {
    Router::new()
}
