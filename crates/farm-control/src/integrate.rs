//! One tree of a change's tasks: their deltas, merged three-way in memory onto the target, pushed as `agt/change-<id>`.

use farm_core::delta::RepoPath;
use farm_core::id::{Oid, TaskId};
use farm_core::service::Repository;
use farm_git::error::PushError;
use farm_git::mirror::Mirror;
use farm_git::objects::{CommitSpec, Merge, Objects, Trailers};
use farm_store::{ChangeView, Integration, TaskView};

use crate::control::{Control, ControlError, blocking};
use crate::phases::decode_result;

/// What came of putting a change together.
pub(crate) enum Integrated {
    /// It is pushed.
    Pushed(Integration),
    /// This task's patch does not go together with those before it.
    Collision {
        /// Which task.
        task: TaskId,
        /// Where.
        paths: Vec<RepoPath>,
    },
    /// No task changed anything.
    Nothing,
    /// The policy, asked once more over the tree that control reads itself, denies it.
    Denied(String),
}

/// A task's pushed commit.
struct Part {
    task: TaskId,
    base: Oid,
    commit: Oid,
}

impl Control {
    /// Integrates the successful patches of `tasks`, in the order of their acceptance.
    pub(crate) async fn integrate(
        &self,
        change: &ChangeView,
        tasks: &[TaskView],
    ) -> Result<Integrated, ControlError> {
        let mut parts: Vec<(u64, Part)> =
            tasks.iter().filter_map(|view| Some((view.seq, part(view)?))).collect();
        parts.sort_by_key(|(seq, _)| *seq);
        let Some((_, first)) = parts.first() else { return Ok(Integrated::Nothing) };
        let base = first.base.clone();
        let repository = self.repository(&change.repository).await?;
        let mirror = self.mirror(&repository).await?;
        for (_, part) in &parts {
            mirror.ensure_commit(&part.commit, Some(&part.task.branch())).await?;
            mirror.ensure_commit(&part.base, Some(&change.target)).await?;
        }
        let objects = mirror.objects();
        let parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        let merged = {
            let (objects, base) = (objects.clone(), base.clone());
            blocking(move || merge(&objects, &base, &parts)).await?
        };
        let tree = match merged {
            Ok(tree) => tree,
            Err((task, paths)) => return Ok(Integrated::Collision { task, paths }),
        };
        self.push_integrated(change, &repository, &mirror, &objects, base, tree).await
    }

    async fn push_integrated(
        &self,
        change: &ChangeView,
        repository: &Repository,
        mirror: &Mirror,
        objects: &Objects,
        base: Oid,
        tree: Oid,
    ) -> Result<Integrated, ControlError> {
        let delta = {
            let (objects, base, tree) = (objects.clone(), base.clone(), tree.clone());
            blocking(move || objects.delta(&objects.tree_of(&base)?, &tree)).await?
        };
        if delta.is_empty() {
            return Ok(Integrated::Nothing);
        }
        let judge = repository
            .policy
            .judge(&[])
            .map_err(|error| ControlError::Refused { what: "the policy", detail: error.to_string() })?;
        if let Some(denial) = judge.denials(&delta).first() {
            return Ok(Integrated::Denied(denial.to_string()));
        }
        let trailers = Trailers {
            task: None,
            change: Some(change.id.clone()),
            base: Some(base.clone()),
            attempt: change.round + 1,
            token: farm_core::id::Token(change.created_ms),
        };
        let spec = CommitSpec {
            tree: tree.clone(),
            parents: vec![base.clone()],
            message: trailers.message("change", &change.goal, change.id.as_str()),
            time_s: i64::try_from(change.created_ms / 1000).unwrap_or(i64::MAX),
        };
        let commit = {
            let objects = objects.clone();
            blocking(move || objects.commit(&spec)).await?
        };
        let branch = change.id.branch();
        let old = mirror.tip(&branch).await?;
        let integration = Integration {
            base,
            old: old.clone(),
            commit: commit.clone(),
            tree,
            delta_digest: delta.digest(),
        };
        self.store.intend_integration(&change.id, integration.clone(), self.now_ms()).await?;
        if old.as_ref() != Some(&commit) {
            mirror.push(&branch, old.as_ref(), &commit).await.map_err(|error| match error {
                PushError::Git(error) => ControlError::Git(error),
                error => ControlError::Refused { what: "the integrated branch", detail: error.to_string() },
            })?;
        }
        Ok(Integrated::Pushed(integration))
    }
}

fn part(view: &TaskView) -> Option<Part> {
    let commit = decode_result(view.result.as_deref()?)?.commit?;
    Some(Part { task: view.task.id.clone(), base: view.base.clone()?, commit })
}

type Collision = (TaskId, Vec<RepoPath>);

/// Each part's difference from its own base, applied on top of what is there; the first that does not fit is named.
fn merge(
    objects: &Objects,
    base: &Oid,
    parts: &[Part],
) -> Result<Result<Oid, Collision>, farm_git::error::GitError> {
    let mut tree = objects.tree_of(base)?;
    for part in parts {
        let (ancestor, theirs) = (objects.tree_of(&part.base)?, objects.tree_of(&part.commit)?);
        match objects.merge_trees(&ancestor, &tree, &theirs)? {
            Merge::Clean(merged) => tree = merged,
            Merge::Conflicts(paths) => return Ok(Err((part.task.clone(), paths))),
        }
    }
    Ok(Ok(tree))
}
