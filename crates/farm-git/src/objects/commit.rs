//! Commits of the farm: a fixed identity, a given time, trailers that name where they come from.

use farm_core::id::{ChangeId, Oid, TaskId, Token};
use git2::{Signature, Time};

use crate::error::GitError;
use crate::objects::{Objects, id, oid};

/// Author and committer of every commit of the farm.
const NAME: &str = "Patchfarm";
const EMAIL: &str = "patchfarm@users.noreply.invalid";
/// The longest subject line, in characters.
const MAX_SUBJECT: usize = 72;

/// A commit to be; the same input gives the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSpec {
    /// What it holds.
    pub tree: Oid,
    /// What it follows; empty for the first of a repository.
    pub parents: Vec<Oid>,
    /// See [`Trailers::message`].
    pub message: String,
    /// Unix time in seconds, for author and committer.
    pub time_s: i64,
}

/// Where a commit of the farm comes from: enough to rebuild a lost store's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailers {
    /// The task; `None` for the integrated commit of a change.
    pub task: Option<TaskId>,
    /// The change, if there is one.
    pub change: Option<ChangeId>,
    /// The pinned base; `None` in an empty repository.
    pub base: Option<Oid>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The fencing token of the run.
    pub token: Token,
}

impl Trailers {
    /// The whole message: `<kind>: <goal>` in at most 72 characters, `[agent:<id>]`, and the trailers.
    pub fn message(&self, kind: &str, goal: &str, agent: &str) -> String {
        let mut message = format!("{}\n\n[agent:{}]\n\n", subject(kind, goal), one_line(agent));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                message.push_str(&format!("{key}: {value}\n"));
            }
        };
        add("Task-Id", self.task.as_ref().map(ToString::to_string));
        add("Change-Id", self.change.as_ref().map(ToString::to_string));
        add("Base", self.base.as_ref().map(ToString::to_string));
        add("Attempt", Some(self.attempt.to_string()));
        add("Token", Some(self.token.to_string()));
        message
    }

    /// Reads them back from the last paragraph; `None` if it is not one of ours.
    pub fn parse(message: &str) -> Option<Self> {
        let (_, last) = message.trim_end().rsplit_once("\n\n")?;
        let value = |key: &str| {
            last.lines().find_map(|line| line.split_once(": ").filter(|(k, _)| *k == key)).map(|(_, v)| v)
        };
        Some(Self {
            task: value("Task-Id").map(str::parse).transpose().ok()?,
            change: value("Change-Id").map(str::parse).transpose().ok()?,
            base: value("Base").map(str::parse).transpose().ok()?,
            attempt: value("Attempt")?.parse().ok()?,
            token: Token(value("Token")?.parse().ok()?),
        })
    }
}

impl Objects {
    /// Writes a commit and returns its id.
    pub fn commit(&self, spec: &CommitSpec) -> Result<Oid, GitError> {
        self.with(|repo| {
            let writing = || GitError::object("write a commit");
            let tree = repo.find_tree(id(&spec.tree)?).map_err(writing())?;
            let parents = spec
                .parents
                .iter()
                .map(|parent| repo.find_commit(id(parent)?).map_err(writing()))
                .collect::<Result<Vec<_>, _>>()?;
            let who = Signature::new(NAME, EMAIL, &Time::new(spec.time_s, 0)).map_err(writing())?;
            let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
            oid(repo.commit(None, &who, &who, &spec.message, &tree, &parents).map_err(writing())?)
        })
    }

    /// The trailers of a commit; `None` if the farm did not make it.
    pub fn trailers(&self, commit: &Oid) -> Result<Option<Trailers>, GitError> {
        self.with(|repo| {
            let found =
                repo.find_commit(id(commit)?).map_err(GitError::object(format!("read commit {commit}")))?;
            Ok(std::str::from_utf8(found.message_bytes()).ok().and_then(Trailers::parse))
        })
    }
}

fn subject(kind: &str, goal: &str) -> String {
    let line = one_line(&format!("{kind}: {goal}"));
    if line.chars().count() <= MAX_SUBJECT {
        return line;
    }
    let cut: String = line.chars().take(MAX_SUBJECT - 1).collect();
    format!("{}…", cut.trim_end())
}

/// One line of text: white space and controls become single spaces, marks that reorder text vanish (CVE-2021-42574).
fn one_line(text: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let spaced: String =
        text.chars().filter(|c| !reorders(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers() -> Trailers {
        Trailers {
            task: Some("fix-1".parse().unwrap()),
            change: None,
            base: Some("1".repeat(40).parse().unwrap()),
            attempt: 2,
            token: Token(7),
        }
    }

    #[test]
    fn a_message_reads_back() {
        let message = trailers().message("modify", "make it faster", "w1");
        assert_eq!(
            message,
            format!(
                "modify: make it faster\n\n[agent:w1]\n\nTask-Id: fix-1\nBase: {}\nAttempt: 2\nToken: 7\n",
                "1".repeat(40)
            )
        );
        assert_eq!(Trailers::parse(&message), Some(trailers()));
    }

    #[test]
    fn a_goal_cannot_forge_trailers_or_exceed_the_line() {
        let goal = format!("x\n\nTask-Id: other\nAttempt: 1\nToken: 9\x1b[2J\u{202e} {}", "é".repeat(300));
        let message = trailers().message("modify", &goal, "w\n\n1");
        assert_eq!(Trailers::parse(&message), Some(trailers()));
        let first = message.lines().next().unwrap();
        assert_eq!(first.chars().count(), 72);
        assert!(first.chars().all(|c| !c.is_control()));
    }

    #[test]
    fn messages_of_others_have_no_trailers() {
        for message in
            ["", "fix", "fix\n\nSigned-off-by: A", "fix\n\nAttempt: 1\nToken: x", "Attempt: 1\nToken: 1"]
        {
            assert_eq!(Trailers::parse(message), None, "{message:?}");
        }
    }
}
