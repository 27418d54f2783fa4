//! The states of changes and tasks, and the only moves between them (DESIGN §6).

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its turn.
    Queued,
    /// A run has it.
    Running,
    /// Its result is stored.
    Done,
}

impl TaskState {
    /// Every state, in order.
    pub const ALL: [TaskState; 3] = [Self::Queued, Self::Running, Self::Done];

    /// The name in the store, the API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// The planner makes its tasks.
    Plan,
    /// Its tasks run.
    CodePhase,
    /// The full checks run on the integrated tree.
    Build1,
    /// A person decides.
    Approval,
    /// It goes to the target branch.
    Merge,
    /// The merged commit is checked.
    Verify,
    /// It is in the target branch.
    Done,
    /// It cannot be done.
    Failed,
    /// A person stopped it.
    Cancelled,
    /// It was in the target branch and was reverted.
    RolledBack,
}

impl ChangeState {
    /// Every state, in order.
    pub const ALL: [ChangeState; 10] = [
        Self::Plan,
        Self::CodePhase,
        Self::Build1,
        Self::Approval,
        Self::Merge,
        Self::Verify,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::RolledBack,
    ];

    /// The name in the store, the API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::CodePhase => "code_phase",
            Self::Build1 => "build1",
            Self::Approval => "approval",
            Self::Merge => "merge",
            Self::Verify => "verify",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing more happens to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::RolledBack)
    }

    /// Whether the farm itself has work to do for it; `approval` waits for a person.
    pub fn is_working(self) -> bool {
        matches!(self, Self::Plan | Self::CodePhase | Self::Build1 | Self::Merge | Self::Verify)
    }

    /// Whether a change may go from here to `next`.
    pub fn may_become(self, next: ChangeState) -> bool {
        use ChangeState::{
            Approval, Build1, Cancelled, CodePhase, Done, Failed, Merge, Plan, RolledBack, Verify,
        };
        match (self, next) {
            (Plan, CodePhase) | (CodePhase, Build1) | (Build1, Approval) => true,
            // Tasks that only report leave nothing to build.
            (CodePhase, Done) => true,
            (Approval, Merge) | (Merge, Verify) | (Verify, Done) => true,
            // A collision, a failed build or a target that moved sends it back.
            (Build1 | Approval | Merge, CodePhase) | (Merge, Approval | Build1) => true,
            (Verify | Done, RolledBack) => true,
            (from, Failed) => !from.is_final(),
            (Plan | CodePhase | Build1 | Approval, Cancelled) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for state in ChangeState::ALL {
            assert_eq!(ChangeState::parse(state.name()), Some(state));
        }
        for state in TaskState::ALL {
            assert_eq!(TaskState::parse(state.name()), Some(state));
        }
    }

    #[test]
    fn every_state_can_end_and_no_ended_state_goes_on() {
        for from in ChangeState::ALL {
            let next: Vec<_> = ChangeState::ALL.into_iter().filter(|to| from.may_become(*to)).collect();
            match from {
                ChangeState::Done => assert_eq!(next, [ChangeState::RolledBack]),
                _ if from.is_final() => assert!(next.is_empty(), "{from:?} → {next:?}"),
                _ => assert!(next.contains(&ChangeState::Failed), "{from:?} → {next:?}"),
            }
        }
    }

    #[test]
    fn nothing_reaches_merge_without_approval() {
        for from in ChangeState::ALL {
            assert_eq!(from.may_become(ChangeState::Merge), from == ChangeState::Approval, "{from:?}");
        }
    }
}
