//! What must be put right from time to time: leases that ran out, results nobody published, branches that must go.

use farm_core::id::{Oid, TaskId};
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::service::Intent;
use serde_json::json;

use crate::complete::dead_notes;
use crate::dispatch;
use crate::error::Result;
use crate::finish::{self, By};
use crate::row::{TaskRow, get, get_id, int};
use crate::run::{self, MAX_DELAY_MS};
use crate::store::Store;
use crate::writer::Tx;

/// What a sweep did, and what it leaves to its caller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Swept {
    /// Runs whose lease ended; the tasks are queued again.
    pub expired: Vec<TaskId>,
    /// Tasks that were ended: no run left, or a predecessor that never came.
    pub ended: Vec<TaskId>,
    /// Tasks without a run left whose commit may be on their branch: look, then call `settle_dying`.
    pub dying: Vec<Dying>,
    /// Results to publish, after which `published` is called.
    pub unpublished: Vec<(TaskId, Vec<u8>)>,
    /// Branches to delete, after which `branch_gone` is called.
    pub leftovers: Vec<Leftover>,
}

/// A task that has no run left, and may have been pushed all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dying {
    /// Which task.
    pub task: TaskId,
    /// In which repository.
    pub repository: String,
    /// What was prepared last.
    pub intent: Intent,
}

/// A branch that must go, if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Whose branch.
    pub task: TaskId,
    /// In which repository.
    pub repository: String,
    /// What it may stand at. At anything else it is not ours to delete.
    pub commits: Vec<Oid>,
}

/// The most rows of a kind in one sweep, so that the writer is never long at it.
const AT_ONCE: i64 = 256;

impl Store {
    /// Puts right what time has made wrong.
    pub async fn sweep(&self, now_ms: u64) -> Result<Swept> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut swept = Swept::default();
                bound_by_clock(tx, now_ms).await?;
                expire_runs(tx, &mut swept, now_ms).await?;
                tx.run(sqlx::query("DELETE FROM leases WHERE until_ms <= $1").bind(int(now_ms))).await?;
                end_waiting_in_vain(tx, &mut swept, now_ms).await?;
                list_unpublished(tx, &mut swept, now_ms).await?;
                list_leftovers(tx, &mut swept, now_ms).await?;
                Ok(swept)
            })
        })
        .await
    }

    /// Writes down that a branch is about to be deleted (I8). `expected` is the value that the deletion will compare with.
    pub async fn intend_deletion(&self, task: &TaskId, expected: &Oid, now_ms: u64) -> Result<()> {
        let (task, expected) = (task.clone(), expected.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let body = json!({ "branch": task.branch(), "expected": expected });
                tx.record(Event::DeletionIntended, &task, "control", body, now_ms);
                Ok(())
            })
        })
        .await
    }

    /// The branch of a task that did not succeed is not there, or is not ours: it is not listed again.
    pub async fn branch_gone(&self, task: &TaskId) -> Result<()> {
        let task = task.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let statement = sqlx::query("UPDATE tasks SET cleanup_ms = 0 WHERE id = $1");
                tx.run(statement.bind(task.as_str())).await?;
                Ok(())
            })
        })
        .await
    }
}

/// A clock that was ahead and fell back leaves times that lie too far in the future: nothing waits longer than it would
/// have to from now on.
async fn bound_by_clock(tx: &mut Tx, now_ms: u64) -> Result<()> {
    let lease_ms = tx.options.lease_ms;
    let patience_ms = dispatch::patience_ms(tx.options.offer_timeout_ms, u32::MAX);
    for (statement, longest_ms) in [
        ("UPDATE tasks SET lease_until_ms = $1 WHERE state = 'running' AND lease_until_ms > $1", lease_ms),
        ("UPDATE leases SET until_ms = $1 WHERE until_ms > $1", lease_ms),
        (
            "UPDATE tasks SET offer_ms = $1 WHERE state = 'queued' AND partition >= 0 AND offer_ms > $1",
            patience_ms,
        ),
        (
            "UPDATE tasks SET due_ms = $1, offer_ms = $1 WHERE state = 'queued' AND due_ms > 0 AND due_ms > $1",
            MAX_DELAY_MS,
        ),
        (
            "UPDATE tasks SET publish_due_ms = $1
             WHERE state = 'done' AND published_ms = 0 AND publish_due_ms > $1",
            tx.options.publish_timeout_ms,
        ),
        ("UPDATE tasks SET cleanup_ms = $1 WHERE cleanup_ms > 0 AND cleanup_ms > $1", lease_ms),
    ] {
        tx.run(sqlx::query(statement).bind(int(now_ms.saturating_add(longest_ms)))).await?;
    }
    Ok(())
}

async fn expire_runs(tx: &mut Tx, swept: &mut Swept, now_ms: u64) -> Result<()> {
    let query = sqlx::query(
        "SELECT * FROM tasks WHERE state = 'running' AND lease_until_ms <= $1 AND runs < $2
         ORDER BY lease_until_ms LIMIT $3",
    );
    let max_runs = tx.options.max_runs;
    for row in tx.all(query.bind(int(now_ms)).bind(max_runs).bind(AT_ONCE)).await? {
        let row = TaskRow::read(&row)?;
        run::expire(tx, &row, now_ms).await?;
        swept.expired.push(row.id);
    }
    let query = sqlx::query(
        "SELECT * FROM tasks WHERE state = 'running' AND lease_until_ms <= $1 AND runs >= $2
         ORDER BY lease_until_ms LIMIT $3",
    );
    for row in tx.all(query.bind(int(now_ms)).bind(max_runs).bind(AT_ONCE)).await? {
        let row = TaskRow::read(&row)?;
        if let Some(intent) = run::last_intent(tx, &row.id).await? {
            swept.dying.push(Dying { task: row.id, repository: row.repository, intent });
            continue;
        }
        let body = json!({ "token": row.token, "run": row.runs, "worker": row.worker });
        tx.record(Event::LeaseExpired, &row.id, "control", body, now_ms);
        finish::end(tx, &row.id, Reason::Dead, dead_notes(&row), By::Control, now_ms).await?;
        swept.ended.push(row.id);
    }
    Ok(())
}

pub(crate) const WAITING_IN_VAIN: &str = "
    SELECT t.id, (
        SELECT MIN(d.predecessor) FROM dependencies d
        WHERE d.task_id = t.id AND NOT EXISTS (SELECT 1 FROM tasks p WHERE p.id = d.predecessor)) AS predecessor
    FROM tasks t
    WHERE t.state = 'queued' AND t.waiting_for > 0 AND t.created_ms < $1 AND EXISTS (
        SELECT 1 FROM dependencies d
        WHERE d.task_id = t.id AND NOT EXISTS (SELECT 1 FROM tasks p WHERE p.id = d.predecessor))
    ORDER BY t.created_ms LIMIT $2";

/// Every waiting state expires (DESIGN §6): a predecessor that has no row after so long will not come.
async fn end_waiting_in_vain(tx: &mut Tx, swept: &mut Swept, now_ms: u64) -> Result<()> {
    let before_ms = now_ms.saturating_sub(tx.options.unknown_predecessor_ms);
    for row in tx.all(sqlx::query(WAITING_IN_VAIN).bind(int(before_ms)).bind(AT_ONCE)).await? {
        let id: TaskId = get_id(&row, "id")?;
        let predecessor: String = get(&row, "predecessor")?;
        let note = format!("task {predecessor}, which must come first, never came");
        finish::end(tx, &id, Reason::PrecedingFailed, vec![note], By::Control, now_ms).await?;
        swept.ended.push(id);
    }
    Ok(())
}

async fn list_unpublished(tx: &mut Tx, swept: &mut Swept, now_ms: u64) -> Result<()> {
    let query = sqlx::query(
        "SELECT t.id, r.bytes FROM tasks t JOIN results r ON r.task_id = t.id
         WHERE t.state = 'done' AND t.published_ms = 0 AND t.publish_due_ms <= $1
         ORDER BY t.publish_due_ms LIMIT $2",
    );
    for row in tx.all(query.bind(int(now_ms)).bind(AT_ONCE)).await? {
        swept.unpublished.push((get_id(&row, "id")?, get(&row, "bytes")?));
    }
    Ok(())
}

async fn list_leftovers(tx: &mut Tx, swept: &mut Swept, now_ms: u64) -> Result<()> {
    let query = sqlx::query(
        "SELECT id, repository FROM tasks WHERE cleanup_ms > 0 AND cleanup_ms <= $1 ORDER BY cleanup_ms LIMIT $2",
    );
    for row in tx.all(query.bind(int(now_ms)).bind(AT_ONCE)).await? {
        let task: TaskId = get_id(&row, "id")?;
        let commits =
            sqlx::query("SELECT DISTINCT new_commit FROM intents WHERE task_id = $1 ORDER BY new_commit");
        let commits = tx.all(commits.bind(task.as_str())).await?;
        let commits = commits.iter().map(|row| get_id(row, "new_commit")).collect::<Result<_>>()?;
        swept.leftovers.push(Leftover { task, repository: get(&row, "repository")?, commits });
    }
    Ok(())
}
