//! Registered repositories.

use std::fmt::Display;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use farm_control::control::{Control, ControlError};
use farm_core::id::{BRANCH_PREFIX, Oid, RepoName};
use farm_core::ledger::{Event, Fact};
use farm_core::service::Repository;
use farm_git::error::GitError;
use farm_git::objects::{CommitSpec, Objects, blocking};
use serde::Serialize;
use serde_json::json;

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

/// Registers a repository, or replaces its registration, once it is proven that control can read it and push to it.
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

/// Reads the target branch and pushes below `agt/`, as every task will.
async fn prove(control: &Control, repository: &Repository) -> Result<(), ApiError> {
    let mirror = control.mirror(repository).await.map_err(unreadable)?;
    let (name, target) = (&repository.name, &repository.target);
    if mirror.tip(target).await.map_err(unreadable)?.is_none() {
        return Err(unreadable(format!("{name} has no branch {target:?}")));
    }
    let now_ms = control.now_ms();
    let message = format!("probe of {name} by farm {} at {now_ms}\n", control.store.id());
    let objects = mirror.objects();
    let commit = blocking(move || probe(&objects, message, now_ms)).await.map_err(ControlError::Git)?;
    // No other commit has this message, so no other branch has this name.
    let branch = format!("{BRANCH_PREFIX}probe-{}", &commit.as_str()[..16]);
    let fact = Fact {
        event: Event::RepositoryChanged,
        subject: name.to_string(),
        actor: ACTOR.to_owned(),
        body: json!({ "url": repository.url, "probe": branch, "commit": commit }),
    };
    control.store.note(fact, now_ms).await?;
    mirror.push(&branch, None, &commit).await.map_err(unwritable)?;
    mirror.delete(&branch, &commit).await.map_err(unwritable)?;
    Ok(())
}

/// A commit of nothing, so that nothing has to be fetched to push it.
fn probe(objects: &Objects, message: String, now_ms: u64) -> Result<Oid, GitError> {
    let time_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    objects.commit(&CommitSpec { tree: objects.empty_tree()?, parents: Vec::new(), message, time_s })
}

fn unreadable(error: impl Display) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "repository_unreadable", error.to_string())
        .hint("look at the address, the target branch and the credential")
}

fn unwritable(error: impl Display) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "repository_unwritable", error.to_string())
        .hint("the credential must be allowed to make and delete branches below agt/")
}
