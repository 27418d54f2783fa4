//! How a task becomes a row, and its place in the fair order.

use std::collections::{HashMap, HashSet};

use farm_core::id::{ChangeId, TaskId};
use farm_core::lease::LeaseKey;
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::CodingTask;
use serde_json::json;

use crate::error::Result;
use crate::finish::{self, By};
use crate::row::{TaskRow, get, get_id, int, parse, to_json};
use crate::store::Store;
use crate::writer::Tx;

/// A task with a good id, as a caller decoded it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// What is asked, with the farm's default repository filled in where the record names none.
    pub task: CodingTask,
    /// The task's canonical encoding, which dispatch offers.
    pub record: Vec<u8>,
    /// A digest of `record`: the same id with another digest is refused.
    pub digest: String,
    /// Why it must not run, if the caller found so: its row is done at once.
    pub refusal: Option<Refusal>,
}

/// Why a task must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason; its status is HARD_FAIL.
    pub reason: Reason,
    /// In words.
    pub note: String,
}

/// What became of something offered for acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored now.
    New,
    /// It was stored already, with the same content.
    Same,
    /// Its id is known with other content, which stands; nothing was changed.
    OtherContent {
        /// What differs.
        detail: String,
    },
}

impl Store {
    /// Stores the tasks of a bundle, each for itself. None of them runs by this: dispatch offers them.
    pub async fn accept_bundle(&self, tasks: Vec<NewTask>, now_ms: u64) -> Result<Vec<Accepted>> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut turns = Turns::default();
                let mut accepted = Vec::with_capacity(tasks.len());
                for task in &tasks {
                    accepted.push(accept(tx, task, &mut turns, By::Control, now_ms).await?);
                }
                turns.store(tx).await?;
                Ok(accepted)
            })
        })
        .await
    }
}

/// Stores `new` unless its id is known.
pub(crate) async fn accept(
    tx: &mut Tx,
    new: &NewTask,
    turns: &mut Turns,
    by: By<'_>,
    now_ms: u64,
) -> Result<Accepted> {
    match TaskRow::find(tx, &new.task.id).await? {
        Some(row) if row.digest == new.digest => Ok(Accepted::Same),
        Some(_) => Ok(Accepted::OtherContent { detail: other_content(&new.task.id) }),
        None => insert(tx, new, turns, by, now_ms).await.map(|()| Accepted::New),
    }
}

pub(crate) fn other_content(id: &TaskId) -> String {
    format!("task {id} is known with other content, which stands")
}

/// Stores a task that has no row. It may be done at once: refused, cancelled with its change, or preceded by a failure.
pub(crate) async fn insert(
    tx: &mut Tx,
    new: &NewTask,
    turns: &mut Turns,
    by: By<'_>,
    now_ms: u64,
) -> Result<()> {
    let task = &new.task;
    let change = change_of(tx, task).await?;
    let precedence = precedence(tx, task).await?;
    let rank = turns.next(tx, task).await?;
    let repository = task.repository.clone();
    let path = match (&repository, &task.path) {
        (Some(repository), Some(path)) if !path.is_empty() => {
            Some(LeaseKey::file(repository.clone(), path).path)
        }
        _ => None,
    };
    let body = json!({ "digest": new.digest, "change": task.change, "repository": repository });
    let seq = tx.record(Event::TaskAccepted, &task.id, by.actor(), body, now_ms);
    tx.run(
        sqlx::query(
            "INSERT INTO tasks (id, seq, digest, change_id, round, repository, kind, path, bytes, state, created_ms,
                                priority, rank, waiting_for, due_ms, offer_ms, base, budget_tokens, budget_cost)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued', $10, $11, $12, $13, 0, 0, $14, $15, $16)",
        )
        .bind(task.id.as_str())
        .bind(int(seq))
        .bind(&new.digest)
        .bind(task.change.as_ref().map(ChangeId::as_str))
        .bind(change.as_ref().map_or(0, |change| change.round))
        .bind(repository.as_ref().map_or("", |name| name.as_str()))
        .bind(task.kind.as_str())
        .bind(path)
        .bind(int(new.record.len() as u64))
        .bind(int(now_ms))
        .bind(task.priority)
        .bind(rank)
        .bind(precedence.waiting_for)
        .bind(task.base.as_ref().map(|base| base.as_str()))
        .bind(int(task.budget.tokens))
        .bind(int(task.budget.cost_micro_usd)),
    )
    .await?;
    tx.run(
        sqlx::query("INSERT INTO task_bodies (task_id, task, record) VALUES ($1, $2, $3)")
            .bind(task.id.as_str())
            .bind(to_json("task", task)?)
            .bind(&new.record),
    )
    .await?;
    for predecessor in &precedence.of {
        tx.run(
            sqlx::query("INSERT INTO dependencies (task_id, predecessor) VALUES ($1, $2)")
                .bind(task.id.as_str())
                .bind(predecessor.as_str()),
        )
        .await?;
    }
    let refusal = match (&new.refusal, change) {
        (Some(refusal), _) => Some((refusal.reason, refusal.note.clone())),
        (None, Some(change)) if change.state == ChangeState::Cancelled => {
            Some((Reason::Cancelled, "its change was cancelled".to_owned()))
        }
        (None, _) => precedence.failure,
    };
    match refusal {
        Some((reason, note)) => finish::end(tx, &task.id, reason, vec![note], by, now_ms).await,
        None => Ok(()),
    }
}

struct ChangeOf {
    state: ChangeState,
    round: i64,
}

async fn change_of(tx: &mut Tx, task: &CodingTask) -> Result<Option<ChangeOf>> {
    let Some(change) = &task.change else { return Ok(None) };
    let query = sqlx::query("SELECT state, round FROM changes WHERE id = $1").bind(change.as_str());
    let Some(row) = tx.one(query).await? else { return Ok(None) };
    let state = parse("state of a change", get(&row, "state")?, ChangeState::parse)?;
    Ok(Some(ChangeOf { state, round: get(&row, "round")? }))
}

/// What must come before a task.
#[derive(Default)]
struct Precedence {
    of: Vec<TaskId>,
    waiting_for: u32,
    failure: Option<(Reason, String)>,
}

async fn precedence(tx: &mut Tx, task: &CodingTask) -> Result<Precedence> {
    let mut precedence = Precedence::default();
    for predecessor in &task.after {
        if precedence.of.contains(predecessor) {
            continue;
        }
        precedence.of.push(predecessor.clone());
        match TaskRow::find(tx, predecessor).await? {
            Some(row) if row.state == TaskState::Done => {
                if row.status != Some(Status::Success) {
                    precedence.failure = Some(finish::preceding_failed(&row.id, row.reason));
                }
            }
            Some(_) | None => precedence.waiting_for += 1,
        }
    }
    if closes_cycle(tx, task).await? {
        let note = format!("after: {} would have to come before itself", task.id);
        precedence.failure = Some((Reason::TaskInvalid, note));
    }
    Ok(precedence)
}

/// Whether `task` is among its own predecessors. Only a task that others wait for already can be.
async fn closes_cycle(tx: &mut Tx, task: &CodingTask) -> Result<bool> {
    if task.after.contains(&task.id) {
        return Ok(true);
    }
    let waited_for = sqlx::query("SELECT task_id FROM dependencies WHERE predecessor = $1 LIMIT 1");
    if task.after.is_empty() || tx.one(waited_for.bind(task.id.as_str())).await?.is_none() {
        return Ok(false);
    }
    let mut seen: HashSet<TaskId> = HashSet::new();
    let mut ahead: Vec<TaskId> = task.after.clone();
    while let Some(id) = ahead.pop() {
        if id == task.id {
            return Ok(true);
        }
        if seen.insert(id.clone()) {
            let query = sqlx::query("SELECT predecessor FROM dependencies WHERE task_id = $1");
            for row in tx.all(query.bind(id.as_str())).await? {
                ahead.push(get_id(&row, "predecessor")?);
            }
        }
    }
    Ok(false)
}

/// Gives ranks by start-time fair queueing: a lane (a change) goes on where it was, but never behind the turn that has come
/// already. So two changes alternate however many tasks each has, and a newcomer neither waits for those before it nor
/// passes them by.
#[derive(Default)]
pub(crate) struct Turns {
    last: HashMap<(i32, String), i64>,
    come: HashMap<i32, i64>,
}

/// The lane that holds the largest rank whose turn has come; no change id has this spelling.
const COME: &str = "*";

impl Turns {
    async fn next(&mut self, tx: &mut Tx, task: &CodingTask) -> Result<i64> {
        let priority = task.priority;
        let lane = task.change.as_ref().map_or(String::new(), ChangeId::to_string);
        let come = match self.come.get(&priority) {
            Some(come) => *come,
            None => read_turn(tx, priority, COME).await?,
        };
        self.come.insert(priority, come);
        let key = (priority, lane);
        let last = match self.last.get(&key) {
            Some(last) => *last,
            None => read_turn(tx, priority, &key.1).await?,
        };
        let rank = last.max(come) + 1;
        self.last.insert(key, rank);
        Ok(rank)
    }

    /// Writes what [`Turns::next`] gave out.
    pub(crate) async fn store(self, tx: &mut Tx) -> Result<()> {
        for ((priority, lane), rank) in self.last {
            write_turn(tx, priority, &lane, rank).await?;
        }
        Ok(())
    }
}

/// Notes that the turn of `rank` has come.
pub(crate) async fn turn_has_come(tx: &mut Tx, priority: i32, rank: i64) -> Result<()> {
    if read_turn(tx, priority, COME).await? < rank {
        write_turn(tx, priority, COME, rank).await?;
    }
    Ok(())
}

async fn read_turn(tx: &mut Tx, priority: i32, lane: &str) -> Result<i64> {
    let query = sqlx::query("SELECT rank FROM turns WHERE priority = $1 AND lane = $2");
    let row = tx.one(query.bind(priority).bind(lane)).await?;
    row.map_or(Ok(0), |row| get(&row, "rank"))
}

async fn write_turn(tx: &mut Tx, priority: i32, lane: &str, rank: i64) -> Result<()> {
    let statement = sqlx::query(
        "INSERT INTO turns (priority, lane, rank) VALUES ($1, $2, $3)
         ON CONFLICT (priority, lane) DO UPDATE SET rank = excluded.rank",
    );
    tx.run(statement.bind(priority).bind(lane).bind(rank)).await?;
    Ok(())
}
