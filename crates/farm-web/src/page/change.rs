//! A change: how far it is, its tasks, its patch.

use axum::extract::State;
use axum::response::Html as Answer;
use farm_core::id::ChangeId;
use farm_core::state::ChangeState;

use crate::api::error::ApiError;
use crate::api::extract::Id;
use crate::api::{change_detail, diff as patch};
use crate::html::{Html, put};
use crate::page::part::Badge;
use crate::page::{Failure, diff, page, part};
use crate::server::App;
use crate::view::ChangeDetail;

/// The way of a change that goes well.
const WAY: [ChangeState; 7] = [
    ChangeState::Plan,
    ChangeState::CodePhase,
    ChangeState::Build1,
    ChangeState::Approval,
    ChangeState::Merge,
    ChangeState::Verify,
    ChangeState::Done,
];

pub(super) async fn show(
    State(app): State<App>,
    id: Result<Id<ChangeId>, ApiError>,
) -> Result<Answer<String>, Failure> {
    let Id(id) = id?;
    let change = change_detail(&app.control, &id).await?;
    let summary = &change.summary;
    let mut out = Html::default();
    put!(out; "<h1>Change " (id) "</h1><p class=\"goal\">" (summary.goal) "</p>");
    way(&mut out, summary.state);
    if let Some(reason) = &summary.reason {
        out.raw("<p>");
        part::reason(&mut out, reason);
        out.raw("</p>");
    }
    if matches!(
        summary.state,
        ChangeState::Plan | ChangeState::CodePhase | ChangeState::Build1 | ChangeState::Approval
    ) {
        out.raw("<p>");
        part::action(
            &mut out,
            &["changes", id.as_str(), "cancel"],
            "Cancel",
            "Cancel this change and all its tasks?",
        );
        out.raw("</p>");
    }
    facts(&mut out, &change);
    part::notes(&mut out, "Notes", &change.notes);
    out.raw("<h2>Tasks</h2>");
    part::task_table(&mut out, &change.tasks);
    if change.tasks_next_before.is_some() {
        put!(out; "<p>These are the newest " (change.tasks.len()) " of them.</p>");
    }
    if let Some(commits) = patch::of_change(&change) {
        out.raw("<h2>Patch</h2>");
        diff::put_patch(&mut out, &patch::read(&app.control, commits).await);
    }
    Ok(page(format_args!("Change {id}"), summary.state.is_final(), out))
}

/// Where the change stands on its way.
fn way(out: &mut Html, state: ChangeState) {
    let Some(here) = WAY.iter().position(|step| *step == state) else {
        out.raw("<p>");
        Badge::of_change(state).put(out);
        out.raw("</p>");
        return;
    };
    out.raw("<ol class=\"way\">");
    for (i, step) in WAY.iter().enumerate() {
        if i == here {
            out.raw("<li aria-current=\"step\">");
            Badge::of_change(state).put(out);
        } else {
            let sign = if i < here { "✓ " } else { "○ " };
            put!(out; "<li><span aria-hidden=\"true\">" (sign) "</span>" (step.name()));
        }
        out.raw("</li>");
    }
    out.raw("</ol>");
}

fn facts(out: &mut Html, change: &ChangeDetail) {
    let summary = &change.summary;
    out.raw("<dl class=\"facts\">");
    part::fact(out, "Repository", &summary.repository);
    part::fact(out, "Target", &summary.target);
    part::fact(out, "Source", &summary.source);
    part::fact(out, "Risk", summary.risk.name());
    part::fact(out, "Round", summary.round + 1);
    part::fact(out, "Accepted (UTC)", crate::html::Moment(summary.created_ms));
    part::fact(out, "Moved (UTC)", crate::html::Moment(summary.changed_ms));
    if let Some(integration) = &change.integration {
        part::fact(out, "Branch", &change.branch);
        part::fact(out, "Base", &integration.base);
        part::fact(out, "Commit", &integration.commit);
        part::fact(out, "Delta digest", &integration.delta_digest);
    }
    out.raw("</dl>");
}
