//! What can go wrong, as the caller must tell it apart. No text in here holds a credential.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farm_core::delta::RepoPath;
use farm_core::id::Oid;

/// A failure of anything but the judgement on a pushed ref.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GitError {
    /// The address or its credential cannot be used.
    #[error("remote address is refused: {why}")]
    InvalidRemote {
        /// What was expected; never the address itself, which may hold a password.
        why: String,
    },
    /// A branch name that git or the farm refuses.
    #[error("branch name {branch:?} is refused: {why}")]
    InvalidBranch {
        /// The name.
        branch: String,
        /// The rule.
        why: &'static str,
    },
    /// The remote has no such branch.
    #[error("{url} has no branch {branch:?}")]
    BranchMissing {
        /// The remote.
        url: String,
        /// The branch.
        branch: String,
    },
    /// The commit is neither here nor to be had from the remote.
    #[error("{url} does not have the commit {oid}")]
    BaseMissing {
        /// The remote.
        url: String,
        /// The commit.
        oid: Oid,
    },
    /// The remote wants other credentials.
    #[error("{url} refused the credentials: {detail}")]
    Auth {
        /// The remote.
        url: String,
        /// Git's words.
        detail: String,
    },
    /// Nothing that is a repository answers there.
    #[error("there is no repository at {url}, or these credentials do not show it: {detail}")]
    RepositoryMissing {
        /// The remote.
        url: String,
        /// Git's words.
        detail: String,
    },
    /// The remote did not answer, or stopped answering; trying again may help.
    #[error("{url} is unreachable: {detail}")]
    Unreachable {
        /// The remote.
        url: String,
        /// Git's words.
        detail: String,
    },
    /// The git command took longer than it may; trying again may help.
    #[error("git {verb} with {url} took longer than {limit:?}")]
    Timeout {
        /// The git subcommand.
        verb: &'static str,
        /// The remote.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The git command failed in some other way.
    #[error("git {verb} failed ({status}): {detail}")]
    Command {
        /// The git subcommand.
        verb: &'static str,
        /// How it exited.
        status: String,
        /// The end of its standard error.
        detail: String,
    },
    /// The git command could not be started.
    #[error("cannot run {program:?}: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// An object is missing, damaged or of another kind.
    #[error("cannot {doing}: {detail}")]
    Object {
        /// What was tried.
        doing: String,
        /// libgit2's words.
        detail: String,
    },
    /// A path that must not be written.
    #[error("path \"{path}\" is refused: {why}")]
    PathRefused {
        /// The path.
        path: RepoPath,
        /// The rule.
        why: &'static str,
    },
    /// A file where a directory is needed, or the other way round, or the same path twice.
    #[error("path \"{path}\" is in conflict: {why}")]
    PathConflict {
        /// The path.
        path: RepoPath,
        /// What stands in the way.
        why: &'static str,
    },
    /// A path to be removed is not there.
    #[error("path \"{path}\" does not exist")]
    PathMissing {
        /// The path.
        path: RepoPath,
    },
    /// A limit was exceeded.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
    /// A file of ours could not be read or written.
    #[error("cannot {doing} {path:?}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The work was given up because the program ends.
    #[error("git work was cut short: {detail}")]
    Cancelled {
        /// Why.
        detail: String,
    },
}

impl GitError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Cancelled { .. })
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source: Arc::new(source) }
    }

    pub(crate) fn object(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Object { doing, detail: error.message().to_owned() }
    }
}

/// Why a branch does not stand where a push should have put it.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The branch did not stand at the expected value: somebody else moved it.
    #[error(
        "branch {branch:?} stands at {}, expected {}", shown(found.as_ref()), shown(expected.as_ref())
    )]
    Stale {
        /// The branch.
        branch: String,
        /// The value that the push was conditional on.
        expected: Option<Oid>,
        /// The value found right after; `None` if the branch is not there.
        found: Option<Oid>,
    },
    /// The remote refused the ref (a hook, a protection rule, a lock).
    #[error("the remote refused branch {branch:?}: {reason}")]
    Refused {
        /// The branch.
        branch: String,
        /// The remote's words.
        reason: String,
    },
    /// The push did not get as far as a judgement on the ref.
    #[error(transparent)]
    Git(#[from] GitError),
}

fn shown(oid: Option<&Oid>) -> String {
    oid.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
