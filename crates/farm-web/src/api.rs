//! The API under `/api/v1`: JSON with kebab-case keys. `openapi.json` describes it; a test walks both.

pub mod error;

pub(crate) mod extract;

mod changes;

mod tasks;

mod repositories;

mod farm;

mod events;

pub(crate) mod diff;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};

use crate::server::App;
use error::ApiError;

pub(crate) use changes::detail as change_detail;
pub(crate) use farm::status as farm_status;

/// The description of the API, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("api/openapi.json");

/// The most rows of one answer, and how many come unless asked.
const MAX_LIMIT: u32 = 1000;
const LIMIT: u32 = 100;

pub(crate) fn router() -> Router<App> {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router.fallback(unknown_route).method_not_allowed_fallback(unknown_method)
}

fn routes() -> [(&'static str, MethodRouter<App>); 18] {
    [
        ("/changes", get(changes::list).post(changes::submit)),
        ("/changes/{id}", get(changes::show)),
        ("/changes/{id}/diff", get(changes::diff)),
        ("/changes/{id}/cancel", post(changes::cancel)),
        ("/tasks", get(tasks::list)),
        ("/tasks/{id}", get(tasks::show)),
        ("/tasks/{id}/steps", get(tasks::steps)),
        ("/tasks/{id}/diff", get(tasks::diff)),
        ("/tasks/{id}/cancel", post(tasks::cancel)),
        ("/tasks/{id}/retry", post(tasks::retry)),
        ("/repositories", get(repositories::list).post(repositories::put)),
        ("/repositories/{*name}", delete(repositories::remove)),
        ("/leases", get(farm::leases)),
        ("/ledger", get(farm::ledger)),
        ("/ledger/verify", get(farm::verify)),
        ("/status", get(farm::show_status)),
        ("/events", get(events::stream)),
        ("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI))),
    ]
}

async fn unknown_route() -> impl IntoResponse {
    ApiError::new(StatusCode::NOT_FOUND, "no_route", "there is no such path in the API")
        .hint("see /api/v1/openapi.json")
}

async fn unknown_method() -> impl IntoResponse {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", "this path does not take this method")
        .hint("see /api/v1/openapi.json")
}

/// The `limit` of a list.
fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked {
        None => Ok(LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(limit) => Err(ApiError::bad_request(format!("limit: expected 1 to {MAX_LIMIT}, found {limit}"))),
    }
}

/// `before` of the next page: there is one if this page is full.
pub(crate) fn next_before(
    seqs: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator,
    limit: u32,
) -> Option<u64> {
    let is_full = seqs.len() >= limit as usize;
    seqs.last().filter(|_| is_full)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
        let routes: BTreeSet<String> =
            routes().into_iter().map(|(path, _)| path.replace("{*", "{")).collect();
        assert_eq!(described, routes);
    }
}
