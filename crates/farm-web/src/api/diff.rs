//! The patch between two commits as text, read through control's mirror.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use farm_control::control::{Control, ControlError};
use farm_core::id::{Oid, RepoName};
use farm_git::objects::blocking;

use crate::api::error::ApiError;
use crate::view::{ChangeDetail, TaskDetail};

/// More is cut: nobody reads it in a page.
const MAX_BYTES: usize = 1 << 20;

/// How long a reader waits for the remote.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which patch is wanted.
pub(crate) struct Commits {
    repository: RepoName,
    base: Oid,
    commit: Oid,
    /// Where the commit was pushed.
    branch: String,
}

/// A patch as text.
pub(crate) struct Patch {
    pub(crate) text: String,
    /// Whether its end is missing.
    pub(crate) is_cut: bool,
}

/// The patch of a task that pushed one.
pub(crate) fn of_task(task: &TaskDetail) -> Option<Commits> {
    let summary = &task.summary;
    Some(Commits {
        repository: summary.repository.clone()?,
        base: summary.base.clone()?,
        commit: summary.commit.clone()?,
        branch: summary.id.branch(),
    })
}

/// The patch of a change that was put together.
pub(crate) fn of_change(change: &ChangeDetail) -> Option<Commits> {
    let integration = change.integration.as_ref()?;
    Some(Commits {
        repository: change.summary.repository.clone(),
        base: integration.base.clone(),
        commit: integration.commit.clone(),
        branch: change.branch.clone(),
    })
}

/// Reads a patch; fetches what is missing.
pub(crate) async fn read(control: &Control, commits: Commits) -> Result<Patch, ApiError> {
    let reading = tokio::time::timeout(PATIENCE, compare(control, commits));
    reading.await.unwrap_or_else(|_| {
        let message = format!("the remote has not sent the commits within {} s", PATIENCE.as_secs());
        Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "git", message).hint("try again: the fetch goes on"))
    })
}

async fn compare(control: &Control, commits: Commits) -> Result<Patch, ApiError> {
    let Commits { repository, base, commit, branch } = commits;
    let repository = control.repository(&repository).await?;
    let mirror = control.mirror(&repository).await?;
    mirror.ensure_commit(&base, Some(&repository.target)).await.map_err(ControlError::Git)?;
    mirror.ensure_commit(&commit, Some(&branch)).await.map_err(ControlError::Git)?;
    let objects = mirror.objects();
    let diff = blocking(move || {
        let delta = objects.delta(&objects.tree_of(&base)?, &objects.tree_of(&commit)?)?;
        objects.unified_diff(&delta, MAX_BYTES)
    })
    .await
    .map_err(ControlError::Git)?;
    Ok(Patch { text: diff.text, is_cut: diff.truncated })
}

impl IntoResponse for Patch {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (HeaderName::from_static("patchfarm-truncated"), if self.is_cut { "true" } else { "false" }),
        ];
        (headers, self.text).into_response()
    }
}
