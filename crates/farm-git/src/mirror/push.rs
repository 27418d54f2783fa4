//! Moving branches of the remote, compare-and-swap.
//!
//! The old value is part of the request, and the remote's own report on each ref is what is believed. Commits are pushed
//! by id, so that no ref is written here and pushes of one mirror never wait for each other.

use std::ffi::OsString;

use farm_core::id::{BRANCH_PREFIX, Oid};

use crate::command::Output;
use crate::error::{GitError, PushError};
use crate::mirror::{Mirror, full_ref};

/// What a push found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The branch was moved.
    Moved,
    /// The branch stood there already.
    AlreadyThere,
}

/// One branch to move: from `old` to `new`, where `None` is no branch.
struct Move<'a> {
    branch: &'a str,
    name: String,
    old: Option<&'a Oid>,
    new: Option<&'a Oid>,
}

impl Mirror {
    /// Puts a branch of the farm (`agt/…`) to `new` if it stands at `old` (`None`: if it does not exist).
    pub async fn push(&self, branch: &str, old: Option<&Oid>, new: &Oid) -> Result<Pushed, PushError> {
        own_branch(branch)?;
        self.push_any(branch, old, new).await
    }

    /// Puts any branch to `new` if it stands at `old`: the merge into a target branch, and nothing else.
    pub async fn push_any(&self, branch: &str, old: Option<&Oid>, new: &Oid) -> Result<Pushed, PushError> {
        self.request(Move { branch, name: full_ref(branch)?, old, new: Some(new) }).await
    }

    /// Deletes a branch of the farm (`agt/…`) if it stands at `old`.
    pub async fn delete(&self, branch: &str, old: &Oid) -> Result<Pushed, PushError> {
        own_branch(branch)?;
        self.request(Move { branch, name: full_ref(branch)?, old: Some(old), new: None }).await
    }

    async fn request(&self, wanted: Move<'_>) -> Result<Pushed, PushError> {
        if let Some(new) = wanted.new
            && !self.has_commit(new).await?
        {
            let detail = "the mirror does not have it".to_owned();
            return Err(GitError::Object { doing: format!("push commit {new}"), detail }.into());
        }
        let lease = format!("--force-with-lease={}:{}", wanted.name, text(wanted.old));
        let options = ["--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", &lease, "--"];
        let mut args: Vec<OsString> = options.iter().map(Into::into).collect();
        args.extend([self.url().into(), format!("{}:{}", text(wanted.new), wanted.name).into()]);
        let limit = self.shared.git.settings.timeout;
        let output = self.shared.git.run(self.call("push", args, limit)).await?;
        match report(&output, &wanted.name) {
            Some(Report::Done) => Ok(Pushed::Moved),
            Some(Report::UpToDate) => Ok(Pushed::AlreadyThere),
            Some(Report::Rejected(reason)) => self.rejected(wanted, reason).await,
            None => Err(output.failure("push", self.url().to_owned()).into()),
        }
    }

    /// Tells a lost race from a refusal by looking where the branch stands.
    async fn rejected(&self, wanted: Move<'_>, reason: String) -> Result<Pushed, PushError> {
        let found = self.tip(wanted.branch).await?;
        if found.as_ref() == wanted.new {
            return Ok(Pushed::AlreadyThere);
        }
        let branch = wanted.branch.to_owned();
        if found.as_ref() == wanted.old {
            return Err(PushError::Refused { branch, reason });
        }
        Err(PushError::Stale { branch, expected: wanted.old.cloned(), found })
    }
}

/// What the remote said of one ref.
enum Report {
    Done,
    UpToDate,
    Rejected(String),
}

/// Finds a ref's line in `git push --porcelain`: flag, TAB, `from:to`, TAB, summary.
fn report(output: &Output, name: &str) -> Option<Report> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
        if refs.rsplit_once(':')?.1 != name {
            return None;
        }
        match flag {
            " " | "+" | "*" | "-" => Some(Report::Done),
            "=" => Some(Report::UpToDate),
            // The remote (or we) could not handle the pack: that says nothing about this ref.
            _ if summary.contains("unpacker error") || summary.contains("failed to report status") => None,
            _ => {
                let said = output.stderr.lines().filter(|line| line.starts_with("remote:"));
                let words: Vec<&str> = std::iter::once(summary).chain(said).map(str::trim).collect();
                let clean = words.join("; ").chars().filter(|c| !c.is_control()).take(600).collect();
                Some(Report::Rejected(clean))
            }
        }
    })
}

fn text(oid: Option<&Oid>) -> &str {
    oid.map_or("", Oid::as_str)
}

fn own_branch(branch: &str) -> Result<(), GitError> {
    if branch.starts_with(BRANCH_PREFIX) {
        return Ok(());
    }
    Err(GitError::InvalidBranch { branch: branch.to_owned(), why: "the farm writes only under agt/" })
}
