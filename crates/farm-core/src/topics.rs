//! The names of the Kafka topics; all settable.

use serde::{Deserialize, Serialize};

/// The six topics (DESIGN §7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topics {
    /// What is asked of the farm.
    pub change_requests: String,
    /// Work, spread over the workers.
    pub coding_tasks: String,
    /// Records that never became tasks.
    pub dead_letters: String,
    /// One terminal result a task; compacted, key = task id.
    pub commit_results: String,
    /// Tells outside CI of integrated trees.
    pub build_requests: String,
    /// What build stages showed.
    pub build_results: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self::with_prefix("")
    }
}

impl Topics {
    /// The default names behind one prefix.
    pub fn with_prefix(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            change_requests: name("change-requests"),
            coding_tasks: name("coding-tasks"),
            dead_letters: name("coding-tasks.dlq"),
            commit_results: name("commit-results"),
            build_requests: name("build-requests"),
            build_results: name("build-results"),
        }
    }

    /// All six.
    pub fn all(&self) -> [&str; 6] {
        [
            &self.change_requests,
            &self.coding_tasks,
            &self.dead_letters,
            &self.commit_results,
            &self.build_requests,
            &self.build_results,
        ]
    }
}
