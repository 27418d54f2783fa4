//! The forms that the API answers in; clients written in Rust may read them with these types.

mod change;

mod task;

mod farm;

use farm_core::reason::Reason;
use serde::{Deserialize, Serialize};

pub use change::{ChangeDetail, ChangeSummary, Changes};
pub use farm::{
    Changed, FarmStatus, Happening, LeaseRow, Leases, Ledger, LedgerRow, TaskNumbers, Verified, WorkerRow,
};
pub use task::{Cancelled, NumberedStep, Retried, Steps, TaskDetail, TaskSummary, Tasks};

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
