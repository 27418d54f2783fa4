//! Begin: one transaction decides what a worker does with a record (the table in DESIGN §4).

use farm_core::id::{Oid, RepoName, TaskId};
use farm_core::lease::LeaseKey;
use farm_core::ledger::Event;
use farm_core::service::{DeadReason, Rejected, Repository, Run};
use farm_core::state::TaskState;
use farm_core::task::Budget;
use serde_json::json;

use crate::accept::{self, NewTask, Turns};
use crate::error::{Result, StoreError};
use crate::finish::{self, By};
use crate::lease;
use crate::row::{TaskRow, budget, get, int};
use crate::run;
use crate::store::Store;
use crate::writer::Tx;

/// A worker's question, with what the caller found out before.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Names this delivery of the record to this worker: asked again by the same worker, it gets the same run.
    pub request_id: String,
    /// Who asks; unique among processes.
    pub worker: String,
    /// The record, with a refusal if the caller found that it must not run.
    pub offered: NewTask,
    /// Where it would run; needed unless it is refused.
    pub repository: Option<Repository>,
    /// The base to pin at the first run, if the caller has resolved it.
    pub pinned: Option<Oid>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Began {
    /// It is this task's turn.
    Run(Box<Run>),
    /// It would run, but no base is pinned and none was given. Its row is stored, no run was counted: resolve the tip of
    /// the target branch and ask again. So only what is about to run costs a look at the remote.
    NeedsBase,
    /// A result is stored.
    Done {
        /// The stored result.
        result: Vec<u8>,
    },
    /// Another run has it.
    Held,
    /// Not its turn; dispatch offers it when due.
    Deferred,
    /// Other content under a known id.
    Refused(Rejected),
}

impl Store {
    /// Decides and records, in one transaction.
    pub async fn begin(&self, begin: Begin, now_ms: u64) -> Result<Began> {
        self.write(move |tx| Box::pin(async move { decide(tx, begin, now_ms).await })).await
    }
}

async fn decide(tx: &mut Tx, begin: Begin, now_ms: u64) -> Result<Began> {
    let new = &begin.offered;
    let id = &new.task.id;
    let by = By::Worker(&begin.worker);
    let row = match TaskRow::find(tx, id).await? {
        Some(row) => row,
        None => {
            let mut turns = Turns::default();
            accept::insert(tx, new, &mut turns, by, now_ms).await?;
            turns.store(tx).await?;
            find(tx, id).await?
        }
    };
    if row.digest != new.digest {
        let detail = accept::other_content(id);
        let reason = DeadReason::OtherContent;
        return Ok(Began::Refused(Rejected { reason, detail, payload: new.record.clone() }));
    }
    let row = match row.state {
        TaskState::Done => return done(tx, id).await,
        TaskState::Running if row.lease_until_ms > now_ms => return same_run(tx, &begin, row, now_ms).await,
        TaskState::Running if row.runs >= tx.options.max_runs => return Ok(Began::Held),
        TaskState::Running => {
            run::expire(tx, &row, now_ms).await?;
            find(tx, id).await?
        }
        TaskState::Queued => row,
    };
    if let Some(refusal) = &new.refusal {
        finish::end(tx, id, refusal.reason, vec![refusal.note.clone()], by, now_ms).await?;
        return done(tx, id).await;
    }
    let Some(repository) = &begin.repository else {
        let detail = format!("task {id}: a task that may run needs its repository");
        return Err(StoreError::Conflict { detail });
    };
    if !is_its_turn(tx, &row, &repository.name, now_ms).await? {
        return defer(tx, &row).await;
    }
    let Some(base) = row.base.clone().or_else(|| begin.pinned.clone()) else {
        return needs_base(tx, &row, now_ms).await;
    };
    start(tx, &begin, row, repository, &base, now_ms).await
}

async fn find(tx: &mut Tx, id: &TaskId) -> Result<TaskRow> {
    TaskRow::find(tx, id).await?.ok_or_else(|| StoreError::unknown("task", id))
}

async fn done(tx: &mut Tx, id: &TaskId) -> Result<Began> {
    let query = sqlx::query("SELECT bytes FROM results WHERE task_id = $1").bind(id.as_str());
    let row = tx.one(query).await?.ok_or_else(|| StoreError::unknown("result", id))?;
    Ok(Began::Done { result: get(&row, "bytes")? })
}

/// A lost answer is given again, so that no worker is held up by itself. The lease begins anew with it, since the worker
/// counts it from the moment of this call.
async fn same_run(tx: &mut Tx, begin: &Begin, row: TaskRow, now_ms: u64) -> Result<Began> {
    let same = row.begin_request == begin.request_id && row.worker == begin.worker;
    match (&begin.repository, row.base.clone()) {
        (Some(repository), Some(base)) if same => {
            run::renew(tx, &row, now_ms).await?;
            run_of(tx, begin, &row, repository, &base).await
        }
        _ => Ok(Began::Held),
    }
}

/// The same conditions as in the query of `offer`: what is offered may run, what may not run is not offered.
async fn is_its_turn(tx: &mut Tx, row: &TaskRow, repository: &RepoName, now_ms: u64) -> Result<bool> {
    if row.waiting_for > 0 || row.due_ms > now_ms {
        return Ok(false);
    }
    let Some(path) = &row.path else { return Ok(true) };
    let key = LeaseKey { repository: repository.clone(), path: path.clone() };
    Ok(lease::in_the_way(tx, &key, &row.id, now_ms).await?.is_none())
}

/// The record is gone from the topic: dispatch offers the task again as soon as it may run.
async fn defer(tx: &mut Tx, row: &TaskRow) -> Result<Began> {
    let statement =
        sqlx::query("UPDATE tasks SET partition = -1, offer_ms = due_ms WHERE id = $1 AND partition >= 0");
    tx.run(statement.bind(row.id.as_str())).await?;
    Ok(Began::Deferred)
}

/// While control looks for the base, the record is in a worker's hand: dispatch does not offer the task beside it.
async fn needs_base(tx: &mut Tx, row: &TaskRow, now_ms: u64) -> Result<Began> {
    let until_ms = now_ms.saturating_add(tx.options.offer_timeout_ms);
    let statement = sqlx::query("UPDATE tasks SET offer_ms = $2 WHERE id = $1 AND offer_ms < $2");
    tx.run(statement.bind(row.id.as_str()).bind(int(until_ms))).await?;
    Ok(Began::NeedsBase)
}

async fn start(
    tx: &mut Tx,
    begin: &Begin,
    row: TaskRow,
    repository: &Repository,
    base: &Oid,
    now_ms: u64,
) -> Result<Began> {
    let token = tx.next_token(now_ms);
    let lease_until_ms = now_ms.saturating_add(tx.options.lease_ms);
    let remaining = budget::minus(row.budget, row.charged);
    let grant = budget::least(remaining, slice(row.budget, tx.options.max_runs));
    let body = json!({
        "token": token,
        "run": row.runs + 1,
        "base": base,
        "grant": grant,
        "request": begin.request_id,
    });
    tx.record(Event::TaskBegun, &row.id, &begin.worker, body, now_ms);
    tx.run(
        sqlx::query(
            "UPDATE tasks SET state = 'running', runs = runs + 1, token = $2, worker = $3, begin_request = $4,
                              lease_until_ms = $5, begun_ms = $6, base = $7, repository = $8,
                              first_begin_ms = CASE WHEN first_begin_ms = 0 THEN $6 ELSE first_begin_ms END,
                              grant_tokens = $9, grant_cost = $10, spent_tokens = 0, spent_cost = 0,
                              partition = -1, offers = 0
             WHERE id = $1",
        )
        .bind(row.id.as_str())
        .bind(int(token.0))
        .bind(&begin.worker)
        .bind(&begin.request_id)
        .bind(int(lease_until_ms))
        .bind(int(now_ms))
        .bind(base.as_str())
        .bind(repository.name.as_str())
        .bind(int(grant.tokens))
        .bind(int(grant.cost_micro_usd)),
    )
    .await?;
    lease::keep_all(tx, &row.id, token, now_ms).await?;
    if let Some(path) = &row.path {
        let key = LeaseKey { repository: repository.name.clone(), path: path.clone() };
        lease::take(tx, &key, &row.id, token, "", lease_until_ms).await?;
    }
    // A record from outside was never offered, and its turn has come all the same.
    if row.offers == 0 {
        accept::turn_has_come(tx, row.priority, row.rank).await?;
    }
    let row = find(tx, &row.id).await?;
    run_of(tx, begin, &row, repository, base).await
}

/// What is granted at once: one run's fair part, so that runs that crash, whose grants stay charged, leave something for
/// the last one (I9).
pub(crate) fn slice(whole: Budget, max_runs: u32) -> Budget {
    let parts = u64::from(max_runs.max(1));
    Budget { tokens: whole.tokens.div_ceil(parts), cost_micro_usd: whole.cost_micro_usd.div_ceil(parts) }
}

async fn run_of(
    tx: &mut Tx,
    begin: &Begin,
    row: &TaskRow,
    repository: &Repository,
    base: &Oid,
) -> Result<Began> {
    Ok(Began::Run(Box::new(Run {
        task: begin.offered.task.clone(),
        token: row.token,
        run: row.runs,
        base: base.clone(),
        repository: repository.clone(),
        lease_ms: tx.options.lease_ms,
        grant: row.grant,
        first_begin_ms: row.first_begin_ms,
        // A first run has no predecessor that could have left one.
        intent: if row.runs > 1 { run::last_intent(tx, &row.id).await? } else { None },
    })))
}
