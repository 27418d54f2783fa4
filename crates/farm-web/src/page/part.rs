//! What several pages show.

use farm_core::result::Status;
use farm_core::state::{ChangeState, TaskState};

use crate::html::{Html, Length, Moment, put};
use crate::view::{ChangeSummary, ReasonText, TaskSummary};

/// A word with a sign of its own, so that no colour is needed to tell it.
pub(super) struct Badge {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
}

impl Badge {
    pub(super) fn of_task(state: TaskState, status: Option<Status>) -> Self {
        let (class, sign, word) = match (state, status) {
            (_, Some(Status::Success)) => ("good", "✓", Status::Success.as_str()),
            (_, Some(Status::SoftFail)) => ("soft", "◐", Status::SoftFail.as_str()),
            (_, Some(Status::HardFail)) => ("bad", "✗", Status::HardFail.as_str()),
            (TaskState::Queued, None) => ("calm", "○", TaskState::Queued.name()),
            (TaskState::Running, None) => ("busy", "▶", TaskState::Running.name()),
            (TaskState::Done, None) => ("calm", "●", TaskState::Done.name()),
        };
        Self { class, sign, word }
    }

    pub(super) fn of_change(state: ChangeState) -> Self {
        let (class, sign) = match state {
            ChangeState::Done => ("good", "✓"),
            ChangeState::Failed => ("bad", "✗"),
            ChangeState::Cancelled | ChangeState::RolledBack => ("soft", "◐"),
            ChangeState::Approval => ("soft", "?"),
            ChangeState::Plan
            | ChangeState::CodePhase
            | ChangeState::Build1
            | ChangeState::Merge
            | ChangeState::Verify => ("busy", "▶"),
        };
        Self { class, sign, word: state.name() }
    }

    pub(super) fn new(class: &'static str, sign: &'static str, word: &'static str) -> Self {
        Self { class, sign, word }
    }

    pub(super) fn put(&self, out: &mut Html) {
        put!(out; r#"<span class="badge "# (self.class) r#""><span aria-hidden="true">"# (self.sign) "</span> "
            (self.word) "</span>");
    }
}

pub(super) fn time(out: &mut Html, ms: u64) {
    put!(out; "<time>" (Moment(ms)) "</time>");
}

/// A reason in words, with what to do.
pub(super) fn reason(out: &mut Html, reason: &ReasonText) {
    put!(out; "<code>" (reason.code) "</code>: " (reason.text));
    if !reason.hint.is_empty() {
        put!(out; " <span class=\"hint\">(" (reason.hint) ")</span>");
    }
}

pub(super) fn change_table(out: &mut Html, changes: &[ChangeSummary]) {
    if changes.is_empty() {
        out.raw("<p>None.</p>");
        return;
    }
    out.raw(
        r#"<div class="wide" tabindex="0" role="region" aria-label="Changes"><table><thead><tr><th>Change<th>State<th>Goal<th>Repository<th>Accepted (UTC)</thead><tbody>"#,
    );
    for change in changes {
        put!(out; r#"<tr><td><a href="/changes/"# (change.id) r#"">"# (change.id) "</a><td>");
        Badge::of_change(change.state).put(out);
        put!(out; r#"<td class="goal">"# (change.goal) "<td>" (change.repository) "<td>");
        time(out, change.created_ms);
    }
    out.raw("</tbody></table></div>");
}

pub(super) fn task_table(out: &mut Html, tasks: &[TaskSummary]) {
    if tasks.is_empty() {
        out.raw("<p>None.</p>");
        return;
    }
    out.raw(
        r#"<div class="wide" tabindex="0" role="region" aria-label="Tasks"><table><thead><tr><th>Task<th>Result<th>Goal<th>What happened<th>Attempts<th>Worker<th>Time<th>Branch</thead><tbody>"#,
    );
    for task in tasks {
        put!(out; r#"<tr><td><a href="/tasks/"# (task.id) r#"">"# (task.id) "</a><td>");
        Badge::of_task(task.state, task.status).put(out);
        put!(out; r#"<td class="goal">"# (task.goal) "<td>");
        match (&task.reason, &task.replaced_by) {
            (_, Some(by)) => {
                put!(out; r#"retried as <a href="/tasks/"# (by) r#"">"# (by) "</a>");
            }
            (Some(reason), None) if task.status != Some(Status::Success) => {
                put!(out; "<code>" (reason.code) "</code>");
            }
            _ => out.text(task.step.as_deref().unwrap_or_default()),
        }
        out.raw("<td>");
        if let Some(attempts) = task.attempts {
            out.text(attempts);
        }
        put!(out; "<td>" (task.worker) "<td>");
        if let (Some(begun), Some(done)) = (task.first_begin_ms, task.done_ms) {
            out.text(Length(done.saturating_sub(begun)));
        }
        out.raw("<td>");
        if let Some(branch) = &task.branch {
            put!(out; "<code>" (branch) "</code>");
        }
    }
    out.raw("</tbody></table></div>");
}

/// A button that the script shows and serves: it asks, then posts.
pub(super) fn action(out: &mut Html, path: &[&str], label: &'static str, question: &'static str) {
    out.raw(r#"<button type="button" hidden data-post="/api/v1"#);
    for part in path {
        put!(out; "/" (part));
    }
    put!(out; r#"" data-ask=""# (question) r#"">"# (label) "</button> ");
}

/// A list of notes; nothing if there is none.
pub(super) fn notes(out: &mut Html, title: &'static str, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    put!(out; "<h2>" (title) "</h2><ul>");
    for note in notes {
        put!(out; r#"<li class="note">"# (note));
    }
    out.raw("</ul>");
}

/// A row of a definition list.
pub(super) fn fact(out: &mut Html, name: &'static str, value: impl std::fmt::Display) {
    put!(out; "<div><dt>" (name) "</dt><dd>" (value) "</dd></div>");
}
