//! Another round: one more task mends what did not go together, or did not pass the checks, a bounded number of times.

use farm_core::id::{Oid, TaskId};
use farm_core::reason::Reason;
use farm_core::result::{CheckReport, CommitResult};
use farm_core::state::ChangeState;
use farm_core::task::{CodingTask, Risk};
use farm_store::{ChangeView, TaskView};

use crate::control::{Control, ControlError};
use crate::intake::task_id;
use crate::integrate::Collision;
use crate::phases::leave;

/// What is told of one check's output, from its end: there most programs sum up.
const MAX_OUTPUT_BYTES: usize = 4_000;
/// How many failed checks, and how many notes of a build, are told.
const MAX_TOLD: usize = 8;
/// How many paths, tasks or failures are named in one note.
const MAX_NAMED: usize = 20;

impl Control {
    /// Sends a change back for a patch that does not go together with those before it: its task is done anew on top of
    /// these. With no round left the change fails.
    pub(crate) async fn mend_collision(
        &self,
        change: &ChangeView,
        tasks: &[TaskView],
        collision: Collision,
    ) -> Result<(), ControlError> {
        let note = told(&collision);
        let refused = Some(Reason::PatchRefused);
        let failed = tasks.iter().find(|view| view.task.id == collision.task);
        let Some(failed) = failed.filter(|_| self.has_round_left(change)) else {
            return leave(self, change, ChangeState::Failed, refused, vec![note]).await;
        };
        let base = match self.push_integrated(change, collision.base, collision.tree).await? {
            Ok(integration) => integration.commit,
            Err(denial) => {
                let denied = Some(Reason::PathForbidden);
                return leave(self, change, ChangeState::Failed, denied, vec![note, denial]).await;
            }
        };
        let mut notes = failed.task.notes.clone();
        notes.push(format!("an earlier patch for this goal was thrown away: {note}"));
        notes.push("what those made is in the files as you see them: make your change fit to it".to_owned());
        let repair = CodingTask {
            id: task_id(&change.id, &repair_suffix(change))?,
            base: Some(base),
            after: Vec::new(),
            reserved_lease_ids: Vec::new(),
            notes,
            ..failed.task.clone()
        };
        self.send_back(change, Some(&failed.task), &repair, note).await
    }

    /// Sends a change back for a build whose checks failed: one more task makes them pass, on top of all the others.
    pub(crate) async fn mend_build(
        &self,
        change: &ChangeView,
        tasks: &[TaskView],
        built: &Oid,
        result: &CommitResult,
    ) -> Result<(), ControlError> {
        let code = result.reason.code();
        let mut notes = vec![format!("the change as far as it is made ended its checks with {code}")];
        notes.extend(result.notes.iter().take(MAX_TOLD).map(|note| end_of(note).to_owned()));
        let failed = result.checks.iter().filter(|check| !check.verdict.is_good());
        notes.extend(failed.take(MAX_TOLD).map(report));
        let repair = CodingTask {
            repository: Some(change.repository.clone()),
            base: Some(built.clone()),
            change: Some(change.id.clone()),
            source: "control".to_owned(),
            risk: tasks.iter().map(|view| view.task.risk).fold(change.risk, Risk::max),
            priority: change.priority,
            scope: scope(tasks),
            notes,
            ..CodingTask::new(
                task_id(&change.id, &repair_suffix(change))?,
                format!("make the checks of this change pass: {}", change.goal),
            )
        };
        let note = format!("{} of {built} ended with {code}", ChangeState::Build1.name());
        self.send_back(change, None, &repair, note).await
    }

    pub(crate) fn has_round_left(&self, change: &ChangeView) -> bool {
        change.round < self.settings.max_rounds
    }

    async fn send_back(
        &self,
        change: &ChangeView,
        replaced: Option<&CodingTask>,
        repair: &CodingTask,
        note: String,
    ) -> Result<(), ControlError> {
        let new = match self.own_task(repair).await {
            Ok(_) if self.store.task(&repair.id).await?.is_some() => Err(taken(&repair.id)),
            Ok(new) => Ok(new),
            // Too large with its notes: trying again would not make it smaller.
            Err(ControlError::Refused { detail, .. }) => Err(detail),
            Err(error) => return Err(error),
        };
        let new = match new {
            Ok(new) => new,
            Err(detail) => {
                let invalid = Some(Reason::TaskInvalid);
                return leave(self, change, ChangeState::Failed, invalid, vec![note, detail]).await;
            }
        };
        let note = format!("{note}; {} mends it", repair.id);
        tracing::info!(change = %change.id, repair = %repair.id, note, "change sent back");
        let replaced = replaced.map(|task| &task.id);
        Ok(self.store.send_back(&change.id, replaced, new, note, self.now_ms()).await?)
    }
}

/// Why control cannot go on with a change that brought a task of this id itself.
pub(crate) fn taken(id: &TaskId) -> String {
    format!("task id {id} is taken, which the farm needs for a task of its own: ask again with another id")
}

/// The task of the round to come: one a round, so that deciding twice is known as such.
fn repair_suffix(change: &ChangeView) -> String {
    format!("r{}", change.round + 1)
}

/// What all tasks together may write; no limit if one of them has none (I5).
fn scope(tasks: &[TaskView]) -> Vec<String> {
    if tasks.iter().any(|view| view.task.scope.is_empty()) {
        return Vec::new();
    }
    let mut globs: Vec<String> = tasks.iter().flat_map(|view| view.task.scope.iter().cloned()).collect();
    globs.sort();
    globs.dedup();
    globs
}

fn told(collision: &Collision) -> String {
    let with = match named(&collision.with) {
        none if none.is_empty() => "the target branch".to_owned(),
        tasks => tasks,
    };
    format!("{} collides with {with} in {}", collision.task, named(&collision.paths))
}

fn report(check: &CheckReport) -> String {
    let mut text = format!("check {}: {}", check.name, check.verdict.name());
    if !check.new_failures.is_empty() {
        text.push_str(&format!("; failing: {}", end_of(&named(&check.new_failures))));
    }
    text.push('\n');
    text.push_str(end_of(&check.output));
    text
}

fn named<T: ToString>(list: &[T]) -> String {
    let mut names: Vec<String> = list.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if list.len() > MAX_NAMED {
        names.push(format!("{} more", list.len() - MAX_NAMED));
    }
    names.join(", ")
}

/// The last [`MAX_OUTPUT_BYTES`] of a text, or a little less: no character is cut.
fn end_of(text: &str) -> &str {
    let from =
        (text.len().saturating_sub(MAX_OUTPUT_BYTES)..=text.len()).find(|at| text.is_char_boundary(*at));
    from.and_then(|from| text.get(from..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_its_end_is_told_and_no_character_is_cut() {
        assert_eq!(end_of("short"), "short");
        assert_eq!(end_of(""), "");
        let long = "ä".repeat(MAX_OUTPUT_BYTES) + "x";
        let end = end_of(&long);
        assert!(end.ends_with("äx") && (MAX_OUTPUT_BYTES - 1..=MAX_OUTPUT_BYTES).contains(&end.len()));
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<u32> = (0..25).collect();
        assert!(named(&many).ends_with("18, 19, 5 more"), "{}", named(&many));
        assert_eq!(named(&["a", "b"]), "a, b");
    }
}
