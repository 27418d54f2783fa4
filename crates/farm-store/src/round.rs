//! Another round of a change: what did not go together, or did not pass its checks, is mended by one more task.

use farm_core::id::{ChangeId, TaskId};
use farm_core::ledger::Event;
use farm_core::state::{ChangeState, TaskState};
use serde_json::json;

use crate::accept::{self, Accepted, NewTask, Turns};
use crate::change;
use crate::error::{Result, StoreError};
use crate::finish::By;
use crate::row::TaskRow;
use crate::store::Store;
use crate::writer::Tx;

impl Store {
    /// Begins a new round in `code_phase`, with nothing integrated and one more task: beside the others, or in place of
    /// `replaced`, whose result stands (I1). Refused in any state but `code_phase` and `build1`, and for a task that is
    /// known: so what was decided once does not cost two rounds.
    pub async fn send_back(
        &self,
        change: &ChangeId,
        replaced: Option<&TaskId>,
        repair: NewTask,
        note: String,
        now_ms: u64,
    ) -> Result<()> {
        let (change, replaced) = (change.clone(), replaced.cloned());
        self.write(move |tx| {
            Box::pin(async move {
                begin_round(tx, &change, &repair, note, now_ms).await?;
                match replaced {
                    Some(replaced) => replace(tx, &change, &replaced, &repair.task.id, now_ms).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }
}

async fn begin_round(
    tx: &mut Tx,
    change: &ChangeId,
    repair: &NewTask,
    note: String,
    now_ms: u64,
) -> Result<()> {
    let view = change::find(tx, change).await?;
    let conflict = |detail: String| Err(StoreError::Conflict { detail });
    if !matches!(view.state, ChangeState::CodePhase | ChangeState::Build1) {
        return conflict(format!(
            "change {change} is {}: only code_phase and build1 are sent back",
            view.state.name()
        ));
    }
    let id = &repair.task.id;
    if repair.task.change.as_ref() != Some(change) {
        return conflict(format!("task {id} does not name change {change}"));
    }
    // First the round: the task belongs to the new one.
    change::record_move(tx, &view, ChangeState::CodePhase, None, &[note], "control", now_ms).await?;
    let mut turns = Turns::default();
    match accept::accept(tx, repair, &mut turns, By::Control, now_ms).await? {
        Accepted::New => turns.store(tx).await,
        Accepted::Same | Accepted::OtherContent { .. } => {
            conflict(format!("task {id} is known: change {change} was sent back with it before"))
        }
    }
}

async fn replace(tx: &mut Tx, change: &ChangeId, replaced: &TaskId, by: &TaskId, now_ms: u64) -> Result<()> {
    let row = TaskRow::find(tx, replaced).await?.ok_or_else(|| StoreError::unknown("task", replaced))?;
    if row.change.as_ref() != Some(change) || row.state != TaskState::Done || row.replaced_by.is_some() {
        let detail = format!(
            "task {replaced} cannot be replaced: it must be of change {change}, done and not replaced"
        );
        return Err(StoreError::Conflict { detail });
    }
    tx.record(Event::TaskRetried, replaced, "control", json!({ "replaced_by": by }), now_ms);
    let statement = sqlx::query("UPDATE tasks SET replaced_by = $2 WHERE id = $1");
    tx.run(statement.bind(replaced.as_str()).bind(by.as_str())).await?;
    Ok(())
}
