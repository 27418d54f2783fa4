//! The one way to end a task (I1): result, state, leases, budget, successors and ledger in one transaction.

use farm_core::delta::sha256;
use farm_core::id::{Oid, TaskId};
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::state::TaskState;
use farm_core::task::Budget;
use serde_json::json;

use crate::error::{Result, StoreError};
use crate::lease;
use crate::row::{TaskRow, budget, get_id, int};
use crate::store::Store;
use crate::writer::Tx;

/// Who ends a task. A worker publishes what it ended; what control ends is for the sweep to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    Control,
    Person(&'a str),
    Worker(&'a str),
}

impl By<'_> {
    pub(crate) fn actor(&self) -> &str {
        match self {
            Self::Control => "control",
            Self::Person(name) | Self::Worker(name) => name,
        }
    }
}

/// What came of ending a task from outside its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It has its result now.
    Now,
    /// It had one already, which stands.
    Before,
}

impl Store {
    /// Ends a task with HARD_FAIL: dead, unplannable, whatever control has found out.
    pub async fn finish_by_control(
        &self,
        task: &TaskId,
        reason: Reason,
        notes: Vec<String>,
        now_ms: u64,
    ) -> Result<Ended> {
        let task = task.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let row =
                    TaskRow::find(tx, &task).await?.ok_or_else(|| StoreError::unknown("task", &task))?;
                if row.state == TaskState::Done {
                    return Ok(Ended::Before);
                }
                end(tx, &task, reason, notes, By::Control, now_ms).await?;
                Ok(Ended::Now)
            })
        })
        .await
    }
}

/// What a task is told whose predecessor did not succeed.
pub(crate) fn preceding_failed(predecessor: &TaskId, reason: Option<Reason>) -> (Reason, String) {
    let code = reason.map_or("unknown", Reason::code);
    (Reason::PrecedingFailed, format!("task {predecessor}, which must come first, ended with {code}"))
}

/// Ends a task that has no result of its own, and every task that waits for it.
pub(crate) async fn end(
    tx: &mut Tx,
    task: &TaskId,
    reason: Reason,
    notes: Vec<String>,
    by: By<'_>,
    now_ms: u64,
) -> Result<()> {
    let Some(row) = TaskRow::find(tx, task).await? else { return Ok(()) };
    if row.state == TaskState::Done {
        return Ok(());
    }
    // Nobody told what the run spent: the whole grant stays charged (I9).
    let cost = row.grant;
    let bytes = made_result(tx, &row, reason, notes);
    conclude(tx, &row, Outcome::failed(reason, bytes, cost), by, now_ms).await
}

pub(crate) fn made_result(tx: &Tx, row: &TaskRow, reason: Reason, notes: Vec<String>) -> Vec<u8> {
    let mut result = CommitResult::ended(row.id.clone(), reason, notes);
    result.change = row.change.clone();
    result.repository = row.repository();
    result.base = row.base.clone();
    result.token = row.token;
    (tx.options.encoder)(&result)
}

/// How a task ended.
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    pub(crate) bytes: Vec<u8>,
    /// What its last run cost.
    pub(crate) cost: Budget,
    /// The pushed commit, for the ledger.
    pub(crate) commit: Option<Oid>,
}

impl Outcome {
    /// The end of a task that did not succeed.
    pub(crate) fn failed(reason: Reason, bytes: Vec<u8>, cost: Budget) -> Self {
        Self { status: reason.status(), reason, bytes, cost, commit: None }
    }
}

/// Stores the one result of a task that has none, and settles everything that hangs on it.
pub(crate) async fn conclude(
    tx: &mut Tx,
    row: &TaskRow,
    outcome: Outcome,
    by: By<'_>,
    now_ms: u64,
) -> Result<()> {
    store_result(tx, row, &outcome, by, now_ms).await?;
    if outcome.status == Status::Success {
        return wake_successors(tx, &row.id).await;
    }
    // Successors of successors, without recursion: a chain may be long.
    let mut failed = vec![(row.id.clone(), outcome.reason)];
    while let Some((predecessor, reason)) = failed.pop() {
        for successor in successors(tx, &predecessor).await? {
            let (reason, note) = preceding_failed(&predecessor, Some(reason));
            let bytes = made_result(tx, &successor, reason, vec![note]);
            let outcome = Outcome::failed(reason, bytes, successor.grant);
            store_result(tx, &successor, &outcome, By::Control, now_ms).await?;
            failed.push((successor.id, reason));
        }
    }
    Ok(())
}

async fn store_result(tx: &mut Tx, row: &TaskRow, outcome: &Outcome, by: By<'_>, now_ms: u64) -> Result<()> {
    let body = json!({
        "token": row.token,
        "run": row.runs,
        "status": outcome.status,
        "reason": outcome.reason,
        "commit": outcome.commit,
        "result": sha256(&outcome.bytes),
    });
    tx.record(Event::TaskDone, &row.id, by.actor(), body, now_ms);
    tx.run(
        sqlx::query("INSERT INTO results (task_id, bytes) VALUES ($1, $2)")
            .bind(row.id.as_str())
            .bind(&outcome.bytes),
    )
    .await?;
    let publish_due_ms = match by {
        By::Worker(_) => now_ms.saturating_add(tx.options.publish_timeout_ms),
        By::Control | By::Person(_) => now_ms,
    };
    let charged = budget::plus(row.charged, outcome.cost);
    let cleanup_ms = cleanup_ms(tx, row, outcome, now_ms).await?;
    tx.run(
        sqlx::query(
            "UPDATE tasks SET state = 'done', status = $2, reason = $3, done_ms = $4, publish_due_ms = $5,
                              partition = -1, charged_tokens = $6, charged_cost = $7, grant_tokens = 0, grant_cost = 0,
                              cleanup_ms = $8
             WHERE id = $1",
        )
        .bind(row.id.as_str())
        .bind(outcome.status.as_str())
        .bind(outcome.reason.code())
        .bind(int(now_ms))
        .bind(int(publish_due_ms))
        .bind(int(charged.tokens))
        .bind(int(charged.cost_micro_usd))
        .bind(int(cleanup_ms)),
    )
    .await?;
    lease::release_all(tx, &row.id).await
}

/// From when the branch of a task that did not succeed must go, if any run may have pushed one. While the last run's lease
/// lasts, its worker may still be pushing.
async fn cleanup_ms(tx: &mut Tx, row: &TaskRow, outcome: &Outcome, now_ms: u64) -> Result<u64> {
    let intents = sqlx::query("SELECT seq FROM intents WHERE task_id = $1 LIMIT 1").bind(row.id.as_str());
    if outcome.status == Status::Success || tx.one(intents).await?.is_none() {
        return Ok(0);
    }
    Ok(now_ms.max(row.lease_until_ms).max(1))
}

async fn wake_successors(tx: &mut Tx, task: &TaskId) -> Result<()> {
    tx.run(
        sqlx::query(
            "UPDATE tasks SET waiting_for = waiting_for - 1
             WHERE state = 'queued' AND waiting_for > 0
               AND id IN (SELECT task_id FROM dependencies WHERE predecessor = $1)",
        )
        .bind(task.as_str()),
    )
    .await?;
    Ok(())
}

async fn successors(tx: &mut Tx, task: &TaskId) -> Result<Vec<TaskRow>> {
    let query = sqlx::query("SELECT task_id FROM dependencies WHERE predecessor = $1 ORDER BY task_id");
    let mut rows = Vec::new();
    for row in tx.all(query.bind(task.as_str())).await? {
        let id: TaskId = get_id(&row, "task_id")?;
        if let Some(row) = TaskRow::find(tx, &id).await?
            && row.state != TaskState::Done
        {
            rows.push(row);
        }
    }
    Ok(rows)
}
