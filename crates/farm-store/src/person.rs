//! What a person does to tasks and changes under way.

use farm_core::id::{ChangeId, TaskId};
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::{ChangeState, TaskState};
use serde_json::json;

use crate::accept::{self, Accepted, NewTask, Turns};
use crate::change;
use crate::error::{Result, StoreError};
use crate::finish::{self, By};
use crate::row::{TaskRow, get_id};
use crate::store::Store;
use crate::writer::Tx;

/// What came of cancelling a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledTask {
    /// It waited for its turn, and is done now.
    Queued,
    /// It ran, and is done now: its run is told to stop at its next call, and can prepare and complete nothing.
    Running,
    /// It had its result already, which stands.
    Done,
}

/// What came of retrying a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetriedTask {
    /// It waited for a time; it is due now.
    Hastened,
    /// It had ended without success: its result stands (I1), and another task does its work anew.
    Replaced {
        /// That task.
        by: TaskId,
    },
}

impl Store {
    /// Ends a task that has not ended, as cancelled.
    pub async fn cancel_task(&self, task: &TaskId, actor: &str, now_ms: u64) -> Result<CancelledTask> {
        let (task, actor) = (task.clone(), actor.to_owned());
        self.write(move |tx| Box::pin(async move { cancel(tx, &task, &actor, now_ms).await })).await
    }

    /// Cancels a change and every task of it that has not ended; answers how many those were.
    pub async fn cancel_change(&self, change: &ChangeId, actor: &str, now_ms: u64) -> Result<usize> {
        let (change, actor) = (change.clone(), actor.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let view = change::find(tx, &change).await?;
                if view.state == ChangeState::Cancelled {
                    return Ok(0);
                }
                if !view.state.may_become(ChangeState::Cancelled) {
                    let detail = format!("change {change} is {}: it cannot be cancelled", view.state.name());
                    return Err(StoreError::Conflict { detail });
                }
                tx.record(Event::Cancelled, &change, &actor, json!({}), now_ms);
                let reason = Some(Reason::Cancelled);
                change::record_move(tx, &view, ChangeState::Cancelled, reason, &[], &actor, now_ms).await?;
                cancel_open(tx, &change, &actor, now_ms).await
            })
        })
        .await
    }

    /// Begins a task anew. `replacement` is the same task under a new id, needed if the task has ended: results are for
    /// ever, so a new one needs a new id.
    pub async fn retry_task(
        &self,
        task: &TaskId,
        replacement: Option<NewTask>,
        actor: &str,
        now_ms: u64,
    ) -> Result<RetriedTask> {
        let (task, actor) = (task.clone(), actor.to_owned());
        self.write(move |tx| Box::pin(async move { retry(tx, &task, replacement, &actor, now_ms).await }))
            .await
    }
}

/// Cancels every task of a change that has not ended; answers how many those were.
pub(crate) async fn cancel_open(tx: &mut Tx, change: &ChangeId, actor: &str, now_ms: u64) -> Result<usize> {
    let query = sqlx::query("SELECT id FROM tasks WHERE change_id = $1 AND state <> 'done' ORDER BY seq");
    let rows = tx.all(query.bind(change.as_str())).await?;
    for row in &rows {
        cancel(tx, &get_id(row, "id")?, actor, now_ms).await?;
    }
    Ok(rows.len())
}

async fn cancel(tx: &mut Tx, task: &TaskId, actor: &str, now_ms: u64) -> Result<CancelledTask> {
    let row = TaskRow::find(tx, task).await?.ok_or_else(|| StoreError::unknown("task", task))?;
    let was = match row.state {
        TaskState::Done => return Ok(CancelledTask::Done),
        TaskState::Queued => CancelledTask::Queued,
        TaskState::Running => CancelledTask::Running,
    };
    tx.record(Event::Cancelled, task, actor, json!({ "was": row.state }), now_ms);
    let notes = vec![format!("cancelled by {actor}")];
    finish::end(tx, task, Reason::Cancelled, notes, By::Person(actor), now_ms).await?;
    Ok(was)
}

async fn retry(
    tx: &mut Tx,
    task: &TaskId,
    replacement: Option<NewTask>,
    actor: &str,
    now_ms: u64,
) -> Result<RetriedTask> {
    let conflict = |detail: String| Err(StoreError::Conflict { detail });
    let row = TaskRow::find(tx, task).await?.ok_or_else(|| StoreError::unknown("task", task))?;
    if row.state == TaskState::Running {
        return conflict(format!("task {task} is running: cancel it first"));
    }
    if row.state == TaskState::Queued {
        tx.record(Event::TaskRetried, task, actor, json!({ "hastened": true }), now_ms);
        let statement = sqlx::query(
            "UPDATE tasks SET due_ms = 0, offer_ms = 0, partition = -1 WHERE id = $1 AND due_ms > 0",
        );
        tx.run(statement.bind(task.as_str())).await?;
        return Ok(RetriedTask::Hastened);
    }
    if row.status == Some(Status::Success) {
        return conflict(format!("task {task} has succeeded: there is nothing to retry"));
    }
    if let Some(by) = row.replaced_by {
        return Ok(RetriedTask::Replaced { by });
    }
    let Some(new) = replacement else {
        return conflict(format!("task {task} has its result, which stands: a retry needs a new id"));
    };
    let by = new.task.id.clone();
    tx.record(Event::TaskRetried, task, actor, json!({ "replaced_by": by }), now_ms);
    let mut turns = Turns::default();
    if let Accepted::OtherContent { detail } =
        accept::accept(tx, &new, &mut turns, By::Person(actor), now_ms).await?
    {
        return conflict(detail);
    }
    turns.store(tx).await?;
    let statement = sqlx::query("UPDATE tasks SET replaced_by = $2 WHERE id = $1");
    tx.run(statement.bind(task.as_str()).bind(by.as_str())).await?;
    Ok(RetriedTask::Replaced { by })
}
