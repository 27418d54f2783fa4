//! Prepare: leave to push one commit, written down before it is given (I3, I5, I8).

use farm_core::delta::TreeDelta;
use farm_core::id::{Oid, RepoName};
use farm_core::lease::LeaseKey;
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::service::{Denied, Prepare, Repository, RunRef};
use farm_core::task::CodingTask;
use serde_json::json;

use crate::error::Result;
use crate::lease;
use crate::row::{TaskRow, get_json, int};
use crate::run::{self, Lease};
use crate::store::Store;
use crate::writer::Tx;

type Leave = std::result::Result<(), Denied>;

impl Store {
    /// Asks for leave to push. `result` is `prepare.result`, decoded.
    ///
    /// Leave is given to a run that has its lease, for a delta that the repository's policy and the task's scope allow, if
    /// nobody else holds a lease on a touched file; the run holds them from then on. Leave is for one push.
    pub async fn prepare(&self, prepare: &Prepare, result: &CommitResult, now_ms: u64) -> Result<Leave> {
        let (prepare, result) = (prepare.clone(), result.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let leave = match judge(tx, &prepare, &result, now_ms).await? {
                    Ok(row) => intend(tx, &row, &prepare, now_ms).await.map(Ok)?,
                    Err(denied) => Err(denied),
                };
                if let Err(denied) = &leave {
                    record_denial(tx, &prepare.run, "prepare", denied, now_ms);
                }
                Ok(leave)
            })
        })
        .await
    }
}

/// Notes in the ledger that a run was refused something.
pub(crate) fn record_denial(tx: &mut Tx, run: &RunRef, call: &str, denied: &Denied, now_ms: u64) {
    let body = json!({ "call": call, "token": run.token, "reason": denied.reason, "detail": denied.detail });
    tx.record(Event::RunDenied, &run.task, "control", body, now_ms);
}

async fn judge(
    tx: &mut Tx,
    prepare: &Prepare,
    result: &CommitResult,
    now_ms: u64,
) -> Result<std::result::Result<TaskRow, Denied>> {
    let row = match run::authorize(tx, &prepare.run, Lease::Live, now_ms).await? {
        Ok(row) => row,
        Err(denied) => return Ok(Err(denied)),
    };
    if let Err(detail) = agrees(&row, prepare, result) {
        return Ok(Err(Denied { reason: Reason::Internal, detail }));
    }
    let Some(repository) = row.repository() else {
        return Ok(Err(unregistered(&row)));
    };
    if let Err(denied) = by_policy(tx, &row, &repository, &prepare.delta).await? {
        return Ok(Err(denied));
    }
    let keys = touched(&repository, &prepare.delta);
    for key in &keys {
        if let Some(held) = lease::in_the_way(tx, key, &row.id, now_ms).await? {
            let detail = format!("task {} holds a lease on {}", held.lease.holder, key.path);
            return Ok(Err(Denied { reason: Reason::LeaseConflict, detail }));
        }
    }
    for key in &keys {
        lease::take(tx, key, &row.id, row.token, "", row.lease_until_ms).await?;
    }
    Ok(Ok(row))
}

/// What the result says must be what is asked: it is stored unread if the push succeeds (I2).
fn agrees(row: &TaskRow, prepare: &Prepare, result: &CommitResult) -> std::result::Result<(), String> {
    let digest = prepare.delta.digest();
    for (field, agrees) in [
        ("task_id", result.task == row.id),
        ("status", result.status == Status::Success),
        ("commit_sha", result.commit.as_ref() == Some(&prepare.commit)),
        ("branch_name", result.branch.as_deref() == Some(row.id.branch().as_str())),
        ("base_commit", result.base == row.base),
        ("delta_digest", result.delta_digest.as_ref() == Some(&digest)),
    ] {
        if !agrees {
            return Err(format!("the prepared result's {field} is not that of the push"));
        }
    }
    Ok(())
}

fn unregistered(row: &TaskRow) -> Denied {
    let detail = format!("repository {:?} is not registered", row.repository);
    Denied { reason: Reason::RepositoryUnknown, detail }
}

async fn by_policy(tx: &mut Tx, row: &TaskRow, name: &RepoName, delta: &TreeDelta) -> Result<Leave> {
    let query = sqlx::query("SELECT document FROM repositories WHERE name = $1").bind(name.as_str());
    let Some(found) = tx.one(query).await? else { return Ok(Err(unregistered(row))) };
    let repository: Repository = get_json(&found, "document")?;
    let query = sqlx::query("SELECT task FROM task_bodies WHERE task_id = $1").bind(row.id.as_str());
    let Some(found) = tx.one(query).await? else { return Ok(Err(unregistered(row))) };
    let task: CodingTask = get_json(&found, "task")?;
    let judge = match repository.policy.judge(&task.scope) {
        Ok(judge) => judge,
        Err(bad) => return Ok(Err(Denied { reason: Reason::TaskInvalid, detail: bad.to_string() })),
    };
    let denial = judge.admits(task.risk).err().or_else(|| judge.denials(delta).into_iter().next());
    Ok(denial.map_or(Ok(()), |denial| Err(Denied { reason: denial.reason, detail: denial.to_string() })))
}

fn touched(repository: &RepoName, delta: &TreeDelta) -> Vec<LeaseKey> {
    // The policy has refused every path that is not text.
    let paths = delta.changes.iter().filter_map(|change| change.path.as_str());
    paths.map(|path| LeaseKey::file(repository.clone(), path)).collect()
}

async fn intend(tx: &mut Tx, row: &TaskRow, prepare: &Prepare, now_ms: u64) -> Result<()> {
    let digest = prepare.delta.digest();
    let body = json!({
        "token": row.token,
        "old": prepare.old,
        "commit": prepare.commit,
        "delta": digest,
        "symbols": prepare.symbols,
    });
    let seq = tx.record(Event::PushIntended, &row.id, &row.worker, body, now_ms);
    tx.run(
        sqlx::query(
            "INSERT INTO intents (task_id, seq, token, old_commit, new_commit, delta_digest, result)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id.as_str())
        .bind(int(seq))
        .bind(int(row.token.0))
        .bind(prepare.old.as_ref().map(Oid::as_str))
        .bind(prepare.commit.as_str())
        .bind(digest)
        .bind(&prepare.result),
    )
    .await?;
    Ok(())
}
