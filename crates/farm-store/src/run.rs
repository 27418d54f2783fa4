//! What a run may do, and how it ends without a result.

use farm_core::id::{Oid, TaskId, Token};
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::service::{Beat, Denied, GiveBack, Intent, RunRef, Step};
use farm_core::state::TaskState;
use farm_core::task::Budget;
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use crate::begin;
use crate::error::Result;
use crate::finish::{self, By, Outcome};
use crate::lease;
use crate::row::{TaskRow, budget, get, get_id, get_id_opt, get_uint, int, to_json};
use crate::store::Store;
use crate::writer::Tx;

/// The longest that a run given back waits for the next, whatever its worker asked for.
pub(crate) const MAX_DELAY_MS: u64 = 3_600_000;

/// The most steps that are kept of a task.
const MAX_STEPS: i64 = 200;

/// The most bytes of detail that are kept of a task: of the newest steps; older ones keep their summary.
const MAX_DETAIL: usize = 256 * 1024;

/// What became of a run that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenBack {
    /// The task waits for its next run.
    Queued {
        /// Not before then; 0 is at once.
        due_ms: u64,
    },
    /// No run is left: it has ended.
    Dead,
    /// No run is left, but a commit was prepared: the sweep lists it as dying until somebody has looked at the branch.
    Dying,
    /// The run had lost the task already.
    Stale,
}

impl Store {
    /// Keeps the lease. `spent` counts what the run has spent and what it is about to spend; the grant grows to cover it
    /// while the budget lasts.
    pub async fn heartbeat(&self, run: &RunRef, spent: Budget, now_ms: u64) -> Result<Beat> {
        let run = run.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let row = match authorize(tx, &run, Lease::Live, now_ms).await? {
                    Ok(row) => row,
                    Err(denied) => return Ok(Beat::Stop(denied)),
                };
                let remaining = budget::minus(row.budget, row.charged);
                let wanted = budget::plus(spent, begin::slice(row.budget, tx.options.max_runs));
                let grant = budget::most(row.grant, budget::least(wanted, remaining));
                tx.run(
                    sqlx::query(
                        "UPDATE tasks SET grant_tokens = $2, grant_cost = $3, spent_tokens = $4, spent_cost = $5
                         WHERE id = $1",
                    )
                    .bind(row.id.as_str())
                    .bind(int(grant.tokens))
                    .bind(int(grant.cost_micro_usd))
                    .bind(int(spent.tokens))
                    .bind(int(spent.cost_micro_usd)),
                )
                .await?;
                let lease_ms = renew(tx, &row, now_ms).await?;
                Ok(Beat::Renewed { lease_ms, grant })
            })
        })
        .await
    }

    /// Keeps steps for the timeline, the newest within limits. What a stale run tells is dropped.
    pub async fn report(&self, run: &RunRef, steps: Vec<Step>) -> Result<()> {
        let run = run.clone();
        self.write(move |tx| {
            Box::pin(async move {
                match TaskRow::find(tx, &run.task).await? {
                    Some(row) if row.token == run.token && row.runs > 0 => keep_steps(tx, &row, steps).await,
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// The stored result is on the topic.
    pub async fn published(&self, task: &TaskId, now_ms: u64) -> Result<()> {
        let task = task.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let statement = sqlx::query(
                    "UPDATE tasks SET published_ms = $2 WHERE id = $1 AND state = 'done' AND published_ms = 0",
                );
                tx.run(statement.bind(task.as_str()).bind(int(now_ms.max(1)))).await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends the run, not the task, unless it was its last.
    pub async fn give_back(&self, give_back: &GiveBack, now_ms: u64) -> Result<GivenBack> {
        let give_back = give_back.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let row = match authorize(tx, &give_back.run, Lease::Any, now_ms).await? {
                    Ok(row) => row,
                    Err(_) => return Ok(GivenBack::Stale),
                };
                let body = json!({
                    "token": row.token,
                    "run": row.runs,
                    "reason": give_back.reason,
                    "detail": give_back.detail,
                    "spent": give_back.spent,
                });
                tx.record(Event::TaskGivenBack, &row.id, &row.worker, body, now_ms);
                if row.runs < tx.options.max_runs {
                    let due_ms = match give_back.delay_ms {
                        0 => 0,
                        delay_ms => now_ms.saturating_add(delay_ms.min(MAX_DELAY_MS)),
                    };
                    requeue(tx, &row, give_back.spent, due_ms, &give_back.detail).await?;
                    return Ok(GivenBack::Queued { due_ms });
                }
                if last_intent(tx, &row.id).await?.is_some() {
                    lay_down(tx, &row, give_back.spent, &give_back.detail, now_ms).await?;
                    return Ok(GivenBack::Dying);
                }
                let runs = format!("given back in run {} of {}", row.runs, tx.options.max_runs);
                let result = finish::made_result(tx, &row, give_back.reason, vec![give_back.detail, runs]);
                let outcome = Outcome::failed(give_back.reason, result, give_back.spent);
                finish::conclude(tx, &row, outcome, By::Control, now_ms).await?;
                Ok(GivenBack::Dead)
            })
        })
        .await
    }
}

/// Whether a call needs the lease itself, or only that nobody was given a newer token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lease {
    Live,
    Any,
}

/// The row of the task that `run` has, or why it has it no more (I3).
pub(crate) async fn authorize(
    tx: &mut Tx,
    run: &RunRef,
    lease: Lease,
    now_ms: u64,
) -> Result<std::result::Result<TaskRow, Denied>> {
    let lost = |detail: String| Ok(Err(Denied { reason: Reason::LeaseLost, detail }));
    let Some(row) = TaskRow::find(tx, &run.task).await? else {
        return lost(format!("task {} is not known here", run.task));
    };
    if row.state == TaskState::Done && row.reason == Some(Reason::Cancelled) {
        let detail = format!("task {} was cancelled", run.task);
        return Ok(Err(Denied { reason: Reason::Cancelled, detail }));
    }
    if row.state == TaskState::Done {
        return lost(format!("task {} has its result", run.task));
    }
    if row.state != TaskState::Running || row.token != run.token {
        return lost(format!("task {}: token {} is not its run's", run.task, run.token));
    }
    if lease == Lease::Live && row.lease_until_ms <= now_ms {
        return lost(format!("task {}: the lease ended at {}", run.task, row.lease_until_ms));
    }
    Ok(Ok(row))
}

/// Makes a run's lease, and those on its files, last from now on; answers how long.
pub(crate) async fn renew(tx: &mut Tx, row: &TaskRow, now_ms: u64) -> Result<u64> {
    let lease_ms = tx.options.lease_ms;
    let statement = sqlx::query("UPDATE tasks SET lease_until_ms = $2 WHERE id = $1");
    tx.run(statement.bind(row.id.as_str()).bind(int(now_ms.saturating_add(lease_ms)))).await?;
    lease::keep_all(tx, &row.id, row.token, now_ms).await?;
    Ok(lease_ms)
}

/// Ends a run whose lease ran out, if another is left; its whole grant stays charged (I9).
pub(crate) async fn expire(tx: &mut Tx, row: &TaskRow, now_ms: u64) -> Result<()> {
    let body = json!({ "token": row.token, "run": row.runs, "worker": row.worker });
    tx.record(Event::LeaseExpired, &row.id, "control", body, now_ms);
    requeue(tx, row, row.grant, 0, "its lease ran out").await
}

async fn requeue(tx: &mut Tx, row: &TaskRow, cost: Budget, due_ms: u64, setback: &str) -> Result<()> {
    let charged = budget::plus(row.charged, cost);
    tx.run(
        sqlx::query(
            "UPDATE tasks SET state = 'queued', due_ms = $2, offer_ms = $2, partition = -1, offers = 0,
                              charged_tokens = $3, charged_cost = $4, grant_tokens = 0, grant_cost = 0, setback = $5
             WHERE id = $1",
        )
        .bind(row.id.as_str())
        .bind(int(due_ms))
        .bind(int(charged.tokens))
        .bind(int(charged.cost_micro_usd))
        .bind(setback),
    )
    .await?;
    lease::release_all(tx, &row.id).await
}

/// Ends the lease of a last run whose commit may be on its branch.
async fn lay_down(tx: &mut Tx, row: &TaskRow, cost: Budget, setback: &str, now_ms: u64) -> Result<()> {
    tx.run(
        sqlx::query(
            "UPDATE tasks SET lease_until_ms = $2, grant_tokens = $3, grant_cost = $4, setback = $5 WHERE id = $1",
        )
        .bind(row.id.as_str())
        .bind(int(now_ms))
        .bind(int(cost.tokens))
        .bind(int(cost.cost_micro_usd))
        .bind(setback),
    )
    .await?;
    lease::release_all(tx, &row.id).await
}

/// The newest intent of a task.
pub(crate) async fn last_intent(tx: &mut Tx, task: &TaskId) -> Result<Option<Intent>> {
    let query = sqlx::query("SELECT * FROM intents WHERE task_id = $1 ORDER BY seq DESC LIMIT 1");
    tx.one(query.bind(task.as_str())).await?.as_ref().map(read_intent).transpose()
}

pub(crate) fn read_intent(row: &SqliteRow) -> Result<Intent> {
    Ok(Intent {
        token: Token(get_uint(row, "token")?),
        old: get_id_opt::<Oid>(row, "old_commit")?,
        commit: get_id(row, "new_commit")?,
        result: get(row, "result")?,
    })
}

async fn keep_steps(tx: &mut Tx, row: &TaskRow, steps: Vec<Step>) -> Result<()> {
    let last =
        sqlx::query("SELECT COALESCE(MAX(n), 0) AS n FROM steps WHERE task_id = $1").bind(row.id.as_str());
    let mut n: i64 = tx.one(last).await?.map_or(Ok(0), |row| get(&row, "n"))?;
    for mut step in steps {
        n += 1;
        truncate(&mut step.detail, MAX_DETAIL / 4);
        truncate(&mut step.summary, 1024);
        let statement =
            sqlx::query("INSERT INTO steps (task_id, n, run, step, bytes) VALUES ($1, $2, $3, $4, $5)")
                .bind(row.id.as_str())
                .bind(n)
                .bind(row.runs)
                .bind(to_json("step", &step)?)
                .bind(int(step.detail.len() as u64));
        tx.run(statement).await?;
    }
    let old = sqlx::query("DELETE FROM steps WHERE task_id = $1 AND n <= $2");
    tx.run(old.bind(row.id.as_str()).bind(n - MAX_STEPS)).await?;
    drop_old_details(tx, &row.id).await
}

async fn drop_old_details(tx: &mut Tx, task: &TaskId) -> Result<()> {
    let total = sqlx::query("SELECT COALESCE(SUM(bytes), 0) AS total FROM steps WHERE task_id = $1");
    let total: i64 = tx.one(total.bind(task.as_str())).await?.map_or(Ok(0), |row| get(&row, "total"))?;
    let mut excess = total - MAX_DETAIL as i64;
    if excess <= 0 {
        return Ok(());
    }
    let query = sqlx::query("SELECT n, step, bytes FROM steps WHERE task_id = $1 AND bytes > 0 ORDER BY n");
    for row in tx.all(query.bind(task.as_str())).await? {
        if excess <= 0 {
            break;
        }
        let mut step: Step = crate::row::get_json(&row, "step")?;
        step.detail.clear();
        let statement = sqlx::query("UPDATE steps SET step = $3, bytes = 0 WHERE task_id = $1 AND n = $2")
            .bind(task.as_str())
            .bind(get::<i64>(&row, "n")?)
            .bind(to_json("step", &step)?);
        tx.run(statement).await?;
        excess -= get::<i64>(&row, "bytes")?;
    }
    Ok(())
}

/// Cuts text to at most `max` bytes, between characters.
fn truncate(text: &mut String, max: usize) {
    if text.len() > max {
        let cut = (0..=max).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
}
