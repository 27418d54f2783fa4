//! Why something ended as it did: one closed table, the only place that decides a result's status.

use serde::{Deserialize, Serialize};

use crate::result::Status;

/// What a reason means for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing is wrong.
    Good,
    /// Told to the model, which may try again; the last attempt makes it SOFT_FAIL.
    FeedBack,
    /// Told to the model once; the second time is HARD_FAIL.
    FeedBackOnce,
    /// HARD_FAIL at once: it must not, or never can.
    Hard,
    /// Nobody's fault that a patch could mend: the run is given back and tried later; out of runs, HARD_FAIL.
    NoBlame,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $class:ident, $text:literal, $hint:literal;)+) => {
        /// A stable reason code. The text says what happened, the hint what to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[doc = $text] #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// The whole table, in order.
            pub const ALL: &[Reason] = &[$(Reason::$name,)+];

            /// The stable code, as results, metrics and logs carry it.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means for the task.
            pub fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// What happened, in one sentence.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the reader may do about it.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)+ }
            }
        }
    };
}

reasons! {
    Ok, "ok", Good, "the task did what it was asked", "";

    PatchRefused, "patch_refused", FeedBack, "the reply could not be applied in exactly one place", "the note names the file, the hunk and the nearest lines";
    ReplyUnreadable, "reply_unreadable", FeedBack, "the reply holds no edit that could be read", "see the reply in the task's timeline";
    ReplyTruncated, "reply_truncated", FeedBack, "the model stopped at its output limit", "raise the role's max-output-tokens or split the task";
    NoChange, "no_change", FeedBack, "the patch changes nothing", "the goal may be met already";
    ChecksFailed, "tests_failed", FeedBack, "a check is worse than on the base", "the check reports name what failed";
    CheckNotRun, "check_not_run", FeedBack, "a check that must run ran nothing", "a test command that collects no test proves nothing";
    CommandFailed, "command_failed", FeedBack, "the command of the task ended with an error", "see its output in the notes";

    SuffixNotAllowed, "diff_suffix_not_allowed", FeedBackOnce, "the patch touches a file type that the policy does not allow", "widen `suffixes` in the policy, or give the task to a person";
    PathNotAllowed, "path_not_allowed", FeedBackOnce, "the patch touches a path outside what the policy or the task allows", "widen `write` in the policy or the task's `scope`";
    TooLarge, "too_large", FeedBackOnce, "the patch is larger than the policy allows", "split the task or raise the limit";
    OperationNotAllowed, "operation_not_allowed", FeedBackOnce, "the patch adds, deletes or changes modes where the policy does not allow it", "see `operations` in the policy";

    PathForbidden, "path_forbidden", Hard, "the patch touches a path that the policy forbids", "a person must make this change";
    PathInvalid, "path_invalid", Hard, "the patch names a path that no repository should hold", "";
    ProtectedPath, "protected_path", Hard, "the patch touches a path that no policy opens", "a person must make this change";
    SymlinkForbidden, "symlink", Hard, "the patch adds or changes a symbolic link", "";
    SubmoduleForbidden, "submodule", Hard, "the patch adds or changes a submodule", "";
    ModeForbidden, "mode", Hard, "the patch sets a file mode that is not allowed", "";
    CaseCollision, "case_collision", Hard, "the patch adds a path that differs from another only in case", "";
    SecretFound, "secret_found", Hard, "the patch holds what looks like a secret", "";
    PolicyOff, "policy_off", Hard, "the policy switches the farm off for this repository", "set `enabled = true` in the policy";
    RiskNotAllowed, "risk_not_allowed", Hard, "the task's risk is higher than the policy allows", "allow `high-risk` in the policy";

    GoalEmpty, "goal_empty", Hard, "the task has no goal", "fill in `goal`";
    TaskInvalid, "task_invalid", Hard, "a field of the task cannot be used", "the note names the field";
    RepositoryUnknown, "repository_unknown", Hard, "the repository is not registered", "`patchfarm repo add` it";
    BaseMissing, "base_missing", Hard, "the remote does not have the base commit", "push the commit, or leave `base` empty";
    RepositoryEmpty, "repository_empty", Hard, "the target branch has no commit", "push a first commit";
    NoChecks, "no_checks", Hard, "no check was found and none was waived", "name checks in the task, the policy or patchfarm.toml, or waive them with `checks = []`";
    PrecedingFailed, "preceding_failed", Hard, "a task that must come first did not succeed", "";
    Cancelled, "cancelled", Hard, "a person cancelled it", "";
    DeadlinePassed, "deadline_passed", FeedBack, "the run took longer than its deadline", "raise `deadline-s` or split the task";
    BudgetSpent, "budget_spent", Hard, "the budget does not cover another model call", "raise the task's budget";
    Dead, "dead", Hard, "the task was begun as often as it may be and never ended", "see the workers' logs; `task retry` begins it anew";
    ModelRefused, "model_refused", Hard, "the model's service refuses this call and would again", "the note has its answer: key, model name or quota";

    ModelUnavailable, "ai_core_unavailable", NoBlame, "the model's service could not be reached or was overloaded", "look at its status";
    GitUnavailable, "git_unavailable", NoBlame, "the git remote could not be reached", "look at the remote and its credential";
    PushRefused, "push_refused", NoBlame, "the remote refused the push", "may the credential push to agt/*?";
    SandboxUnavailable, "sandbox_unavailable", NoBlame, "commands cannot be contained here", "`patchfarm doctor` says what is missing";
    StoreUnavailable, "store_unavailable", NoBlame, "control could not be reached or could not write", "look at control";
    LeaseLost, "lease_lost", NoBlame, "another run has the task now", "";
    LeaseConflict, "lease_conflict", NoBlame, "another task holds a lease on a touched file", "it runs when the lease is free";
    WorkerStopping, "worker_stopping", NoBlame, "the worker was told to stop", "";
    Internal, "internal", NoBlame, "the farm broke its own rules", "please report it with the worker's log";
}

impl Reason {
    /// The status of a task that ends for this reason.
    pub fn status(self) -> Status {
        match self.class() {
            Class::Good => Status::Success,
            Class::FeedBack => Status::SoftFail,
            Class::FeedBackOnce | Class::Hard | Class::NoBlame => Status::HardFail,
        }
    }

    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_find_their_reason() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{}\"", reason.code()));
        }
        assert_eq!(Reason::from_code("nonsense"), None);
    }

    #[test]
    fn the_page_for_operators_has_every_reason() {
        let page = include_str!("../../../docs/reasons.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), Reason::ALL.len());
        for (reason, row) in Reason::ALL.iter().zip(rows) {
            let then = match reason.class() {
                Class::Good => "",
                Class::FeedBack => "fed back; at last SOFT_FAIL",
                Class::FeedBackOnce => "fed back once; then HARD_FAIL",
                Class::Hard => "HARD_FAIL",
                Class::NoBlame => "given back and tried later; out of runs, HARD_FAIL",
            };
            let expected =
                format!("| `{}` | {then} | {} | {} |", reason.code(), reason.text(), reason.hint());
            assert_eq!(row, expected);
        }
    }

    #[test]
    fn only_ok_succeeds() {
        let successes: Vec<_> = Reason::ALL.iter().filter(|r| r.status() == Status::Success).collect();
        assert_eq!(successes, [&Reason::Ok]);
    }
}
