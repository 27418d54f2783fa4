//! Moving branches of the remote, compare-and-swap.
//!
//! The old value is part of the request, and the remote's own report on each ref is what is believed. Commits are pushed
//! by id, so that no ref is written here.
//!
//! A push that finds others under way waits a moment and goes with those that wait as well: most of what a push costs, on
//! both sides, is the same for one branch and for sixteen. Each branch is still judged by itself.

mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use farm_core::id::{BRANCH_PREFIX, Oid};
use tokio::sync::oneshot;

use crate::command::Output;
use crate::error::{GitError, PushError};
use crate::mirror::push::report::{Report, report};
use crate::mirror::{Mirror, Shared, full_ref};
use crate::objects::blocking;
use crate::remote::Remote;

/// The most git commands that push from one mirror at a time.
const MAX_RUNNING: usize = 4;
/// The most branches of one command.
const MAX_BATCH: usize = 16;

/// What a push found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The branch was moved.
    Moved,
    /// The branch stood there already.
    AlreadyThere,
}

/// The pushes that wait, and how many commands are running.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Pushes>);

#[derive(Debug, Default)]
struct Pushes {
    waiting: Vec<Waiting>,
    running: usize,
}

#[derive(Debug)]
struct Waiting {
    wanted: Move,
    remote: Arc<Remote>,
    answer: oneshot::Sender<Result<Pushed, PushError>>,
}

/// One branch to move: from `old` to `new`, where `None` is no branch.
#[derive(Debug)]
struct Move {
    branch: String,
    name: String,
    old: Option<Oid>,
    new: Option<Oid>,
}

impl Mirror {
    /// Puts a branch of the farm (`agt/…`) to `new` if it stands at `old` (`None`: if it does not exist).
    pub async fn push(&self, branch: &str, old: Option<&Oid>, new: &Oid) -> Result<Pushed, PushError> {
        own_branch(branch)?;
        self.push_any(branch, old, new).await
    }

    /// Puts any branch to `new` if it stands at `old`: the merge into a target branch, and nothing else.
    pub async fn push_any(&self, branch: &str, old: Option<&Oid>, new: &Oid) -> Result<Pushed, PushError> {
        let name = full_ref(branch)?;
        if !self.has_commit(new).await? {
            let detail = "the mirror does not have it".to_owned();
            return Err(GitError::Object { doing: format!("push commit {new}"), detail }.into());
        }
        self.request(Move { branch: branch.to_owned(), name, old: old.cloned(), new: Some(new.clone()) })
            .await
    }

    /// Deletes a branch of the farm (`agt/…`) if it stands at `old`.
    pub async fn delete(&self, branch: &str, old: &Oid) -> Result<Pushed, PushError> {
        own_branch(branch)?;
        let name = full_ref(branch)?;
        self.request(Move { branch: branch.to_owned(), name, old: Some(old.clone()), new: None }).await
    }

    async fn request(&self, wanted: Move) -> Result<Pushed, PushError> {
        let (answer, answered) = oneshot::channel();
        if self.shared.pushes.add(Waiting { wanted, remote: self.remote.clone(), answer }) {
            tokio::spawn(drain(self.shared.clone()));
        }
        let gone = |_| Err(GitError::Cancelled { detail: "the push was given up".into() }.into());
        answered.await.unwrap_or_else(gone)
    }

    /// Pushes a batch and answers each of it.
    async fn push_batch(&self, batch: Vec<Waiting>) {
        let alone = batch.len() == 1;
        let output = match self.push_once(batch.iter().map(|waiting| &waiting.wanted)).await {
            Ok(output) => output,
            Err(error) => return self.settle(batch, error).await,
        };
        let mut unheard = Vec::new();
        for waiting in batch {
            let answer = match report(&output, &waiting.wanted.name) {
                Some(Report::Done) => Ok(Pushed::Moved),
                Some(Report::UpToDate) => Ok(Pushed::AlreadyThere),
                Some(Report::Stale) => self.rejected(&waiting.wanted, "stale info".to_owned()).await,
                Some(Report::Rejected(reason)) if alone => self.rejected(&waiting.wanted, reason).await,
                Some(Report::Rejected(_)) | None => {
                    unheard.push(waiting);
                    continue;
                }
            };
            waiting.answer(answer);
        }
        let failure = output.failure("push", self.url().to_owned());
        if alone || !matches!(failure, GitError::Command { .. }) {
            return self.settle(unheard, failure).await;
        }
        // One of them may have spoiled it for all, as a pre-receive hook does.
        for waiting in unheard {
            Box::pin(self.push_batch(vec![waiting])).await;
        }
    }

    async fn push_once(&self, moves: impl Iterator<Item = &Move> + Clone) -> Result<Output, GitError> {
        let outgoing = Outgoing::new(&self.shared.dir);
        let commits: Vec<Oid> = moves.clone().filter_map(|wanted| wanted.new.clone()).collect();
        let (objects, upstream) = (self.objects(), self.shared.upstream.clone());
        let dest = outgoing.0.clone();
        blocking(move || objects.pack_outgoing(&upstream, &commits, &dest)).await?;

        let options = ["--porcelain", "--no-verify", "--no-signed", "--no-follow-tags"];
        let mut args: Vec<OsString> = options.iter().map(Into::into).collect();
        args.extend(moves.clone().map(|wanted| {
            format!("--force-with-lease={}:{}", wanted.name, text(wanted.old.as_ref())).into()
        }));
        args.extend(["--".into(), self.url().into()]);
        args.extend(moves.map(|wanted| format!("{}:{}", text(wanted.new.as_ref()), wanted.name).into()));
        let mut call = self.call("push", args, self.shared.git.settings.timeout);
        call.object_dir = Some(&outgoing.0);
        self.shared.git.run(call).await
    }

    /// Answers those of whom the remote said nothing. If the connection broke, the branch may have been moved all the
    /// same: one look tells.
    async fn settle(&self, batch: Vec<Waiting>, error: GitError) {
        let standing = if error.is_transient() && !batch.is_empty() {
            self.list_refs(batch.iter().map(|waiting| &waiting.wanted.name)).await.ok()
        } else {
            None
        };
        for waiting in batch {
            let stands = |refs: &Vec<(String, Oid)>| {
                let found = refs.iter().find(|(name, _)| *name == waiting.wanted.name).map(|(_, oid)| oid);
                found == waiting.wanted.new.as_ref()
            };
            let moved = standing.as_ref().is_some_and(stands);
            let answer = if moved { Ok(Pushed::Moved) } else { Err(error.clone().into()) };
            waiting.answer(answer);
        }
    }

    /// Tells a lost race from a refusal by looking where the branch stands.
    async fn rejected(&self, wanted: &Move, reason: String) -> Result<Pushed, PushError> {
        let found = self.tip(&wanted.branch).await?;
        if found == wanted.new {
            return Ok(Pushed::AlreadyThere);
        }
        let branch = wanted.branch.clone();
        if found == wanted.old {
            return Err(PushError::Refused { branch, reason });
        }
        Err(PushError::Stale { branch, expected: wanted.old.clone(), found })
    }
}

impl Queue {
    /// Adds one; whether the caller must start to [`drain`].
    fn add(&self, waiting: Waiting) -> bool {
        let mut pushes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pushes.waiting.push(waiting);
        let start = pushes.running < MAX_RUNNING;
        if start {
            pushes.running += 1;
        }
        start
    }

    /// Those that go together: one remote and credential, each branch once. `None` ends the caller's [`drain`].
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut pushes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch: Vec<Waiting> = Vec::new();
        for waiting in std::mem::take(&mut pushes.waiting) {
            let fits = batch.len() < MAX_BATCH
                && batch.first().is_none_or(|first| first.remote == waiting.remote)
                && batch.iter().all(|other| other.wanted.name != waiting.wanted.name);
            if fits { batch.push(waiting) } else { pushes.waiting.push(waiting) }
        }
        if batch.is_empty() {
            pushes.running -= 1;
            return None;
        }
        Some(batch)
    }
}

impl Waiting {
    fn answer(self, answer: Result<Pushed, PushError>) {
        // The caller may have gone away; the branch stands where it stands.
        let _ = self.answer.send(answer);
    }
}

async fn drain(shared: Arc<Shared>) {
    while let Some(batch) = shared.pushes.next() {
        if let Some(remote) = batch.first().map(|waiting| waiting.remote.clone()) {
            Mirror { shared: shared.clone(), remote }.push_batch(batch).await;
        }
    }
}

/// A directory for the objects of one push, removed with it.
struct Outgoing(PathBuf);

impl Outgoing {
    fn new(mirror: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(outgoing_dir(mirror).join(format!("{}-{unique}", std::process::id())))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %source, "could not remove the objects of a push");
            }
            _ => {}
        }
    }
}

/// Where the objects of pushes are put.
pub(super) fn outgoing_dir(mirror: &Path) -> PathBuf {
    mirror.join("outgoing")
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
