//! What people and pages read. Nothing here decides anything.

use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::service::{Intent, Step};
use farm_core::state::TaskState;
use farm_core::task::{Budget, CodingTask};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::error::{Result, StoreError};
use crate::row::{TaskRow, budget, get, get_json, get_u32, get_uint, int};
use crate::run;
use crate::store::Store;

/// A task as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// What is asked.
    pub task: CodingTask,
    /// Its place in the order of acceptance, for paging.
    pub seq: u64,
    /// The round of its change that it was added in.
    pub round: u32,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub status: Option<Status>,
    /// Why it ended so.
    pub reason: Option<Reason>,
    /// How many predecessors have not succeeded yet.
    pub waiting_for: u32,
    /// It does not run before, Unix milliseconds; 0 if it need not wait for a time.
    pub due_ms: u64,
    /// How often its record was put on the topic since it was queued.
    pub offers: u32,
    /// How often it was begun.
    pub runs: u32,
    /// The token of its last run; 0 before the first.
    pub token: Token,
    /// Who had or has the last run.
    pub worker: String,
    /// When the lease of the last run ends or ended.
    pub lease_until_ms: u64,
    /// Why the last run ended without a result; empty if none did.
    pub setback: String,
    /// The pinned base.
    pub base: Option<Oid>,
    /// What was prepared last.
    pub intent: Option<Intent>,
    /// The result's bytes.
    pub result: Option<Vec<u8>>,
    /// What it has cost and may still cost by what is granted.
    pub charged: Budget,
    /// When it was accepted.
    pub created_ms: u64,
    /// When it was first begun; 0 before.
    pub first_begin_ms: u64,
    /// When it was last begun; 0 before.
    pub begun_ms: u64,
    /// When it ended; 0 before.
    pub done_ms: u64,
    /// When its result was published; 0 before.
    pub published_ms: u64,
    /// The task that does its work anew: by a person's retry, or in another round of its change.
    pub replaced_by: Option<TaskId>,
}

/// Which tasks are wanted; `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Of this change.
    pub change: Option<ChangeId>,
    /// In this state.
    pub state: Option<TaskState>,
    /// In this repository.
    pub repository: Option<RepoName>,
}

/// A part of a list that is sorted newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only what has a smaller `seq` than this; `None` for the first page.
    pub before_seq: Option<u64>,
    /// How many at most.
    pub limit: u32,
}

impl Page {
    /// The newest `limit`.
    pub fn first(limit: u32) -> Self {
        Self { before_seq: None, limit }
    }

    pub(crate) fn before(&self) -> i64 {
        self.before_seq.map_or(i64::MAX, int)
    }
}

/// How many tasks are in each state (`patchfarm_tasks{state}`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Waiting for their turn, or for the time or the task that they wait for.
    pub queued: u64,
    /// Begun.
    pub running: u64,
    /// Ended.
    pub done: u64,
}

/// A step of a run, with its place in the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStep {
    /// Its number within the task.
    pub n: u64,
    /// Which run.
    pub run: u32,
    /// What happened.
    pub step: Step,
}

const VIEW: &str = "
    SELECT t.*, b.task, r.bytes AS result_bytes
    FROM tasks t JOIN task_bodies b ON b.task_id = t.id LEFT JOIN results r ON r.task_id = t.id
    WHERE ";

impl Store {
    /// A task as it stands.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskView>> {
        let row = QueryBuilder::<Sqlite>::new(VIEW)
            .push("t.id = ")
            .push_bind(id.as_str())
            .build()
            .fetch_optional(self.readers())
            .await
            .map_err(|error| StoreError::database("read a task", &error))?;
        match row {
            Some(row) => self.view(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Tasks, newest first.
    pub async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<Vec<TaskView>> {
        // Only the conditions that there are: the planner finds no index for one that may be absent.
        let mut query = QueryBuilder::<Sqlite>::new(VIEW);
        query.push("t.seq < ").push_bind(page.before());
        if let Some(change) = &filter.change {
            query.push(" AND t.change_id = ").push_bind(change.as_str());
        }
        // Literals, since a partial index is not found for a bound value.
        match filter.state {
            Some(TaskState::Queued) => query.push(" AND t.state = 'queued'"),
            Some(TaskState::Running) => query.push(" AND t.state = 'running'"),
            Some(TaskState::Done) => query.push(" AND t.state = 'done'"),
            None => &mut query,
        };
        if let Some(repository) = &filter.repository {
            query.push(" AND t.repository = ").push_bind(repository.as_str());
        }
        query.push(" ORDER BY t.seq DESC LIMIT ").push_bind(page.limit);
        let rows = query
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read the tasks", &error))?;
        let mut views = Vec::with_capacity(rows.len());
        for row in &rows {
            views.push(self.view(row).await?);
        }
        Ok(views)
    }

    /// The record of a task, as dispatch offers it.
    pub async fn record(&self, id: &TaskId) -> Result<Option<Vec<u8>>> {
        let row = sqlx::query("SELECT record FROM task_bodies WHERE task_id = $1")
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| StoreError::database("read a record", &error))?;
        row.map(|row| get(&row, "record")).transpose()
    }

    /// The timeline of a task, after step number `after`.
    pub async fn steps(&self, id: &TaskId, after: u64) -> Result<Vec<TaskStep>> {
        let rows = sqlx::query("SELECT n, run, step FROM steps WHERE task_id = $1 AND n > $2 ORDER BY n")
            .bind(id.as_str())
            .bind(int(after))
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read a timeline", &error))?;
        let step = |row: &SqliteRow| {
            Ok(TaskStep { n: get_uint(row, "n")?, run: get_u32(row, "run")?, step: get_json(row, "step")? })
        };
        rows.iter().map(step).collect()
    }

    /// How many tasks are in each state.
    pub async fn counts(&self) -> Result<TaskCounts> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM tasks WHERE state = 'queued') AS queued,
                    (SELECT COUNT(*) FROM tasks WHERE state = 'running') AS running,
                    (SELECT COUNT(*) FROM tasks) AS accepted",
        )
        .fetch_one(self.readers())
        .await
        .map_err(|error| StoreError::database("count the tasks", &error))?;
        let (queued, running) = (get_uint(&row, "queued")?, get_uint(&row, "running")?);
        let done = get_uint(&row, "accepted")?.saturating_sub(queued + running);
        Ok(TaskCounts { queued, running, done })
    }

    async fn view(&self, row: &SqliteRow) -> Result<TaskView> {
        let hot = TaskRow::read(row)?;
        let intent = sqlx::query("SELECT * FROM intents WHERE task_id = $1 ORDER BY seq DESC LIMIT 1")
            .bind(hot.id.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| StoreError::database("read an intent", &error))?;
        Ok(TaskView {
            task: get_json(row, "task")?,
            seq: hot.seq,
            round: hot.round,
            state: hot.state,
            status: hot.status,
            reason: hot.reason,
            waiting_for: hot.waiting_for,
            due_ms: hot.due_ms,
            offers: hot.offers,
            runs: hot.runs,
            token: hot.token,
            worker: hot.worker,
            lease_until_ms: hot.lease_until_ms,
            setback: hot.setback,
            base: hot.base,
            intent: intent.as_ref().map(run::read_intent).transpose()?,
            result: get(row, "result_bytes")?,
            charged: budget::plus(hot.charged, hot.grant),
            created_ms: hot.created_ms,
            first_begin_ms: hot.first_begin_ms,
            begun_ms: hot.begun_ms,
            done_ms: hot.done_ms,
            published_ms: hot.published_ms,
            replaced_by: hot.replaced_by,
        })
    }
}
