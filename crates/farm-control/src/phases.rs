//! Moves changes on: `plan → code_phase → build1 → approval`. Phases advance on rows of the store, never on news.

use std::sync::Arc;
use std::time::Duration;

use farm_core::id::RepoName;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{CodingTask, Kind, Yield};
use farm_store::{Accepted, ChangeFilter, ChangeView, Page, TaskFilter, TaskView};
use farm_wire::{Message, v1};
use tokio_util::sync::CancellationToken;

use crate::control::{Control, ControlError};
use crate::intake::task_id;
use crate::integrate::Integrated;

/// How long nothing may change before changes are looked at all the same: what failed for lack of a remote is tried again.
const LOOK: Duration = Duration::from_secs(2);
/// Changes that are looked at in one state at once.
const AT_ONCE: u32 = 500;
/// The most tasks of a change that are read at once.
const MAX_TASKS: u32 = 25_000;

/// Runs until told to stop.
pub async fn run(control: Arc<Control>, stop: CancellationToken) {
    let mut commits = control.store.commits();
    loop {
        commits.mark_unchanged();
        if let Err(error) = step(&control).await {
            tracing::error!(%error, "changes are not moved on while the store does not answer");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = commits.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Looks once at every change that the farm itself has work to do for. Doing it twice does no harm.
pub async fn step(control: &Control) -> Result<(), ControlError> {
    for state in [ChangeState::Plan, ChangeState::CodePhase, ChangeState::Build1] {
        let filter = ChangeFilter { state: Some(state), repository: None };
        for change in control.store.changes(&filter, Page::first(AT_ONCE)).await? {
            if let Err(error) = advance(control, &change).await {
                tracing::warn!(change = %change.id, state = state.name(), %error, "not moved on; tried again later");
            }
        }
    }
    Ok(())
}

async fn advance(control: &Control, change: &ChangeView) -> Result<(), ControlError> {
    match change.state {
        ChangeState::Plan => control.plan(change).await,
        ChangeState::CodePhase => code_phase(control, change).await,
        ChangeState::Build1 => build1(control, change).await,
        _ => Ok(()),
    }
}

/// All tasks done: integrate them, and ask for the build.
async fn code_phase(control: &Control, change: &ChangeView) -> Result<(), ControlError> {
    let tasks = patches(control, change).await?;
    if tasks.iter().any(|task| task.state != TaskState::Done) {
        return Ok(());
    }
    let failed: Vec<&TaskView> = tasks.iter().filter(|task| task.status != Some(Status::Success)).collect();
    if !failed.is_empty() {
        // What failed of itself, not what could not begin because of it.
        let own = |task: &&&TaskView| task.reason != Some(Reason::PrecedingFailed);
        let cause = failed.iter().find(own).or(failed.first()).and_then(|task| task.reason);
        let notes = failed.iter().map(|task| format!("{}: {}", task.task.id, ended(task))).collect();
        return leave(control, change, ChangeState::Failed, cause, notes).await;
    }
    match control.integrate(change, &tasks).await? {
        Integrated::Pushed(integration) => {
            let build = v1::BuildRequest {
                change_id: change.id.to_string(),
                repository: change.repository.to_string(),
                branch_name: change.id.branch(),
                commit_sha: integration.commit.to_string(),
                stage: ChangeState::Build1.name().to_owned(),
            };
            let task = build_task(change, &integration.commit)?;
            let task = control.own_task(&task).await?;
            if let Accepted::OtherContent { detail } =
                control.store.add_tasks(&change.id, vec![task], control.now_ms()).await?
            {
                return Err(ControlError::Refused { what: "the build task", detail });
            }
            leave(control, change, ChangeState::Build1, None, Vec::new()).await?;
            if let Err(error) = control.publisher.build_request(&build).await {
                tracing::warn!(change = %change.id, %error, "outside CI was not told of the build");
            }
            Ok(())
        }
        Integrated::Nothing => {
            leave(control, change, ChangeState::Done, None, vec!["no task changed anything".to_owned()]).await
        }
        Integrated::Denied(denial) => {
            leave(control, change, ChangeState::Failed, Some(Reason::PathForbidden), vec![denial]).await
        }
        Integrated::Collision { task, paths } => {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            let note = format!("{task} collides with the tasks before it in {}", paths.join(", "));
            leave(control, change, ChangeState::Failed, Some(Reason::PatchRefused), vec![note]).await
        }
    }
}

/// The build task done: the change waits for a person, or goes.
async fn build1(control: &Control, change: &ChangeView) -> Result<(), ControlError> {
    let Some(integration) = &change.integration else { return Ok(()) };
    let id = build_task(change, &integration.commit)?.id;
    let Some(task) = control.store.task(&id).await? else { return Ok(()) };
    let (Some(status), Some(bytes)) = (task.status, task.result.as_deref()) else { return Ok(()) };
    let result = v1::CommitResult::decode(bytes)
        .map_err(|error| ControlError::Refused { what: "a stored result", detail: error.to_string() })?;
    let (to, outcome) = match status {
        Status::Success => (ChangeState::Approval, "pass"),
        Status::SoftFail | Status::HardFail => (ChangeState::Failed, "fail"),
    };
    leave(control, change, to, task.reason, result.notes.clone()).await?;
    control.metrics.gates.with_label_values(&[ChangeState::Build1.name(), outcome]).inc();
    let build = v1::BuildResult {
        change_id: change.id.to_string(),
        repository: change.repository.to_string(),
        branch_name: change.id.branch(),
        commit_sha: integration.commit.to_string(),
        stage: ChangeState::Build1.name().to_owned(),
        status: result.status,
        reason: result.reason,
        checks: result.checks,
        notes: result.notes,
    };
    if let Err(error) = control.publisher.build_result(&build).await {
        tracing::warn!(change = %change.id, %error, "the build's result was not published");
    }
    Ok(())
}

/// The full checks of the integrated commit, run by a worker like any task.
fn build_task(change: &ChangeView, commit: &farm_core::id::Oid) -> Result<CodingTask, ControlError> {
    let id = task_id(&change.id, &format!("build1-{}", change.round))?;
    let repository: RepoName = change.repository.clone();
    Ok(CodingTask {
        kind: Kind::from("test"),
        repository: Some(repository),
        base: Some(commit.clone()),
        change: Some(change.id.clone()),
        source: "control".to_owned(),
        risk: change.risk,
        priority: change.priority.saturating_add(1),
        ..CodingTask::new(id, format!("build1 of change {}", change.id))
    })
}

/// The tasks of this change that were not made by control to check it, oldest first.
async fn patches(control: &Control, change: &ChangeView) -> Result<Vec<TaskView>, ControlError> {
    let filter = TaskFilter { change: Some(change.id.clone()), ..TaskFilter::default() };
    let mut tasks = control.store.tasks(&filter, Page::first(MAX_TASKS)).await?;
    // What a person's retry replaced is not what counts any more.
    tasks.retain(|view| view.task.kind.yields() != Yield::Checks && view.replaced_by.is_none());
    tasks.reverse();
    Ok(tasks)
}

fn ended(task: &TaskView) -> String {
    let status = task.status.map_or("", Status::as_str);
    format!("{status} {}", task.reason.map_or("", Reason::code))
}

async fn leave(
    control: &Control,
    change: &ChangeView,
    to: ChangeState,
    reason: Option<Reason>,
    notes: Vec<String>,
) -> Result<(), ControlError> {
    control.store.move_change(&change.id, change.state, to, reason, notes, control.now_ms()).await?;
    tracing::info!(change = %change.id, from = change.state.name(), to = to.name(), "change moved");
    Ok(())
}

/// A stored result, decoded.
pub fn decode_result(bytes: &[u8]) -> Option<CommitResult> {
    CommitResult::try_from(v1::CommitResult::decode(bytes).ok()?).ok()
}
