//! Fetching what is missing, once, whoever asks for it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use farm_core::delta::sha256;
use farm_core::id::{BRANCH_PREFIX, Oid};

use crate::command::{Output, remove_if_there};
use crate::error::GitError;
use crate::lock::{Kind, lock};
use crate::mirror::{Mirror, full_ref};
use crate::objects::blocking;

/// The last fetch of each branch: when it began and what it found. A caller that asked before it began may share it.
pub(super) type Fetched = HashMap<String, (Instant, Oid)>;

impl Mirror {
    /// Fetches a branch and returns where it stands.
    pub async fn ensure_branch(&self, branch: &str) -> Result<Oid, GitError> {
        full_ref(branch)?;
        let asked = Instant::now();
        let mut fetched = self.shared.fetches.lock().await;
        if let Some((began, oid)) = fetched.get(branch)
            && *began >= asked
        {
            return Ok(oid.clone());
        }
        let _lock = lock(&self.shared.dir.join("farm-fetch.lock"), Kind::Exclusive).await?;
        let began = Instant::now();
        let oid = self.fetch_branch(branch).await?;
        fetched.insert(branch.to_owned(), (began, oid.clone()));
        Ok(oid)
    }

    /// Makes sure that a commit, with all that it holds, is here: first by fetching the branch where it is thought to be,
    /// then by asking for the commit itself.
    pub async fn ensure_commit(&self, commit: &Oid, hint_branch: Option<&str>) -> Result<(), GitError> {
        if let Some(branch) = hint_branch {
            full_ref(branch)?;
        }
        if self.has_commit(commit).await? {
            return Ok(());
        }
        let mut fetched = self.shared.fetches.lock().await;
        if self.has_commit(commit).await? {
            return Ok(());
        }
        let _lock = lock(&self.shared.dir.join("farm-fetch.lock"), Kind::Exclusive).await?;
        if self.has_commit(commit).await? {
            return Ok(());
        }
        if let Some(branch) = hint_branch {
            let began = Instant::now();
            match self.fetch_branch(branch).await {
                Ok(tip) => {
                    fetched.insert(branch.to_owned(), (began, tip));
                }
                Err(GitError::BranchMissing { .. }) => {}
                Err(error) => return Err(error),
            }
            if self.has_commit(commit).await? {
                return Ok(());
            }
        }
        self.fetch_commit(commit).await?;
        if self.has_commit(commit).await? { Ok(()) } else { Err(self.base_missing(commit)) }
    }

    pub(super) async fn has_commit(&self, commit: &Oid) -> Result<bool, GitError> {
        let (objects, commit) = (self.objects(), commit.clone());
        blocking(move || objects.has_commit(&commit)).await
    }

    /// Fetches a branch. The farm's own branches, of which there are many, go to the inner store and leave no ref; another
    /// branch's ref tells the next fetch what we have. Its name is a hash, so that `a` and `a/b`, or `a` and `A`, may
    /// follow each other.
    async fn fetch_branch(&self, branch: &str) -> Result<Oid, GitError> {
        let source = full_ref(branch)?;
        if branch.starts_with(BRANCH_PREFIX) {
            let missing =
                || GitError::BranchMissing { url: self.url().to_owned(), branch: branch.to_owned() };
            let tip = self.tip(branch).await?.ok_or_else(missing)?;
            if !self.has_commit(&tip).await? {
                self.fetch(self.shared.objects.dir(), &source, branch).await?;
            }
            return Ok(tip);
        }
        let local = format!("refs/farm/{}", &sha256(branch.as_bytes())[..32]);
        // Left by a fetch that was killed; ours is the only one now, by the caller's lock.
        remove_if_there(&self.shared.dir.join(format!("{local}.lock")))?;
        self.fetch(&self.shared.dir, &format!("+{source}:{local}"), branch).await?;
        let upstream = self.shared.upstream.clone();
        blocking(move || upstream.resolve(&local)).await
    }

    async fn fetch(&self, store: &Path, refspec: &str, branch: &str) -> Result<(), GitError> {
        let output = self.run_fetch(store, refspec).await?;
        if output.success {
            return Ok(());
        }
        if output.stderr.contains("couldn't find remote ref") {
            return Err(GitError::BranchMissing { url: self.url().to_owned(), branch: branch.to_owned() });
        }
        Err(output.failure("fetch", self.url().to_owned()))
    }

    async fn fetch_commit(&self, commit: &Oid) -> Result<(), GitError> {
        let output = self.run_fetch(self.shared.objects.dir(), commit.as_str()).await?;
        let unknown = ["not our ref", "unadvertised object", "couldn't find remote ref", "bad object"];
        if output.success {
            Ok(())
        } else if unknown.iter().any(|words| output.stderr.contains(words)) {
            Err(self.base_missing(commit))
        } else {
            Err(output.failure("fetch", self.url().to_owned()))
        }
    }

    async fn run_fetch(&self, store: &Path, refspec: &str) -> Result<Output, GitError> {
        let options =
            ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--refmap=", "--"];
        let mut args: Vec<OsString> = options.iter().map(Into::into).collect();
        args.extend([self.url().into(), refspec.into()]);
        let limit = self.shared.git.settings.fetch_timeout;
        let mut call = self.call("fetch", args, limit);
        call.git_dir = store;
        self.shared.git.run(call).await
    }

    fn base_missing(&self, commit: &Oid) -> GitError {
        GitError::BaseMissing { url: self.url().to_owned(), oid: commit.clone() }
    }
}
