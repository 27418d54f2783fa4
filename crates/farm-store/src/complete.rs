//! Complete: the task is done here, and only here (I1, I2).

use farm_core::id::TaskId;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::service::{Denied, RunRef};
use farm_core::state::TaskState;
use farm_core::task::{Budget, Yield};

use crate::error::{Result, StoreError};
use crate::finish::{self, By, Ended, Outcome};
use crate::prepare::record_denial;
use crate::row::{TaskRow, get};
use crate::run::{self, Lease};
use crate::store::Store;
use crate::writer::Tx;

impl Store {
    /// Ends the task with `bytes`, which decode to `result`. The same call again is granted again; other bytes, or a token
    /// that is not the run's, are denied.
    pub async fn complete(
        &self,
        run: &RunRef,
        result: &CommitResult,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<std::result::Result<(), Denied>> {
        let (run, result, bytes) = (run.clone(), result.clone(), bytes.to_vec());
        self.write(move |tx| {
            Box::pin(async move {
                if is_repeat(tx, &run, &bytes).await? {
                    return Ok(Ok(()));
                }
                let denied = match run::authorize(tx, &run, Lease::Any, now_ms).await? {
                    Err(denied) => denied,
                    Ok(row) => match is_credible(tx, &row, &result, &bytes).await? {
                        Err(detail) => Denied { reason: Reason::Internal, detail },
                        Ok(()) => {
                            let outcome = outcome(&row, &result, bytes);
                            finish::conclude(tx, &row, outcome, By::Worker(&row.worker), now_ms).await?;
                            return Ok(Ok(()));
                        }
                    },
                };
                record_denial(tx, &run, "complete", &denied, now_ms);
                Ok(Err(denied))
            })
        })
        .await
    }

    /// Ends a dying task, once somebody has looked at its branch: with its prepared result if the branch stands at the
    /// prepared commit, else as dead.
    pub async fn settle_dying(&self, task: &TaskId, landed: bool, now_ms: u64) -> Result<Ended> {
        let task = task.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let row =
                    TaskRow::find(tx, &task).await?.ok_or_else(|| StoreError::unknown("task", &task))?;
                if row.state == TaskState::Done {
                    return Ok(Ended::Before);
                }
                if row.state != TaskState::Running
                    || row.lease_until_ms > now_ms
                    || row.runs < tx.options.max_runs
                {
                    let detail = format!("task {task} is not dying: it has a lease or a run left");
                    return Err(StoreError::Conflict { detail });
                }
                match run::last_intent(tx, &task).await? {
                    Some(intent) if landed => {
                        let outcome = Outcome {
                            status: Status::Success,
                            reason: Reason::Ok,
                            bytes: intent.result,
                            cost: row.grant,
                            commit: Some(intent.commit),
                        };
                        finish::conclude(tx, &row, outcome, By::Control, now_ms).await?;
                    }
                    _ => finish::end(tx, &task, Reason::Dead, dead_notes(&row), By::Control, now_ms).await?,
                }
                Ok(Ended::Now)
            })
        })
        .await
    }
}

/// What is said of a task without a run left.
pub(crate) fn dead_notes(row: &TaskRow) -> Vec<String> {
    let mut notes = vec![format!("begun {} times, last by {}", row.runs, row.worker)];
    if !row.setback.is_empty() {
        notes.push(row.setback.clone());
    }
    notes
}

/// Whether this very result was stored by this very run.
async fn is_repeat(tx: &mut Tx, run: &RunRef, bytes: &[u8]) -> Result<bool> {
    match TaskRow::find(tx, &run.task).await? {
        Some(row) if row.state == TaskState::Done && row.token == run.token => {
            let query = sqlx::query("SELECT bytes FROM results WHERE task_id = $1").bind(run.task.as_str());
            let stored = tx.one(query).await?.map(|row| get::<Vec<u8>>(&row, "bytes")).transpose()?;
            Ok(stored.as_deref() == Some(bytes))
        }
        _ => Ok(false),
    }
}

/// A result is stored as it is and never again looked at, so what it claims is compared with what is known.
async fn is_credible(
    tx: &mut Tx,
    row: &TaskRow,
    result: &CommitResult,
    bytes: &[u8],
) -> Result<std::result::Result<(), String>> {
    if result.task != row.id {
        return Ok(Err(format!("the result of task {} was sent for task {}", result.task, row.id)));
    }
    if result.status != result.reason.status() {
        let (status, reason) = (result.status.as_str(), result.reason);
        return Ok(Err(format!("the result says {status}, but its reason {reason} means another status")));
    }
    let Some(commit) = &result.commit else {
        let needs_commit = result.status == Status::Success && row.kind.yields() == Yield::Patch;
        return Ok(if needs_commit { Err("a patch succeeded without a commit".to_owned()) } else { Ok(()) });
    };
    if result.status != Status::Success {
        return Ok(Err(format!("a result that failed names commit {commit}")));
    }
    let prepared = run::last_intent(tx, &row.id).await?;
    Ok(match prepared {
        Some(intent) if intent.commit == *commit && intent.result == bytes => Ok(()),
        _ => Err(format!("commit {commit} is not what was prepared last, or its result is another")),
    })
}

fn outcome(row: &TaskRow, result: &CommitResult, bytes: Vec<u8>) -> Outcome {
    Outcome {
        status: result.status,
        reason: result.reason,
        bytes,
        cost: cost(row, result),
        commit: result.commit.clone(),
    }
}

/// What the run cost. A result that an earlier run prepared tells of that run, whose grant is charged already.
fn cost(row: &TaskRow, result: &CommitResult) -> Budget {
    if result.token == row.token {
        Budget { tokens: result.usage.tokens(), cost_micro_usd: result.usage.cost_micro_usd }
    } else {
        row.spent
    }
}
