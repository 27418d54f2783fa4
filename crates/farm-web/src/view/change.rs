//! Changes.

use farm_core::id::{ChangeId, RepoName};
use farm_core::state::ChangeState;
use farm_core::task::Risk;
use farm_store::{ChangeView, Integration};
use serde::{Deserialize, Serialize};

use crate::view::{ReasonText, TaskSummary};

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
