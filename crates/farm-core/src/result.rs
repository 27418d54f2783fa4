//! What came of a task: the one terminal result, and the check reports in it.

use serde::{Deserialize, Serialize};

use crate::id::{ChangeId, Oid, RepoName, TaskId, Token};
use crate::reason::Reason;
use crate::task::{CheckKind, Expectation};

/// The seed's three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The branch is pushed (or the report is made) and the checks are as they should be.
    Success,
    /// The model did not manage.
    SoftFail,
    /// It must not, or never can.
    HardFail,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::SoftFail => "SOFT_FAIL",
            Self::HardFail => "HARD_FAIL",
        }
    }

    /// Reads the word on the wire.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::SoftFail, Self::HardFail].into_iter().find(|status| status.as_str() == word)
    }
}

/// What a check showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It met its expectation.
    Pass,
    /// It failed, but nothing that passed on the base: excused.
    NoWorse,
    /// It did not meet its expectation.
    Fail,
    /// Red, then green on an unchanged rerun.
    Flaky,
    /// It ran nothing (no test collected, program absent): never a pass.
    NotRun,
}

impl Verdict {
    /// The name used on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NoWorse => "no_worse",
            Self::Fail => "fail",
            Self::Flaky => "flaky",
            Self::NotRun => "not_run",
        }
    }

    /// Whether a task may succeed with it.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Pass | Self::NoWorse | Self::Flaky)
    }
}

/// How many tests a check ran, where its report says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCounts {
    /// Passed.
    pub passed: u32,
    /// Failed or errored.
    pub failed: u32,
    /// Skipped or ignored.
    pub skipped: u32,
}

/// One check and what it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// [`crate::task::Check::name`].
    pub name: String,
    /// Format, lint or test.
    pub kind: CheckKind,
    /// What it had to show.
    pub expect: Expectation,
    /// What it showed.
    pub verdict: Verdict,
    /// Exit status; absent if it was killed or never started.
    pub exit_code: Option<i32>,
    /// Wall-clock time.
    pub duration_ms: u64,
    /// Counted tests, where known.
    pub tests: Option<TestCounts>,
    /// What fails now and did not on the base: test ids or diagnostics.
    pub new_failures: Vec<String>,
    /// The end of the output, redacted, for people and for the next attempt.
    pub output: String,
    /// Where the check was found: `task`, `policy`, a file's name.
    pub found_in: String,
}

/// What models were asked for, summed over a task. Money in micro-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// Calls that were sent.
    pub calls: u64,
    /// Tokens of the prompts.
    pub prompt_tokens: u64,
    /// Of those, served from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens of the replies.
    pub completion_tokens: u64,
    /// What it cost, by the role's prices.
    pub cost_micro_usd: u64,
}

impl Usage {
    /// Adds `other`.
    pub fn add(&mut self, other: &Usage) {
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost_micro_usd += other.cost_micro_usd;
    }

    /// Prompt and reply together.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }
}

/// The one terminal result of a task. Its wire form (farm-wire) keeps the seed's first five fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommitResult {
    /// Which task.
    pub task: TaskId,
    /// The pushed commit; `None` unless a patch succeeded.
    pub commit: Option<Oid>,
    /// The seed's word.
    pub status: Status,
    /// `agt/<task_id>`; `None` unless a patch succeeded.
    pub branch: Option<String>,
    /// Words for people: what failed, what was refused, what a report found.
    pub notes: Vec<String>,
    /// Why.
    pub reason: Reason,
    /// Which change.
    pub change: Option<ChangeId>,
    /// Which repository.
    pub repository: Option<RepoName>,
    /// The pinned base.
    pub base: Option<Oid>,
    /// The tree of `commit`, which is the tree that was checked (I2).
    pub tree: Option<Oid>,
    /// [`crate::delta::TreeDelta::digest`].
    pub delta_digest: Option<String>,
    /// Proposed patches.
    pub attempts: u32,
    /// The last attempt's checks.
    pub checks: Vec<CheckReport>,
    /// Where the checks were found, or `waived`.
    pub checks_from: String,
    /// What models were asked for.
    pub usage: Usage,
    /// The sandbox's tier, empty if nothing ran.
    pub sandbox: String,
    /// `rag`, `local` or `none`.
    pub context: String,
    /// The fencing token of the run.
    pub token: Token,
    /// Begin to Complete, as the worker saw it.
    pub duration_ms: u64,
    /// The model that answered last.
    pub model: String,
    /// SHA-256 of the prompt template.
    pub prompt_hash: String,
    /// Files and symbols that changed.
    pub symbols: Vec<String>,
    /// Commands that the model suggests as proof; shown to people, never run.
    pub suggested_checks: Vec<String>,
}

impl CommitResult {
    /// A result that has nothing but a reason and its notes.
    pub fn ended(task: TaskId, reason: Reason, notes: Vec<String>) -> Self {
        Self {
            task,
            commit: None,
            status: reason.status(),
            branch: None,
            notes,
            reason,
            change: None,
            repository: None,
            base: None,
            tree: None,
            delta_digest: None,
            attempts: 0,
            checks: Vec::new(),
            checks_from: String::new(),
            usage: Usage::default(),
            sandbox: String::new(),
            context: String::new(),
            token: Token(0),
            duration_ms: 0,
            model: String::new(),
            prompt_hash: String::new(),
            symbols: Vec::new(),
            suggested_checks: Vec::new(),
        }
    }
}
