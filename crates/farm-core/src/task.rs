//! What is asked: a change request, its change, its tasks, their checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{ChangeId, Oid, RepoName, TaskId};

/// What a task yields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Yield {
    /// A commit on `agt/<task_id>`.
    #[default]
    Patch,
    /// Text: what was read (`read`) or what a model says of it (`analyze`).
    Report,
    /// Check reports on the base commit, as build1 and verify ask for (`test`).
    Checks,
}

/// The word that a task carries in its `kind` field. The seed's producers write what they like there (`FEAT`, `fix`); it
/// becomes the subject of the commit, and only `read`, `analyze` and `test` mean something other than a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Kind(String);

impl Kind {
    /// The kind of a task that says nothing.
    pub const MODIFY: &str = "modify";

    /// What a task of this kind yields.
    pub fn yields(&self) -> Yield {
        match self.0.as_str() {
            "read" | "analyze" => Yield::Report,
            "test" => Yield::Checks,
            _ => Yield::Patch,
        }
    }

    /// The word, lower-case, safe in a commit subject.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Kind {
    fn default() -> Self {
        Self(Self::MODIFY.to_owned())
    }
}

impl From<String> for Kind {
    /// Keeps letters, digits and `-` of the first 32 characters; nothing left means `modify`.
    fn from(text: String) -> Self {
        let word: String = text
            .chars()
            .take(32)
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        if word.is_empty() { Self::default() } else { Self(word) }
    }
}

impl From<&str> for Kind {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> String {
        kind.0
    }
}

/// How a task gets its patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Strategy {
    /// One model reply an attempt.
    #[default]
    SingleShot,
    /// A deterministic program, run in the sandbox over the export; what it changed is the patch.
    Command {
        /// Program and arguments; no shell is involved.
        argv: Vec<String>,
    },
}

impl Strategy {
    /// The name used in results, metrics and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SingleShot => "single_shot",
            Self::Command { .. } => "command",
        }
    }
}

/// What a check looks at; checks run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// May rewrite files that the patch touched, and only those.
    Format,
    /// Reads only.
    Lint,
    /// Runs code of the repository.
    Test,
}

impl CheckKind {
    /// The name used on the wire, in settings and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Test => "test",
        }
    }
}

/// What a check must show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// Exit status 0 on the patched tree.
    Pass,
    /// Nothing that passed on the base fails now; old failures are excused.
    #[default]
    NoWorse,
    /// Red on the base plus the patch's new test files, green on the patched tree.
    FailThenPass,
}

impl Expectation {
    /// The name used on the wire and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NoWorse => "no_worse",
            Self::FailThenPass => "fail_then_pass",
        }
    }
}

/// One command that judges a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Check {
    /// A short name for people, unique within a task: `ruff`, `cargo-test`.
    pub name: String,
    /// Format, lint or test.
    pub kind: CheckKind,
    /// Program and arguments; no shell is involved. `{files}` stands for the touched files, one argument each.
    pub argv: Vec<String>,
    /// What it must show.
    #[serde(default)]
    pub expect: Expectation,
    /// Wall-clock limit in seconds; 300 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// A file, relative to the repository, that the command writes a JUnit report to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<String>,
    /// Globs of the files that it is about; empty means all. If the patch touches none of them, the check has nothing to
    /// say (`not_run`), and only these files stand for `{files}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// The default of [`Check::timeout_s`].
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(300);

impl Check {
    /// The wall-clock limit.
    pub fn timeout(&self) -> Duration {
        self.timeout_s.map_or(CHECK_TIMEOUT, Duration::from_secs)
    }
}

/// How much harm a change may do; raised by policy, never lowered by a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// The default.
    #[default]
    Low,
    /// Worth a second look.
    Medium,
    /// Needs the `high_risk` capability.
    High,
    /// Needs the `high_risk` capability.
    Critical,
}

impl Risk {
    /// The name used on the wire and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a task may spend on models, over all its runs and attempts. Money is in micro-dollars (1 USD = 1,000,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budget {
    /// Prompt and completion tokens together.
    pub tokens: u64,
    /// Money.
    pub cost_micro_usd: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: 400_000, cost_micro_usd: 2_000_000 }
    }
}

/// One patch (or report) to make in one repository at one base commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CodingTask {
    /// Unique for ever.
    pub id: TaskId,
    /// What it yields, and the first word of the commit subject.
    #[serde(default)]
    pub kind: Kind,
    /// What is wanted, in words for the model. Never empty in a task that runs.
    pub goal: String,
    /// The file that the goal is about, if the producer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Blobs that the context should include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blob_ids: Vec<String>,
    /// Leases that the producer reserved for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved_lease_ids: Vec<String>,
    /// Which registered repository; absent means the farm's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepoName>,
    /// The commit to start from; absent means the tip of the target branch at the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Oid>,
    /// `None`: find them; empty: waived, and the result says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
    /// Globs that narrow what this task may write; empty means what the repository's policy allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// How much harm it may do.
    #[serde(default)]
    pub risk: Risk,
    /// What it may spend.
    #[serde(default)]
    pub budget: Budget,
    /// Seconds that one run may take; the farm's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// How it gets its patch.
    #[serde(default)]
    pub strategy: Strategy,
    /// The change that it belongs to; a task from outside may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeId>,
    /// Who wants it: `person`, `api`, `kafka`, a detector's name.
    #[serde(default)]
    pub source: String,
    /// Larger is sooner.
    #[serde(default)]
    pub priority: i32,
    /// Tasks that must have succeeded before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskId>,
    /// Attempts beyond the first; the farm's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// What earlier rounds of the change learnt, for the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl CodingTask {
    /// A task with nothing but an id and a goal; the rest are defaults.
    pub fn new(id: TaskId, goal: impl Into<String>) -> Self {
        Self {
            id,
            kind: Kind::default(),
            goal: goal.into(),
            path: None,
            blob_ids: Vec::new(),
            reserved_lease_ids: Vec::new(),
            repository: None,
            base: None,
            checks: None,
            scope: Vec::new(),
            risk: Risk::default(),
            budget: Budget::default(),
            deadline_s: None,
            strategy: Strategy::default(),
            change: None,
            source: String::new(),
            priority: 0,
            after: Vec::new(),
            max_retries: None,
            notes: Vec::new(),
        }
    }
}

/// What somebody asks of the farm: tasks given by the caller, or a goal that the planner turns into tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChangeRequest {
    /// Made by the farm when absent. The same id with the same content is the same change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ChangeId>,
    /// Which registered repository; absent means the farm's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepoName>,
    /// What is wanted.
    pub goal: String,
    /// Given tasks; empty means that the planner makes them from the goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<CodingTask>,
    /// Who wants it.
    #[serde(default)]
    pub source: String,
    /// The least risk of each of its tasks.
    #[serde(default)]
    pub risk: Risk,
    /// The priority of its tasks that have none.
    #[serde(default)]
    pub priority: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_is_a_kind_and_only_three_are_not_patches() {
        for (text, word, yields) in [
            ("FEAT", "feat", Yield::Patch),
            ("", "modify", Yield::Patch),
            ("\n", "modify", Yield::Patch),
            ("Analyze", "analyze", Yield::Report),
            ("read", "read", Yield::Report),
            ("TEST", "test", Yield::Checks),
        ] {
            let kind = Kind::from(text);
            assert_eq!((kind.as_str(), kind.yields()), (word, yields), "{text:?}");
        }
    }

    #[test]
    fn a_short_request_is_enough() {
        let request: ChangeRequest =
            serde_json::from_str(r#"{"goal":"g","tasks":[{"id":"t1","goal":"g"}]}"#).unwrap();
        assert_eq!(request.tasks, [CodingTask::new(TaskId::new("t1").unwrap(), "g")]);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(serde_json::from_str::<ChangeRequest>(r#"{"goal":"g","taskz":[]}"#).is_err());
    }
}
