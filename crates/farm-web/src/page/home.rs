//! The first page: the farm, its changes, its tasks.

use axum::extract::State;
use axum::response::Html as Answer;
use farm_core::id::RepoName;
use farm_core::state::TaskState;
use farm_store::{ChangeFilter, Page, TaskFilter};
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::extract::Args;
use crate::api::{farm_status, next_before};
use crate::html::{Html, put};
use crate::page::{Failure, page, part};
use crate::server::App;
use crate::view::{ChangeSummary, FarmStatus, TaskSummary};

/// Rows of each table.
const CHANGES: u32 = 20;
const TASKS: u32 = 50;

/// What the address may ask for.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Wanted {
    state: Option<TaskState>,
    repository: Option<RepoName>,
    changes_before: Option<u64>,
    tasks_before: Option<u64>,
}

pub(super) async fn show(
    State(app): State<App>,
    wanted: Result<Args<Wanted>, ApiError>,
) -> Result<Answer<String>, Failure> {
    let Args(wanted) = wanted?;
    let store = &app.control.store;
    let status = farm_status(&app.control).await?;
    let filter = ChangeFilter { state: None, repository: wanted.repository.clone() };
    let changes = store.changes(&filter, Page { before_seq: wanted.changes_before, limit: CHANGES }).await?;
    let filter = TaskFilter { change: None, state: wanted.state, repository: wanted.repository.clone() };
    let tasks = store.tasks(&filter, Page { before_seq: wanted.tasks_before, limit: TASKS }).await?;
    let changes: Vec<ChangeSummary> = changes.iter().map(Into::into).collect();
    let tasks: Vec<TaskSummary> = tasks.iter().map(Into::into).collect();

    let mut out = Html::default();
    out.raw("<h1>The farm</h1>");
    at_a_glance(&mut out, &status);
    if let Some(repository) = &wanted.repository {
        put!(out; "<p>Only repository <strong>" (repository) r#"</strong>. <a href="/">Show all</a></p>"#);
    }
    out.raw("<h2>Changes</h2>");
    part::change_table(&mut out, &changes);
    older(&mut out, &wanted, "changes-before", next_before(changes.iter().map(|change| change.seq), CHANGES));
    out.raw("<h2>Tasks</h2>");
    states(&mut out, &wanted);
    part::task_table(&mut out, &tasks);
    older(&mut out, &wanted, "tasks-before", next_before(tasks.iter().map(|task| task.seq), TASKS));
    Ok(page("The farm", false, out))
}

fn at_a_glance(out: &mut Html, status: &FarmStatus) {
    out.raw("<dl class=\"facts\">");
    part::fact(out, "Queued", status.tasks.queued);
    part::fact(out, "Running", status.tasks.running);
    part::fact(out, "Done", status.tasks.done);
    let workers: Vec<String> =
        status.workers.iter().map(|worker| format!("{} ({} running)", worker.name, worker.running)).collect();
    let workers = if workers.is_empty() { "none seen yet".to_owned() } else { workers.join(", ") };
    part::fact(out, "Workers", workers);
    out.raw("</dl>");
}

/// Which tasks are shown.
fn states(out: &mut Html, wanted: &Wanted) {
    out.raw("<nav aria-label=\"Tasks by state\"><ul class=\"tabs\">");
    for state in [None].into_iter().chain(TaskState::ALL.map(Some)) {
        out.raw("<li><a href=\"/?");
        query(out, wanted.repository.as_ref(), state);
        out.raw(if state == wanted.state { "\" aria-current=\"page\">" } else { "\">" });
        out.text(state.map_or("all", TaskState::name));
        out.raw("</a></li>");
    }
    out.raw("</ul></nav>");
}

fn older(out: &mut Html, wanted: &Wanted, name: &'static str, before: Option<u64>) {
    let Some(before) = before else { return };
    out.raw("<p><a href=\"/?");
    query(out, wanted.repository.as_ref(), wanted.state);
    put!(out; (name) "=" (before) "\">Older</a></p>");
}

/// The conditions of an address; repository names hold nothing that would have to be encoded there.
fn query(out: &mut Html, repository: Option<&RepoName>, state: Option<TaskState>) {
    if let Some(repository) = repository {
        put!(out; "repository=" (repository) "&amp;");
    }
    if let Some(state) = state {
        put!(out; "state=" (state.name()) "&amp;");
    }
}
