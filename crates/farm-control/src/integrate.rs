//! One tree of a change's tasks: their deltas, merged three-way in memory onto the target, pushed as `agt/change-<id>`.

use std::collections::HashMap;

use farm_core::delta::RepoPath;
use farm_core::id::{Oid, TaskId, Token};
use farm_git::error::{GitError, PushError};
use farm_git::objects::{CommitSpec, Merge, Objects, Trailers, blocking};
use farm_store::{ChangeView, Integration, TaskView};

use crate::control::{Control, ControlError};
use crate::phases::decode_result;

/// What came of putting a change together.
pub(crate) enum Integrated {
    /// It is pushed.
    Pushed(Integration),
    /// A patch does not go together with those before it.
    Collision(Collision),
    /// No task changed anything.
    Nothing,
    /// The policy, asked once more over the tree that control reads itself, denies it.
    Denied(String),
}

/// A patch that does not go together with those before it.
pub(crate) struct Collision {
    /// Whose patch.
    pub(crate) task: TaskId,
    /// Where.
    pub(crate) paths: Vec<RepoPath>,
    /// The tasks before it that changed these paths; none if only the target branch did.
    pub(crate) with: Vec<TaskId>,
    /// What the change starts from.
    pub(crate) base: Oid,
    /// The tree of those before it, put together.
    pub(crate) tree: Oid,
}

/// A task's pushed commit.
struct Part {
    task: TaskId,
    base: Oid,
    commit: Oid,
}

impl Control {
    /// Integrates the successful patches of `tasks`, which are all tasks of the change, those replaced as well.
    pub(crate) async fn integrate(
        &self,
        change: &ChangeView,
        tasks: &[TaskView],
    ) -> Result<Integrated, ControlError> {
        let parts = parts(tasks);
        let Some(first) = parts.first() else { return Ok(Integrated::Nothing) };
        let base = first.base.clone();
        let mirror = self.mirror(&self.repository(&change.repository).await?).await?;
        for part in &parts {
            mirror.ensure_commit(&part.commit, Some(&part.task.branch())).await?;
            mirror.ensure_commit(&part.base, Some(&change.target)).await?;
        }
        let (objects, start) = (mirror.objects(), base.clone());
        let merged = blocking(move || {
            let merged = merge(&objects, &start, &parts)?;
            Ok(match merged {
                Ok(tree) if tree == objects.tree_of(&start)? => Ok(None),
                merged => merged.map(Some),
            })
        });
        Ok(match merged.await? {
            Err(collision) => Integrated::Collision(collision),
            Ok(None) => Integrated::Nothing,
            Ok(Some(tree)) => match self.push_integrated(change, base, tree).await? {
                Ok(integration) => Integrated::Pushed(integration),
                Err(denial) => Integrated::Denied(denial),
            },
        })
    }

    /// Commits a tree on `base` and moves `agt/change-<id>` there, unless the policy denies it.
    pub(crate) async fn push_integrated(
        &self,
        change: &ChangeView,
        base: Oid,
        tree: Oid,
    ) -> Result<Result<Integration, String>, ControlError> {
        let repository = self.repository(&change.repository).await?;
        let mirror = self.mirror(&repository).await?;
        let objects = mirror.objects();
        let delta = {
            let (objects, base, tree) = (objects.clone(), base.clone(), tree.clone());
            blocking(move || objects.delta(&objects.tree_of(&base)?, &tree)).await?
        };
        let judge = repository
            .policy
            .judge(&[])
            .map_err(|error| ControlError::Refused { what: "the policy", detail: error.to_string() })?;
        if let Some(denial) = judge.denials(&delta).first() {
            return Ok(Err(denial.to_string()));
        }
        let spec = commit_spec(change, &base, &tree);
        let commit = blocking(move || objects.commit(&spec)).await?;
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
        Ok(Ok(integration))
    }
}

/// The same change, round and tree make the same commit, so that doing it twice does no harm.
fn commit_spec(change: &ChangeView, base: &Oid, tree: &Oid) -> CommitSpec {
    let trailers = Trailers {
        task: None,
        change: Some(change.id.clone()),
        base: Some(base.clone()),
        attempt: change.round + 1,
        token: Token(change.created_ms),
    };
    CommitSpec {
        tree: tree.clone(),
        parents: vec![base.clone()],
        message: trailers.message("change", &change.goal, change.id.as_str()),
        time_s: i64::try_from(change.created_ms / 1000).unwrap_or(i64::MAX),
    }
}

/// The patches that count, in the order of their acceptance. What was made anew stands where the first one stood, since
/// tasks after that may build on it.
fn parts(tasks: &[TaskView]) -> Vec<Part> {
    let mut tasks: Vec<&TaskView> = tasks.iter().collect();
    tasks.sort_by_key(|view| view.seq);
    let mut places: HashMap<&TaskId, u64> = HashMap::new();
    let mut parts = Vec::new();
    for view in tasks {
        let place = places.get(&view.task.id).copied().unwrap_or(view.seq);
        match &view.replaced_by {
            Some(by) => {
                places.insert(by, place);
            }
            None => parts.extend(part(view).map(|part| (place, part))),
        }
    }
    parts.sort_by_key(|(place, _)| *place);
    parts.into_iter().map(|(_, part)| part).collect()
}

fn part(view: &TaskView) -> Option<Part> {
    let commit = decode_result(view.result.as_deref()?)?.commit?;
    Some(Part { task: view.task.id.clone(), base: view.base.clone()?, commit })
}

/// Each part's difference from its own base, applied on top of what is there; the first that does not fit is named.
fn merge(objects: &Objects, base: &Oid, parts: &[Part]) -> Result<Result<Oid, Collision>, GitError> {
    let mut tree = objects.tree_of(base)?;
    for (index, part) in parts.iter().enumerate() {
        let (ancestor, theirs) = (objects.tree_of(&part.base)?, objects.tree_of(&part.commit)?);
        match objects.merge_trees(&ancestor, &tree, &theirs)? {
            Merge::Clean(merged) => tree = merged,
            Merge::Conflicts(paths) => {
                let with = touching(objects, parts.get(..index).unwrap_or_default(), &paths)?;
                let (task, base) = (part.task.clone(), base.clone());
                return Ok(Err(Collision { task, paths, with, base, tree }));
            }
        }
    }
    Ok(Ok(tree))
}

/// The tasks whose patches change one of these paths.
fn touching(objects: &Objects, parts: &[Part], paths: &[RepoPath]) -> Result<Vec<TaskId>, GitError> {
    let mut tasks = Vec::new();
    for part in parts {
        let delta = objects.delta(&objects.tree_of(&part.base)?, &objects.tree_of(&part.commit)?)?;
        if delta.changes.iter().any(|change| paths.contains(&change.path)) {
            tasks.push(part.task.clone());
        }
    }
    Ok(tasks)
}
