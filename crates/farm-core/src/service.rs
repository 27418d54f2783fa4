//! What workers and control say to each other (DESIGN §4), without the wire.
//!
//! Every call that changes something carries a request id: the same id gets the same answer, so a lost answer costs a
//! retry and nothing else.

use serde::{Deserialize, Serialize};

use crate::delta::TreeDelta;
use crate::id::{Oid, RepoName, TaskId, Token};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::task::{Budget, Check, CodingTask};

/// A record of the task topic as it came, before anybody has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// The header `pf-type`, if there is one.
    pub kind: Option<String>,
    /// The value.
    pub payload: Vec<u8>,
}

/// Why a record never becomes a row: it goes to the dead-letter topic with this in its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// Neither a bundle nor a task.
    Undecodable,
    /// The header `pf-type` names something that is no task.
    UnknownType,
    /// Larger than the farm takes.
    TooLarge,
    /// No id.
    NoId,
    /// An id outside the grammar.
    BadId,
    /// A known id with other content: the first one stands.
    OtherContent,
}

impl DeadReason {
    /// Every reason, in order.
    pub const ALL: [DeadReason; 6] =
        [Self::Undecodable, Self::UnknownType, Self::TooLarge, Self::NoId, Self::BadId, Self::OtherContent];

    /// The stable code, as headers and metrics carry it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownType => "unknown_type",
            Self::TooLarge => "too_large",
            Self::NoId => "no_id",
            Self::BadId => "bad_id",
            Self::OtherContent => "other_content",
        }
    }

    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// A record, or one task of a bundle, that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why, as a code.
    pub reason: DeadReason,
    /// Why, in words: what was expected and what was found.
    pub detail: String,
    /// What was refused; for a bundle, the one task.
    pub payload: Vec<u8>,
}

/// The answer to Begin (the table in DESIGN §4).
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is this task's turn.
    Run(Box<Run>),
    /// A result is stored; publish it again, byte for byte.
    Done {
        /// Which task.
        task: TaskId,
        /// The stored result.
        result: Vec<u8>,
    },
    /// Another run has it.
    Held,
    /// Stored, but not its turn; dispatch offers it when due. A bundle always ends here, less what was refused of it.
    Deferred {
        /// Tasks of the bundle that never became rows.
        refused: Vec<Rejected>,
    },
    /// No usable id, or other content under a known id.
    Refused(Rejected),
}

/// What a worker may do for a task, and until when.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The task.
    pub task: CodingTask,
    /// The run's fencing token; every later call carries it.
    pub token: Token,
    /// 1 for the first.
    pub run: u32,
    /// The pinned base commit.
    pub base: Oid,
    /// Where, and under which rules.
    pub repository: Repository,
    /// How long the lease lasts from the moment the call was sent, in milliseconds.
    pub lease_ms: u64,
    /// What this run may spend now.
    pub grant: Budget,
    /// When the task first began, Unix milliseconds: the commit's time, so that a second run makes the same commit.
    pub first_begin_ms: u64,
    /// What an earlier run prepared to push, if one got so far.
    pub intent: Option<Intent>,
}

/// A registered repository, as a worker needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Repository {
    /// Its name.
    pub name: RepoName,
    /// Where it is fetched from and pushed to.
    pub url: String,
    /// The branch that changes are for.
    pub target: String,
    /// Which credential to use: `env:NAME` or `file:PATH`, looked up where it is used; never the secret itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The operator's checks: `None`, find them; empty, waived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
    /// The operator's rules.
    #[serde(default)]
    pub policy: Policy,
}

/// What a run said it would push, written before it pushed (I8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The run that prepared it.
    pub token: Token,
    /// The branch's value before; `None` if there was no branch.
    pub old: Option<Oid>,
    /// The commit.
    pub commit: Oid,
    /// The result, encoded, as it reads if the push succeeds.
    pub result: Vec<u8>,
}

/// Names the run that a call speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRef {
    /// Which task.
    pub task: TaskId,
    /// Its token.
    pub token: Token,
}

/// Why control does not let a run go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The reason: `lease_lost`, `lease_conflict`, `cancelled`, a policy rule.
    pub reason: Reason,
    /// In words.
    pub detail: String,
}

/// The answer to Heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beat {
    /// The lease lasts this long from the moment the call was sent.
    Renewed {
        /// Milliseconds.
        lease_ms: u64,
        /// What the run may spend in all, after any top-up.
        grant: Budget,
    },
    /// Stop: the task was cancelled or another run has it.
    Stop(Denied),
}

/// Asks for leave to push (step 8).
#[derive(Debug, Clone, PartialEq)]
pub struct Prepare {
    /// The run.
    pub run: RunRef,
    /// The branch's value before the push.
    pub old: Option<Oid>,
    /// The commit to push.
    pub commit: Oid,
    /// Its difference from the base.
    pub delta: TreeDelta,
    /// Symbols that it changes, where known.
    pub symbols: Vec<String>,
    /// The result, encoded, as it would read.
    pub result: Vec<u8>,
}

/// One step of a run, for the timeline. Losing one never fails a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// When it ended, Unix milliseconds.
    pub at_ms: u64,
    /// Which attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Which step.
    pub phase: Phase,
    /// How long it took.
    pub duration_ms: u64,
    /// One line for people.
    pub summary: String,
    /// The prompt, reply, check output or diff, redacted and bounded; may be empty.
    pub detail: String,
}

/// The steps of DESIGN §4, as timelines and `patchfarm_phase_duration_seconds` name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Mirror and base tree.
    Base,
    /// Snippets for the prompt.
    Context,
    /// The strategy: a model call or a command.
    Strategy,
    /// The patch engine.
    Patch,
    /// The policy's judgement.
    Policy,
    /// One check.
    Check,
    /// Leave to push.
    Prepare,
    /// The push.
    Push,
    /// The end.
    Complete,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 9] = [
        Self::Base,
        Self::Context,
        Self::Strategy,
        Self::Patch,
        Self::Policy,
        Self::Check,
        Self::Prepare,
        Self::Push,
        Self::Complete,
    ];

    /// The name used on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Context => "context",
            Self::Strategy => "strategy",
            Self::Patch => "patch",
            Self::Policy => "policy",
            Self::Check => "check",
            Self::Prepare => "prepare",
            Self::Push => "push",
            Self::Complete => "complete",
        }
    }
}

/// A run that ends without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveBack {
    /// The run.
    pub run: RunRef,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub detail: String,
    /// The least time before the next run, in milliseconds.
    pub delay_ms: u64,
    /// What was spent.
    pub spent: Budget,
}
