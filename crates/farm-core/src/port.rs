//! The seams at which the network and time come in. Disk has none: tests use real git in a temporary folder.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::{Oid, TaskId};
use crate::result::Usage;
use crate::service::{Beat, Begun, Denied, GiveBack, Prepare, RawRecord, RunRef, Step};
use crate::task::Budget;

/// The wall clock, Unix milliseconds. It names moments for people and other machines; leases are measured on monotonic time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now_ms(&self) -> u64;
}

/// Control could not be asked, or could not answer; nothing is known of what it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("control does not answer {call}: {detail}")]
pub struct Unanswered {
    /// The call.
    pub call: &'static str,
    /// What was seen.
    pub detail: String,
}

/// The task service, as a worker sees it.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Asks what to do with a record. `request` names this delivery of it.
    async fn begin(&self, request: &str, record: &RawRecord) -> Result<Begun, Unanswered>;
    /// Keeps the lease. `spent` is what the run has spent so far.
    async fn heartbeat(&self, run: &RunRef, spent: Budget) -> Result<Beat, Unanswered>;
    /// Tells of steps done.
    async fn report(&self, run: &RunRef, steps: Vec<Step>) -> Result<(), Unanswered>;
    /// Asks for leave to push.
    async fn prepare(&self, prepare: &Prepare) -> Result<Result<(), Denied>, Unanswered>;
    /// Ends the task. `result` is the encoded result.
    async fn complete(&self, run: &RunRef, result: &[u8]) -> Result<Result<(), Denied>, Unanswered>;
    /// Tells that the stored result is on the topic.
    async fn published(&self, task: &TaskId) -> Result<(), Unanswered>;
    /// Ends the run, not the task.
    async fn give_back(&self, give_back: &GiveBack) -> Result<(), Unanswered>;
}

/// Where records of the task topic come from.
#[async_trait]
pub trait TaskSource: Send + Sync {
    /// The next record, when a slot is free for it. Dropping the future loses nothing.
    async fn next(&self) -> Result<Delivery, SourceFailed>;
    /// Begin has decided: this record, and all before it of its partition, need not come again.
    fn accept(&self, delivery: &Delivery);
}

/// A record and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When it came onto the topic, Unix milliseconds; 0 if the topic does not say.
    pub timestamp_ms: u64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// Its headers, as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub record: RawRecord,
}

/// No more records will come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no more records can be read: {detail}")]
pub struct SourceFailed {
    /// Why.
    pub detail: String,
}

/// A record could not be published; it may or may not be on the topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not published to {topic}: {detail}")]
pub struct NotPublished {
    /// The topic.
    pub topic: String,
    /// Why.
    pub detail: String,
}

/// Where results and dead letters go.
#[async_trait]
pub trait ResultSink: Send + Sync {
    /// Publishes a stored result, key = task id.
    async fn result(&self, task: &TaskId, result: &[u8]) -> Result<(), NotPublished>;
    /// Publishes a refused record with its reason and where it stood.
    async fn dead_letter(
        &self,
        delivery: &Delivery,
        rejected: &crate::service::Rejected,
    ) -> Result<(), NotPublished>;
}

/// A file of the base tree, as context search sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Where.
    pub path: String,
    /// Its blob.
    pub oid: Oid,
    /// Bytes.
    pub size: u64,
}

/// Reads the base tree for whoever ranks it.
pub trait Blobs: Send + Sync {
    /// The UTF-8-named regular files of the tree that the policy lets be read.
    fn files(&self) -> Vec<TreeFile>;
    /// A blob's content; `None` if it is not there or too large to be source.
    fn read(&self, oid: &Oid) -> Option<Vec<u8>>;
}

/// What context is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextQuery {
    /// The tree that is searched.
    pub tree: Oid,
    /// The goal, and what earlier attempts showed.
    pub goal: String,
    /// The task's file, if it names one.
    pub path: Option<String>,
    /// Blobs that must be included.
    pub blob_ids: Vec<String>,
    /// What it may fill, in tokens of about four bytes.
    pub tokens: usize,
}

/// A piece of a file, with where it stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Snippet {
    /// Its file.
    pub path: String,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line, inclusive.
    pub end_line: u32,
    /// The innermost definition, where known.
    pub symbol: String,
    /// Larger is better; comparable within one answer.
    pub score: f64,
    /// The lines.
    pub text: String,
}

/// Context could not be had in time; the worker's own search serves instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("context service: {detail}")]
pub struct NoContext {
    /// Why.
    pub detail: String,
}

/// Finds the code that a goal is about.
#[async_trait]
pub trait Context: Send + Sync {
    /// Best first, packed to the query's budget.
    async fn search(&self, query: &ContextQuery, blobs: &dyn Blobs) -> Result<Vec<Snippet>, NoContext>;
}

/// What form a reply should have.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyForm {
    /// Anything; the reader finds the edits.
    Text,
    /// A JSON object of this schema, enforced where the server can.
    Json {
        /// The schema's name.
        name: &'static str,
        /// JSON Schema.
        schema: serde_json::Value,
    },
}

/// One question to a model. The caller names a role, never a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCall {
    /// `coder`, `planner` or `reviewer`.
    pub role: &'static str,
    /// The byte-stable part, which providers may cache.
    pub system: String,
    /// The part that varies.
    pub user: String,
    /// What form the reply should have.
    pub form: ReplyForm,
    /// The longest that this call, with its retries, may take.
    pub deadline: Duration,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelReply {
    /// Its text.
    pub text: String,
    /// The model that answered.
    pub model: String,
    /// What it took, retries included.
    pub usage: Usage,
    /// Whether it stopped at its output limit.
    pub truncated: bool,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It would fail again: key, model name, quota, content.
    #[error("the model's service refuses the call ({status}): {detail}")]
    Refused {
        /// HTTP status, or 0 if the refusal came otherwise.
        status: u16,
        /// What the service said, redacted.
        detail: String,
    },
    /// It may work later.
    #[error("the model's service is not available after {calls} calls: {detail}")]
    Unavailable {
        /// Calls sent.
        calls: u32,
        /// What was seen last, redacted.
        detail: String,
    },
    /// The service answered, but not in its own protocol.
    #[error("the model's service sent an answer that cannot be read: {detail}")]
    Unreadable {
        /// What was expected and found.
        detail: String,
    },
}

/// A call that got no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct NoReply {
    /// Why.
    pub error: ModelError,
    /// What it took all the same: a request that was cut off may have been paid for.
    pub usage: Usage,
}

/// Answers questions.
#[async_trait]
pub trait Model: Send + Sync {
    /// Asks, and retries what may succeed, within the call's deadline.
    async fn ask(&self, call: &ModelCall) -> Result<ModelReply, NoReply>;
    /// The most that this call can cost, for the budget: granted before, settled after (I9).
    fn worst_case(&self, call: &ModelCall) -> Budget;
}
