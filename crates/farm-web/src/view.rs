//! The forms that the API answers in; clients written in Rust may read them with these types.

use farm_control::phases::decode_result;
use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
use farm_core::ledger::Entry;
use farm_core::reason::Reason;
use farm_core::result::{CommitResult, Status};
use farm_core::service::Step;
use farm_core::state::{ChangeState, TaskState};
use farm_core::task::{Budget, CodingTask, Risk};
use farm_store::{ChangeView, HeldLease, Integration, TaskStep, TaskView};
use serde::{Deserialize, Serialize};

/// A reason with what it says to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReasonText {
    /// The stable code.
    pub code: Reason,
    /// What happened.
    pub text: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl From<Reason> for ReasonText {
    fn from(reason: Reason) -> Self {
        Self { code: reason, text: reason.text().to_owned(), hint: reason.hint().to_owned() }
    }
}

/// A change, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeSummary {
    /// Its id.
    pub id: ChangeId,
    /// Its place in the order of acceptance: `before` of the next page.
    pub seq: u64,
    /// In which repository.
    pub repository: RepoName,
    /// For which branch.
    pub target: String,
    /// What is wanted.
    pub goal: String,
    /// Who wants it.
    pub source: String,
    /// How much harm it may do.
    pub risk: Risk,
    /// Larger is sooner.
    pub priority: i32,
    /// Where it stands.
    pub state: ChangeState,
    /// Why it went there, where a reason is known.
    pub reason: Option<ReasonText>,
    /// How often it was sent back.
    pub round: u32,
    /// When it was accepted, Unix milliseconds.
    pub created_ms: u64,
    /// When it moved last.
    pub changed_ms: u64,
}

impl From<&ChangeView> for ChangeSummary {
    fn from(view: &ChangeView) -> Self {
        Self {
            id: view.id.clone(),
            seq: view.seq,
            repository: view.repository.clone(),
            target: view.target.clone(),
            goal: view.goal.clone(),
            source: view.source.clone(),
            risk: view.risk,
            priority: view.priority,
            state: view.state,
            reason: view.reason.map(Into::into),
            round: view.round,
            created_ms: view.created_ms,
            changed_ms: view.changed_ms,
        }
    }
}

/// A page of changes, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// The changes.
    pub changes: Vec<ChangeSummary>,
    /// `before` of the next page; absent on the last one.
    pub next_before: Option<u64>,
}

/// A change with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: ChangeSummary,
    /// What was said at its moves, oldest first.
    pub notes: Vec<String>,
    /// What was put together last in this round.
    pub integration: Option<Integration>,
    /// Where that is pushed to.
    pub branch: String,
    /// Its tasks, newest first.
    pub tasks: Vec<TaskSummary>,
    /// `before` for the rest of its tasks at `/tasks?change=`; absent if these are all.
    pub tasks_next_before: Option<u64>,
}

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

/// The leases that last now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leases {
    /// By repository and path.
    pub leases: Vec<LeaseRow>,
}

/// A lease on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeaseRow {
    /// Names this giving-out.
    pub id: String,
    /// In which repository.
    pub repository: RepoName,
    /// Which file, in lower case.
    pub path: String,
    /// Which task has it.
    pub holder: TaskId,
    /// Its fencing token.
    pub token: Token,
    /// When it ends unless renewed.
    pub until_ms: u64,
    /// Which commit it was used for.
    pub commit: Option<Oid>,
}

impl From<HeldLease> for LeaseRow {
    fn from(HeldLease { id, lease, commit }: HeldLease) -> Self {
        let key = lease.key;
        Self {
            id,
            repository: key.repository,
            path: key.path,
            holder: lease.holder,
            token: lease.token,
            until_ms: lease.until_ms,
            commit,
        }
    }
}

/// Entries of the ledger, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<LedgerRow>,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LedgerRow {
    /// From 1, without gaps: `after` of the next call.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub event: String,
    /// To which task, change or repository.
    pub subject: String,
    /// Who did it.
    pub actor: String,
    /// The particulars: JSON as text, byte for byte as it is hashed.
    pub body: String,
    /// The hash of the entry before.
    pub prev: String,
    /// Its own hash.
    pub hash: String,
}

impl From<Entry> for LedgerRow {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at_ms: entry.at_ms,
            event: entry.event.name().to_owned(),
            subject: entry.subject,
            actor: entry.actor,
            body: entry.body,
            prev: entry.prev,
            hash: entry.hash,
        }
    }
}

/// Whether the ledger is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Whether every entry follows from the one before.
    pub whole: bool,
    /// The number of the last entry, if whole.
    pub entries: Option<u64>,
    /// Its hash, if whole.
    pub head: Option<String>,
    /// Where it is broken, if it is.
    pub broken: Option<String>,
}

/// The farm at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FarmStatus {
    /// Of the program.
    pub version: String,
    /// Which store: another id means that it was lost or restored.
    pub store_id: String,
    /// Tasks by state.
    pub tasks: TaskNumbers,
    /// Changes that are under way, by state.
    pub changes: std::collections::BTreeMap<String, u64>,
    /// Workers that have, or lately had, a run.
    pub workers: Vec<WorkerRow>,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskNumbers {
    /// Waiting.
    pub queued: u64,
    /// Begun.
    pub running: u64,
    /// Ended.
    pub done: u64,
}

/// A worker, as its runs tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerRow {
    /// Its name.
    pub name: String,
    /// How many runs it has now.
    pub running: u64,
    /// When a run of it last began or ended.
    pub seen_ms: u64,
}

/// What `/events` says: the store has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changed {
    /// Entries of the ledger since the last event; none if only timelines, offers or leases changed.
    pub entries: Vec<Happening>,
}

/// An entry of the ledger, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Happening {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub event: String,
    /// To which task, change or repository.
    pub subject: String,
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
