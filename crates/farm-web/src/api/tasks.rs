//! Tasks: listed, shown with timeline and patch, cancelled, begun anew.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farm_control::control::Control;
use farm_core::delta::sha256;
use farm_core::id::{ChangeId, InvalidId, MAX_ID_LEN, RepoName, TaskId};
use farm_core::result::Status;
use farm_core::state::TaskState;
use farm_core::task::CodingTask;
use farm_store::{CancelledTask, NewTask, Page, RetriedTask, TaskFilter, TaskView};
use farm_wire::record;
use serde::Deserialize;

use crate::api::changes::ACTOR;
use crate::api::error::ApiError;
use crate::api::extract::{Args, Id, NoBody};
use crate::api::{diff, limit, next_before};
use crate::server::App;
use crate::view::{Cancelled, NumberedStep, Retried, Steps, TaskDetail, TaskSummary, Tasks};

#[derive(Deserialize)]
pub(super) struct Wanted {
    change: Option<ChangeId>,
    state: Option<TaskState>,
    repository: Option<RepoName>,
    before: Option<u64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

pub(super) async fn list(
    State(app): State<App>,
    Args(wanted): Args<Wanted>,
) -> Result<Json<Tasks>, ApiError> {
    let limit = limit(wanted.limit)?;
    let filter = TaskFilter { change: wanted.change, state: wanted.state, repository: wanted.repository };
    let page = Page { before_seq: wanted.before, limit };
    let views = app.control.store.tasks(&filter, page).await?;
    Ok(Json(Tasks {
        tasks: views.iter().map(TaskSummary::from).collect(),
        next_before: next_before(views.iter().map(|view| view.seq), limit),
    }))
}

pub(super) async fn show(State(app): State<App>, Id(id): Id<TaskId>) -> Result<Json<TaskDetail>, ApiError> {
    Ok(Json(TaskDetail::from(&find(&app.control, &id).await?)))
}

pub(super) async fn steps(
    State(app): State<App>,
    Id(id): Id<TaskId>,
    Args(After { after }): Args<After>,
) -> Result<Json<Steps>, ApiError> {
    find(&app.control, &id).await?;
    let steps = app.control.store.steps(&id, after).await?;
    Ok(Json(Steps { steps: steps.into_iter().map(NumberedStep::from).collect() }))
}

pub(super) async fn diff(State(app): State<App>, Id(id): Id<TaskId>) -> Result<Response, ApiError> {
    let detail = TaskDetail::from(&find(&app.control, &id).await?);
    let commits = diff::of_task(&detail).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "no_diff", format!("task {id} has pushed no commit"))
    })?;
    Ok(diff::read(&app.control, commits).await?.into_response())
}

pub(super) async fn cancel(
    State(app): State<App>,
    Id(id): Id<TaskId>,
    _: NoBody,
) -> Result<Json<Cancelled>, ApiError> {
    let cancelled = app.control.store.cancel_task(&id, ACTOR, app.control.now_ms()).await?;
    let tasks = match cancelled {
        CancelledTask::Queued | CancelledTask::Running => 1,
        CancelledTask::Done => 0,
    };
    Ok(Json(Cancelled { tasks }))
}

/// Results are for ever (I1), so a task that has ended gets a successor under a new id.
pub(super) async fn retry(
    State(app): State<App>,
    Id(id): Id<TaskId>,
    _: NoBody,
) -> Result<Json<Retried>, ApiError> {
    let control = &app.control;
    let view = find(control, &id).await?;
    let has_failed = view.status.is_some_and(|status| status != Status::Success);
    let replacement = match &view.replaced_by {
        None if has_failed => Some(replacement(control, &view).await?),
        _ => None,
    };
    let retried = control.store.retry_task(&id, replacement, ACTOR, control.now_ms()).await?;
    Ok(Json(match retried {
        RetriedTask::Hastened => Retried { id },
        RetriedTask::Replaced { by } => Retried { id: by },
    }))
}

async fn find(control: &Control, id: &TaskId) -> Result<TaskView, ApiError> {
    control.store.task(id).await?.ok_or_else(|| ApiError::unknown("task", id.as_str()))
}

/// The same task under a free id. What it waited for and was itself replaced, is waited for in its new place.
async fn replacement(control: &Control, view: &TaskView) -> Result<NewTask, ApiError> {
    let mut after = Vec::with_capacity(view.task.after.len());
    for predecessor in &view.task.after {
        let mut last = predecessor.clone();
        while let Some(next) = control.store.task(&last).await?.and_then(|view| view.replaced_by) {
            last = next;
        }
        after.push(last);
    }
    let mut id = next_id(&view.task.id)?;
    while control.store.task(&id).await?.is_some() {
        id = next_id(&id)?;
    }
    let task = CodingTask { id, after, ..view.task.clone() };
    // Whether it may run is asked again when it is begun: what kept it from that may have changed.
    let (record, digest) = record::encode(&task);
    Ok(NewTask { task, record, digest, refusal: None })
}

/// `t` → `t-r2` → `t-r3`; what would be too long is shortened by its hash.
fn next_id(id: &TaskId) -> Result<TaskId, ApiError> {
    let numbered = id.as_str().rsplit_once("-r");
    let (stem, n) = match numbered.and_then(|(stem, n)| Some((stem, n.parse::<u32>().ok()?))) {
        Some((stem, n)) => (stem, n.saturating_add(1)),
        None => (id.as_str(), 2),
    };
    let suffix = format!("-r{n}");
    let stem = if stem.len() + suffix.len() <= MAX_ID_LEN {
        stem.to_owned()
    } else {
        let hash = sha256(stem.as_bytes());
        let kept = MAX_ID_LEN - suffix.len() - 9;
        format!("{}-{}", stem.get(..kept).unwrap_or_default(), &hash[..8])
    };
    let refused = |error: InvalidId| ApiError::refused(error.to_string());
    TaskId::new(format!("{stem}{suffix}")).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_retry_has_an_id_of_its_own() {
        for (id, next) in [("t", "t-r2"), ("t-r2", "t-r3"), ("t-rx", "t-rx-r2"), ("a-r9", "a-r10")] {
            assert_eq!(next_id(&TaskId::new(id).unwrap()).unwrap().as_str(), next);
        }
        let mut seen = std::collections::HashSet::new();
        let mut id = TaskId::new("x".repeat(63)).unwrap();
        for _ in 0..120 {
            id = next_id(&id).unwrap();
            assert!(seen.insert(id.clone()), "{id} came twice");
        }
    }
}
