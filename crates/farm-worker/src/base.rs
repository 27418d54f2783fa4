//! Step 2: the base tree, from the mirror, and the rules that hold for it.

use std::sync::Arc;

use farm_core::delta::FileMode;
use farm_core::id::Oid;
use farm_core::policy::Judge;
use farm_core::port::{Blobs, TreeFile};
use farm_core::reason::Reason;
use farm_core::service::Run;
use farm_git::error::GitError;
use farm_git::mirror::Mirror;
use farm_git::objects::Objects;
use farm_git::remote::Remote;

use crate::checks::find::Tree;
use crate::kit::{Kit, Trouble};

/// The largest file that is shown to a model, searched or patched, in bytes (C25 of the seeds).
const MAX_SOURCE_BYTES: u64 = 1024 * 1024;

/// What a task starts from.
#[derive(Clone)]
pub struct Base {
    /// The repository's mirror.
    pub mirror: Mirror,
    /// Its objects.
    pub objects: Objects,
    /// The pinned commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
    /// What may be read and written.
    pub judge: Arc<Judge>,
}

/// Fetches what is missing and reads the tree.
pub async fn fetch(kit: &Kit, run: &Run) -> Result<Base, Trouble> {
    let judge = run
        .repository
        .policy
        .judge(&run.task.scope)
        .map_err(|error| Trouble::new(Reason::TaskInvalid, error))?;
    judge.admits(run.task.risk).map_err(|denial| Trouble::new(denial.reason, denial))?;
    let mirror = mirror(kit, run).await?;
    mirror.ensure_commit(&run.base, Some(&run.repository.target)).await.map_err(git_trouble)?;
    let objects = mirror.objects();
    let commit = run.base.clone();
    let tree = {
        let (objects, commit) = (objects.clone(), commit.clone());
        blocking(move || objects.tree_of(&commit)).await?
    };
    Ok(Base { mirror, objects, commit, tree, judge: Arc::new(judge) })
}

/// The mirror of the run's repository.
pub async fn mirror(kit: &Kit, run: &Run) -> Result<Mirror, Trouble> {
    let credential = kit
        .credentials
        .find(run.repository.credential.as_deref())
        .map_err(|error| Trouble::new(Reason::GitUnavailable, error))?;
    let remote = Remote::new(&run.repository.url, credential).map_err(git_trouble)?;
    kit.mirrors.mirror(&remote).await.map_err(git_trouble)
}

/// Whose fault a failure of git is.
pub fn git_trouble(error: GitError) -> Trouble {
    let reason = match &error {
        GitError::BaseMissing { .. } => Reason::BaseMissing,
        GitError::BranchMissing { .. } => Reason::RepositoryEmpty,
        GitError::InvalidRemote { .. } | GitError::InvalidBranch { .. } => Reason::TaskInvalid,
        GitError::PathRefused { .. } => Reason::PathInvalid,
        GitError::PathConflict { .. } | GitError::PathMissing { .. } => Reason::PatchRefused,
        GitError::TooLarge { .. } => Reason::TooLarge,
        GitError::Auth { .. }
        | GitError::RepositoryMissing { .. }
        | GitError::Unreachable { .. }
        | GitError::Timeout { .. }
        | GitError::Command { .. }
        | GitError::Spawn { .. }
        | GitError::Io { .. }
        | GitError::Cancelled { .. } => Reason::GitUnavailable,
        GitError::Object { .. } => Reason::Internal,
    };
    Trouble::new(reason, error)
}

/// Runs git's local work beside the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(git_trouble),
        Err(error) => Err(Trouble::new(Reason::Internal, format!("git work ended early: {error}"))),
    }
}

/// The base tree, as searches and patches may see it: regular files that the policy lets be read.
pub struct Readable {
    objects: Objects,
    tree: Oid,
    judge: Arc<Judge>,
}

impl Base {
    /// A view for readers.
    pub fn readable(&self) -> Readable {
        Readable { objects: self.objects.clone(), tree: self.tree.clone(), judge: Arc::clone(&self.judge) }
    }
}

impl Tree for Readable {
    fn text(&self, path: &str) -> Option<String> {
        let file = farm_patch::Source::read(self, path)?;
        String::from_utf8(file.content).ok()
    }
}

impl farm_patch::Source for Readable {
    fn read(&self, path: &str) -> Option<farm_patch::File> {
        if !self.judge.may_read(path) {
            return None;
        }
        let blob = match self.objects.read(&self.tree, &path.into(), MAX_SOURCE_BYTES) {
            Ok(blob) => blob?,
            Err(error) => {
                tracing::warn!(%error, path, "a file of the base tree cannot be read");
                return None;
            }
        };
        let mode = match blob.mode {
            FileMode::Regular | FileMode::Executable if blob.content.is_none() => return None,
            mode => farm_patch::Mode::from_bits(mode.bits()),
        };
        Some(farm_patch::File { content: blob.content.unwrap_or_default(), mode })
    }
}

impl Blobs for Readable {
    fn files(&self) -> Vec<TreeFile> {
        let listed = self.objects.list(&self.tree).unwrap_or_else(|error| {
            tracing::warn!(%error, "the base tree cannot be listed; there is no context");
            Vec::new()
        });
        listed
            .into_iter()
            .filter(|file| matches!(file.mode, FileMode::Regular | FileMode::Executable))
            .filter_map(|file| {
                let path = file.path.as_str()?.to_owned();
                // The size is asked for only when a blob is read: here it would cost a look at every object.
                self.judge.may_read(&path).then_some(TreeFile { path, oid: file.oid, size: 0 })
            })
            .collect()
    }

    fn read(&self, oid: &Oid) -> Option<Vec<u8>> {
        self.objects.blob(oid, MAX_SOURCE_BYTES).ok().flatten()
    }
}
