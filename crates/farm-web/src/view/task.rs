//! Tasks, their results and timelines.

use farm_control::phases::decode_result;
use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
use farm_core::result::{CommitResult, Status};
use farm_core::service::Step;
use farm_core::state::TaskState;
use farm_core::task::{Budget, CodingTask};
use farm_store::{TaskStep, TaskView};
use serde::{Deserialize, Serialize};

use crate::view::ReasonText;

/// A task, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskSummary {
    /// Its id.
    pub id: TaskId,
    /// Its place in the order of acceptance: `before` of the next page.
    pub seq: u64,
    /// The change that it belongs to.
    pub change: Option<ChangeId>,
    /// In which repository.
    pub repository: Option<RepoName>,
    /// The word for what it yields.
    pub kind: String,
    /// `single_shot` or `command`.
    pub strategy: String,
    /// What is wanted.
    pub goal: String,
    /// The file that it is about.
    pub path: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// How it ended.
    pub status: Option<Status>,
    /// Why it ended so.
    pub reason: Option<ReasonText>,
    /// How many predecessors have not succeeded yet.
    pub waiting_for: u32,
    /// How often it was begun.
    pub runs: u32,
    /// Proposed patches, once it is done.
    pub attempts: Option<u32>,
    /// Who had or has the last run; empty before the first.
    pub worker: String,
    /// What a task that runs did last; only where a change is shown.
    pub step: Option<String>,
    /// The pinned base.
    pub base: Option<Oid>,
    /// The pushed commit.
    pub commit: Option<Oid>,
    /// Where it is pushed.
    pub branch: Option<String>,
    /// What models took, in tokens, once it is done.
    pub tokens: Option<u64>,
    /// What models cost, in micro-dollars, once it is done.
    pub cost_micro_usd: Option<u64>,
    /// When it was accepted, Unix milliseconds.
    pub created_ms: u64,
    /// When it was first begun.
    pub first_begin_ms: Option<u64>,
    /// When its last run began.
    pub begun_ms: Option<u64>,
    /// When it ended.
    pub done_ms: Option<u64>,
    /// The task that a retry began in its place.
    pub replaced_by: Option<TaskId>,
}

impl TaskSummary {
    /// Of a row and its decoded result.
    pub(crate) fn new(view: &TaskView, result: Option<&CommitResult>) -> Self {
        Self {
            id: view.task.id.clone(),
            seq: view.seq,
            change: view.task.change.clone(),
            repository: view.task.repository.clone(),
            kind: view.task.kind.as_str().to_owned(),
            strategy: view.task.strategy.name().to_owned(),
            goal: view.task.goal.clone(),
            path: view.task.path.clone(),
            state: view.state,
            status: view.status,
            reason: view.reason.map(Into::into),
            waiting_for: view.waiting_for,
            runs: view.runs,
            attempts: result.map(|result| result.attempts),
            worker: view.worker.clone(),
            step: None,
            base: view.base.clone(),
            commit: result.and_then(|result| result.commit.clone()),
            branch: result.and_then(|result| result.branch.clone()),
            tokens: result.map(|result| result.usage.tokens()),
            cost_micro_usd: result.map(|result| result.usage.cost_micro_usd),
            created_ms: view.created_ms,
            first_begin_ms: moment(view.first_begin_ms),
            begun_ms: moment(view.begun_ms),
            done_ms: moment(view.done_ms),
            replaced_by: view.replaced_by.clone(),
        }
    }
}

impl From<&TaskView> for TaskSummary {
    fn from(view: &TaskView) -> Self {
        Self::new(view, result(view).as_ref())
    }
}

/// A page of tasks, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tasks {
    /// The tasks.
    pub tasks: Vec<TaskSummary>,
    /// `before` of the next page; absent on the last one.
    pub next_before: Option<u64>,
}

/// A task with all that is known of it, but its timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The round of its change that it was added in.
    pub round: u32,
    /// What was asked.
    pub task: CodingTask,
    /// It does not run before.
    pub due_ms: Option<u64>,
    /// How often its record was put on the topic since it was queued.
    pub offers: u32,
    /// The token of its last run; 0 before the first.
    pub token: Token,
    /// When the lease of the last run ends or ended.
    pub lease_until_ms: Option<u64>,
    /// Why the last run ended without a result; empty if none did.
    pub setback: String,
    /// What it has cost and may still cost by what is granted.
    pub charged: Budget,
    /// When its result was published.
    pub published_ms: Option<u64>,
    /// The one result, once it is done.
    pub result: Option<CommitResult>,
}

impl From<&TaskView> for TaskDetail {
    fn from(view: &TaskView) -> Self {
        let result = result(view);
        Self {
            summary: TaskSummary::new(view, result.as_ref()),
            round: view.round,
            task: view.task.clone(),
            due_ms: moment(view.due_ms),
            offers: view.offers,
            token: view.token,
            lease_until_ms: moment(view.lease_until_ms),
            setback: view.setback.clone(),
            charged: view.charged,
            published_ms: moment(view.published_ms),
            result,
        }
    }
}

/// The timeline of a task, from some step on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Steps {
    /// Oldest first.
    pub steps: Vec<NumberedStep>,
}

/// A step with its place in the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NumberedStep {
    /// Its number within the task: `after` of the next call.
    pub n: u64,
    /// Which run.
    pub run: u32,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

impl From<TaskStep> for NumberedStep {
    fn from(TaskStep { n, run, step }: TaskStep) -> Self {
        Self { n, run, step }
    }
}

/// What came of cancelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cancelled {
    /// How many tasks ended by it: 0 if all were done already.
    pub tasks: u64,
}

/// What came of retrying a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retried {
    /// The task to look at from now on: the same if it only had to wait no longer, else the one in its place.
    pub id: TaskId,
}

/// The result of a task, decoded; `None` if there is none yet.
pub(crate) fn result(view: &TaskView) -> Option<CommitResult> {
    decode_result(view.result.as_deref()?)
}

/// The store writes 0 for what has not happened yet.
fn moment(ms: u64) -> Option<u64> {
    Some(ms).filter(|ms| *ms > 0)
}
