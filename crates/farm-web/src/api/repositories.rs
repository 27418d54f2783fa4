//! Registered repositories.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use farm_control::control::{Control, ControlError};
use farm_core::id::RepoName;
use farm_core::service::Repository;
use serde::Serialize;

use crate::api::changes::ACTOR;
use crate::api::error::ApiError;
use crate::api::extract::{Body, Id, NoBody};
use crate::server::App;

#[derive(Serialize)]
pub(super) struct Repositories {
    repositories: Vec<Repository>,
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<Repositories>, ApiError> {
    Ok(Json(Repositories { repositories: app.control.store.repositories().await? }))
}

/// Registers a repository, or replaces its registration, once it is proven that control can read it.
pub(super) async fn put(
    State(app): State<App>,
    Body(repository): Body<Repository>,
) -> Result<impl IntoResponse, ApiError> {
    let control = &app.control;
    if let Err(error) = repository.policy.judge(&[]) {
        return Err(ApiError::refused(format!("the policy cannot be used: {error}")));
    }
    prove(control, &repository).await?;
    control.store.put_repository(repository.clone(), ACTOR, control.now_ms()).await?;
    Ok((StatusCode::CREATED, Json(repository)))
}

pub(super) async fn remove(
    State(app): State<App>,
    Id(name): Id<RepoName>,
    _: NoBody,
) -> Result<StatusCode, ApiError> {
    let removed = app.control.store.remove_repository(&name, ACTOR, app.control.now_ms()).await?;
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::unknown("repository", name.as_str())) }
}

/// Reads the target branch, as every task will.
async fn prove(control: &Control, repository: &Repository) -> Result<(), ApiError> {
    let unreadable = |error: ControlError| {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "repository_unreadable", error.to_string())
            .hint("look at the address, the target branch and the credential")
    };
    let mirror = control.mirror(repository).await.map_err(unreadable)?;
    let tip = mirror.tip(&repository.target).await.map_err(|error| unreadable(error.into()))?;
    let (name, target) = (&repository.name, &repository.target);
    tip.map(drop).ok_or_else(|| {
        unreadable(ControlError::Refused {
            what: "the repository",
            detail: format!("{name} has no branch {target:?}"),
        })
    })
}
