//! Reads requests so that what cannot be read is answered like every other error.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::api::error::ApiError;

/// The body, as JSON.
pub(crate) struct Body<T>(pub(crate) T);

/// The body does not matter; but what has one says that it is JSON, which no form of a foreign page can.
pub(crate) struct NoBody;

/// What stands behind `?`.
pub(crate) struct Args<T>(pub(crate) T);

/// The one name in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        json_content_type(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(|error| unread(&error))?;
        let body = serde_json::from_slice(&bytes);
        body.map(Self).map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let typed = json_content_type(request.headers());
        let untyped = !request.headers().contains_key(CONTENT_TYPE);
        let bytes = Bytes::from_request(request, state).await.map_err(|error| unread(&error))?;
        if untyped && bytes.is_empty() { Ok(Self) } else { typed.map(|()| Self) }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Args<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(args)) => Ok(Self(args)),
            Err(error) => Err(ApiError::bad_request(error.body_text())),
        }
    }
}

impl<S, T> FromRequestParts<S> for Id<T>
where
    S: Send + Sync,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad_request(error.body_text()))?;
        text.parse().map(Self).map_err(|error: T::Err| ApiError::bad_request(error.to_string()))
    }
}

fn json_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = format!("expected the content type application/json, found {kind:?}");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message)
        .hint("send `Content-Type: application/json`"))
}

fn unread(error: &BytesRejection) -> ApiError {
    let code = if error.status() == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_request" };
    ApiError::new(error.status(), code, error.body_text())
}
