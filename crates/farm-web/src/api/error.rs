//! What the API answers when it cannot do what was asked.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use farm_control::control::ControlError;
use farm_store::StoreError;
use serde::{Deserialize, Serialize};

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// An error with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    code: &'static str,
    pub(crate) message: String,
    hint: &'static str,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: "" }
    }

    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    pub(crate) fn unknown(what: &'static str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no {what} {id:?} is known"))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Understood, and not acceptable.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "expected the farm's token, found none or another",
        )
        .hint("send `Authorization: Bearer TOKEN` (PATCHFARM_TOKEN), or sign in at /login")
    }

    pub(crate) fn foreign_host(name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        let message = format!("expected localhost or a loopback address as Host, found {name:?}");
        Self::new(StatusCode::FORBIDDEN, "foreign_host", message)
            .hint("set PATCHFARM_TOKEN to serve other names and machines")
    }

    pub(crate) fn foreign_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", "the request comes from a page of another origin")
            .hint("send it from the farm's own page or from a program")
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::Unknown { .. } => (StatusCode::NOT_FOUND, "not_found"),
            StoreError::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            StoreError::Open { .. }
            | StoreError::Newer { .. }
            | StoreError::Database { .. }
            | StoreError::NotCommitted { .. }
            | StoreError::Superseded
            | StoreError::Closed
            | StoreError::Unreadable { .. } => {
                tracing::error!(%error, "a call could not be served");
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Store(error) => error.into(),
            ControlError::Git(error) => Self::new(StatusCode::BAD_GATEWAY, "git", error.to_string())
                .hint("look at the repository's address and credential"),
            ControlError::Credential(error) => Self::refused(error.to_string()),
            error @ ControlError::UnknownRepository { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "repository_unknown", error.to_string())
            }
            error @ ControlError::Refused { .. } => Self::refused(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            ErrorBody { code: self.code.to_owned(), message: self.message, hint: self.hint.to_owned() };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
