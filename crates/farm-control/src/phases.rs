//! Moves changes on: `plan → code_phase → build1 → approval`, and back with the task that [`crate::rounds`] adds. Phases
//! advance on rows of the store, never on news.

use std::sync::Arc;
use std::time::Duration;

use farm_core::id::{RepoName, TaskId};
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{Check, CodingTask, Kind, Yield};
use farm_store::{Accepted, ChangeFilter, ChangeView, Page, TaskFilter, TaskView};
use farm_wire::{Message, v1};
use tokio_util::sync::CancellationToken;

use crate::control::{Control, ControlError};
use crate::intake::task_id;
use crate::integrate::Integrated;
use crate::rounds::taken;

/// How long nothing may change before changes are looked at all the same: what failed for lack of a remote is tried again.
const LOOK: Duration = Duration::from_secs(2);
/// Changes that are read at once.
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
        let mut page = Page::first(AT_ONCE);
        loop {
            let changes = control.store.changes(&filter, page).await?;
            let Some(last) = changes.last() else { break };
            page.before_seq = Some(last.seq);
            for change in changes {
                if let Err(error) = advance(control, &change).await {
                    let state = state.name();
                    tracing::warn!(change = %change.id, state, %error, "not moved on; tried again later");
                }
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
    if has_open_tasks(control, change).await? {
        return Ok(());
    }
    let tasks = own_tasks(control, change).await?;
    // That was a look at two moments, and a task may have been begun between them; this is one at one.
    if tasks.iter().any(|task| task.state != TaskState::Done) {
        return Ok(());
    }
    // What was done anew is not what counts any more.
    let counting = tasks.iter().filter(|task| task.replaced_by.is_none());
    let failed: Vec<&TaskView> = counting.filter(|task| task.status != Some(Status::Success)).collect();
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
            let task = control.own_task(&build_task(change, &integration.commit, &tasks)?).await?;
            let id = task.task.id.clone();
            let added = control.store.add_tasks(&change.id, vec![task], control.now_ms()).await?;
            if matches!(added, Accepted::OtherContent { .. }) {
                let invalid = Some(Reason::TaskInvalid);
                return leave(control, change, ChangeState::Failed, invalid, vec![taken(&id)]).await;
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
        Integrated::Collision(collision) => control.mend_collision(change, &tasks, collision).await,
    }
}

/// The build task done: the change waits for a person, or goes.
async fn build1(control: &Control, change: &ChangeView) -> Result<(), ControlError> {
    let Some(integration) = &change.integration else { return Ok(()) };
    let id = build_id(change, change.round)?;
    let Some(task) = control.store.task(&id).await? else { return Ok(()) };
    let (Some(status), Some(bytes)) = (task.status, task.result.as_deref()) else { return Ok(()) };
    let refused = |detail: String| ControlError::Refused { what: "a stored result", detail };
    let wire = v1::CommitResult::decode(bytes).map_err(|error| refused(error.to_string()))?;
    let result = CommitResult::try_from(wire.clone()).map_err(|error| refused(error.to_string()))?;
    // A patch can mend what the checks showed, and nothing else that keeps a build from ending well.
    let mendable = matches!(result.reason, Reason::ChecksFailed | Reason::CheckNotRun);
    let outcome = match status {
        Status::Success => {
            leave(control, change, ChangeState::Approval, task.reason, result.notes).await?;
            "pass"
        }
        Status::SoftFail | Status::HardFail => {
            if mendable && control.has_round_left(change) {
                let tasks = own_tasks(control, change).await?;
                control.mend_build(change, &tasks, &integration.commit, &result).await?;
            } else {
                leave(control, change, ChangeState::Failed, task.reason, result.notes).await?;
            }
            "fail"
        }
    };
    control.metrics.gates.with_label_values(&[ChangeState::Build1.name(), outcome]).inc();
    let build = v1::BuildResult {
        change_id: change.id.to_string(),
        repository: change.repository.to_string(),
        branch_name: change.id.branch(),
        commit_sha: integration.commit.to_string(),
        stage: ChangeState::Build1.name().to_owned(),
        status: wire.status,
        reason: wire.reason,
        checks: wire.checks,
        notes: wire.notes,
    };
    if let Err(error) = control.publisher.build_result(&build).await {
        tracing::warn!(change = %change.id, %error, "the build's result was not published");
    }
    Ok(())
}

/// The full checks of the integrated commit, run by a worker like any task.
fn build_task(
    change: &ChangeView,
    commit: &farm_core::id::Oid,
    tasks: &[TaskView],
) -> Result<CodingTask, ControlError> {
    let id = build_id(change, change.round)?;
    let repository: RepoName = change.repository.clone();
    Ok(CodingTask {
        kind: Kind::from("test"),
        repository: Some(repository),
        base: Some(commit.clone()),
        change: Some(change.id.clone()),
        checks: build_checks(tasks),
        source: "control".to_owned(),
        risk: change.risk,
        priority: change.priority.saturating_add(1),
        ..CodingTask::new(id, format!("build1 of change {}", change.id))
    })
}

/// Where every task brought its own checks (or waived them), the build has all of these; else it finds the repository's.
fn build_checks(tasks: &[TaskView]) -> Option<Vec<Check>> {
    let mut all: Vec<Check> = Vec::new();
    for view in tasks {
        for check in view.task.checks.as_ref()? {
            if !all.contains(check) {
                all.push(check.clone());
            }
        }
    }
    Some(all)
}

/// Whether a task of this change has not ended. Reads a few rows, since changes are looked at at every commit of the store:
/// one more than there are builds.
async fn has_open_tasks(control: &Control, change: &ChangeView) -> Result<bool, ControlError> {
    let few = Page::first(change.round.saturating_add(2));
    for state in [TaskState::Running, TaskState::Queued] {
        let filter = TaskFilter { change: Some(change.id.clone()), state: Some(state), repository: None };
        if control.store.tasks(&filter, few).await?.iter().any(|view| !is_build(change, view)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tasks of this change that control did not make to check it, oldest first; replaced ones as well.
async fn own_tasks(control: &Control, change: &ChangeView) -> Result<Vec<TaskView>, ControlError> {
    let filter = TaskFilter { change: Some(change.id.clone()), ..TaskFilter::default() };
    let mut tasks = control.store.tasks(&filter, Page::first(MAX_TASKS)).await?;
    tasks.retain(|view| !is_build(change, view));
    tasks.reverse();
    Ok(tasks)
}

fn is_build(change: &ChangeView, view: &TaskView) -> bool {
    view.task.kind.yields() == Yield::Checks
        && (0..=change.round).any(|round| build_id(change, round).is_ok_and(|id| id == view.task.id))
}

fn build_id(change: &ChangeView, round: u32) -> Result<TaskId, ControlError> {
    task_id(&change.id, &format!("{}-{round}", ChangeState::Build1.name()))
}

fn ended(task: &TaskView) -> String {
    let status = task.status.map_or("", Status::as_str);
    format!("{status} {}", task.reason.map_or("", Reason::code))
}

pub(crate) async fn leave(
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
