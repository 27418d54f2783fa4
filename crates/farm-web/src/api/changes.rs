//! Changes: asked for, listed, shown, cancelled.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farm_control::control::Control;
use farm_core::id::{ChangeId, RepoName};
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::ChangeRequest;
use farm_store::{ChangeFilter, Page, TaskFilter};
use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;
use crate::api::extract::{Args, Body, Id, NoBody};
use crate::api::{MAX_LIMIT, diff, limit, next_before};
use crate::server::App;
use crate::view::{Cancelled, ChangeDetail, ChangeSummary, Changes, TaskSummary};

/// Who does what comes over the API.
pub(super) const ACTOR: &str = "api";

/// Of how many running tasks the last step is told: each takes reading its timeline.
const MAX_STEPS: usize = 64;

/// The answer to a request for a change.
#[derive(Serialize)]
struct Submitted {
    id: ChangeId,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    state: Option<ChangeState>,
    repository: Option<RepoName>,
    before: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn submit(
    State(app): State<App>,
    Body(mut request): Body<ChangeRequest>,
) -> Result<Response, ApiError> {
    if request.source.is_empty() {
        ACTOR.clone_into(&mut request.source);
    }
    let id = app.control.submit(request, ACTOR).await?;
    Ok((StatusCode::CREATED, Json(Submitted { id })).into_response())
}

pub(super) async fn list(
    State(app): State<App>,
    Args(wanted): Args<Wanted>,
) -> Result<Json<Changes>, ApiError> {
    let limit = limit(wanted.limit)?;
    let filter = ChangeFilter { state: wanted.state, repository: wanted.repository };
    let page = Page { before_seq: wanted.before, limit };
    let views = app.control.store.changes(&filter, page).await?;
    Ok(Json(Changes {
        changes: views.iter().map(ChangeSummary::from).collect(),
        next_before: next_before(views.iter().map(|view| view.seq), limit),
    }))
}

pub(super) async fn show(
    State(app): State<App>,
    Id(id): Id<ChangeId>,
) -> Result<Json<ChangeDetail>, ApiError> {
    detail(&app.control, &id).await.map(Json)
}

/// The patch of the whole change, as it was put together last.
pub(super) async fn diff(State(app): State<App>, Id(id): Id<ChangeId>) -> Result<Response, ApiError> {
    let change = detail(&app.control, &id).await?;
    let commits = diff::of_change(&change).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "no_diff", format!("nothing of change {id} is integrated yet"))
    })?;
    Ok(diff::read(&app.control, commits).await?.into_response())
}

pub(super) async fn cancel(
    State(app): State<App>,
    Id(id): Id<ChangeId>,
    _: NoBody,
) -> Result<Json<Cancelled>, ApiError> {
    let tasks = app.control.store.cancel_change(&id, ACTOR, app.control.now_ms()).await?;
    Ok(Json(Cancelled { tasks: tasks as u64 }))
}

/// A change with its newest tasks.
pub(crate) async fn detail(control: &Control, id: &ChangeId) -> Result<ChangeDetail, ApiError> {
    let view = control.store.change(id).await?;
    let view = view.ok_or_else(|| ApiError::unknown("change", id.as_str()))?;
    let filter = TaskFilter { change: Some(id.clone()), ..TaskFilter::default() };
    let views = control.store.tasks(&filter, Page::first(MAX_LIMIT)).await?;
    let mut tasks: Vec<TaskSummary> = views.iter().map(TaskSummary::from).collect();
    for task in tasks.iter_mut().filter(|task| task.state == TaskState::Running).take(MAX_STEPS) {
        task.step = control.store.steps(&task.id, 0).await?.pop().map(|last| last.step.summary);
    }
    Ok(ChangeDetail {
        summary: ChangeSummary::from(&view),
        branch: id.branch(),
        notes: view.notes,
        integration: view.integration,
        tasks,
        tasks_next_before: next_before(views.iter().map(|view| view.seq), MAX_LIMIT),
    })
}
