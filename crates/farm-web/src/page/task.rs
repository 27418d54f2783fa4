//! A task: what happened to it, step by step, and what came of it.

use axum::extract::State;
use axum::response::Html as Answer;
use farm_core::id::TaskId;
use farm_core::result::{CheckReport, CommitResult, Status, Verdict};
use farm_core::state::TaskState;
use farm_store::TaskStep;

use crate::api::diff as patch;
use crate::api::error::ApiError;
use crate::api::extract::Id;
use crate::html::{Dollars, Html, Length, Moment, put};
use crate::page::part::Badge;
use crate::page::{Failure, diff, page, part};
use crate::server::App;
use crate::view::TaskDetail;

pub(super) async fn show(
    State(app): State<App>,
    id: Result<Id<TaskId>, ApiError>,
) -> Result<Answer<String>, Failure> {
    let Id(id) = id?;
    let store = &app.control.store;
    let view = store.task(&id).await?.ok_or_else(|| ApiError::unknown("task", id.as_str()))?;
    let steps = store.steps(&id, 0).await?;
    let task = TaskDetail::from(&view);
    let summary = &task.summary;
    let mut out = Html::default();
    put!(out; "<h1>Task " (id) "</h1><p class=\"goal\">" (summary.goal) "</p><p>");
    Badge::of_task(summary.state, summary.status).put(&mut out);
    if let Some(reason) = &summary.reason {
        out.raw(" ");
        part::reason(&mut out, reason);
    }
    out.raw("</p>");
    standing(&mut out, &task);
    facts(&mut out, &task);
    if let Some(result) = &task.result {
        part::notes(&mut out, "Notes", &result.notes);
        checks(&mut out, result);
        part::notes(&mut out, "Checks that the model suggests (never run)", &result.suggested_checks);
    }
    timeline(&mut out, &steps);
    if let Some(commits) = patch::of_task(&task) {
        out.raw("<h2>Patch</h2>");
        diff::put_patch(&mut out, &patch::read(&app.control, commits).await);
    }
    // A result that was published will not change; that a retry takes its place is told where that is asked for.
    let is_final = summary.state == TaskState::Done && task.published_ms.is_some();
    Ok(page(format_args!("Task {id}"), is_final, out))
}

/// What may be done, and what it waits for.
fn standing(out: &mut Html, task: &TaskDetail) {
    let summary = &task.summary;
    out.raw("<p>");
    if let Some(by) = &summary.replaced_by {
        put!(out; r#"Retried as <a href="/tasks/"# (by) r#"">"# (by) "</a>. ");
    }
    if summary.waiting_for > 0 {
        put!(out; "Waits for " (summary.waiting_for) " tasks before it. ");
    }
    if !task.setback.is_empty() {
        put!(out; "Its last run ended early: " (task.setback) ". ");
    }
    let id = summary.id.as_str();
    if summary.state != TaskState::Done {
        part::action(out, &["tasks", id, "cancel"], "Cancel", "Cancel this task?");
    }
    let has_failed = summary.status.is_some_and(|status| status != Status::Success);
    if has_failed && summary.replaced_by.is_none() {
        part::action(out, &["tasks", id, "retry"], "Retry", "Begin this task anew?");
    }
    out.raw("</p>");
}

fn facts(out: &mut Html, task: &TaskDetail) {
    let summary = &task.summary;
    out.raw("<dl class=\"facts\">");
    if let Some(change) = &summary.change {
        put!(out; r#"<div><dt>Change</dt><dd><a href="/changes/"# (change) r#"">"# (change) "</a></dd></div>");
    }
    if let Some(repository) = &summary.repository {
        part::fact(out, "Repository", repository);
    }
    if let Some(path) = &summary.path {
        part::fact(out, "Path", path);
    }
    part::fact(out, "Kind", &summary.kind);
    part::fact(out, "Strategy", &summary.strategy);
    part::fact(out, "Accepted (UTC)", Moment(summary.created_ms));
    part::fact(out, "Runs", summary.runs);
    if !summary.worker.is_empty() {
        part::fact(out, "Worker", &summary.worker);
    }
    if let (Some(begun), Some(done)) = (summary.first_begin_ms, summary.done_ms) {
        part::fact(out, "Time", Length(done.saturating_sub(begun)));
    }
    if let Some(base) = &summary.base {
        part::fact(out, "Base", base);
    }
    if let Some(result) = &task.result {
        outcome(out, result);
    }
    out.raw("</dl>");
}

fn outcome(out: &mut Html, result: &CommitResult) {
    if let Some(branch) = &result.branch {
        part::fact(out, "Branch", branch);
    }
    if let Some(commit) = &result.commit {
        part::fact(out, "Commit", commit);
    }
    part::fact(out, "Attempts", result.attempts);
    if result.usage.calls > 0 {
        part::fact(out, "Model", &result.model);
        let usage = &result.usage;
        let (calls, tokens, cost) = (usage.calls, usage.tokens(), Dollars(usage.cost_micro_usd));
        part::fact(out, "Model calls", format_args!("{calls} ({tokens} tokens, {cost})"));
    }
    if !result.sandbox.is_empty() {
        part::fact(out, "Sandbox", &result.sandbox);
    }
    if !result.context.is_empty() {
        part::fact(out, "Context", &result.context);
    }
}

fn checks(out: &mut Html, result: &CommitResult) {
    if result.checks.is_empty() && result.checks_from.is_empty() {
        return;
    }
    out.raw("<h2>Checks</h2>");
    if !result.checks_from.is_empty() {
        put!(out; "<p>From: " (result.checks_from) "</p>");
    }
    for (i, check) in result.checks.iter().enumerate() {
        put!(out; r#"<details id="check-"# (i) r#""><summary>"#);
        verdict(check.verdict).put(out);
        put!(out; " " (check.name) " (" (check.kind.name()) ", expected " (check.expect.name()) ", "
            (Length(check.duration_ms)) ")</summary>");
        report(out, check);
        out.raw("</details>");
    }
}

fn verdict(verdict: Verdict) -> Badge {
    let (class, sign) = match verdict {
        Verdict::Pass => ("good", "✓"),
        Verdict::NoWorse => ("good", "="),
        Verdict::Flaky => ("soft", "~"),
        Verdict::Fail => ("bad", "✗"),
        Verdict::NotRun => ("soft", "∅"),
    };
    Badge::new(class, sign, verdict.name())
}

fn report(out: &mut Html, check: &CheckReport) {
    out.raw("<p>");
    match check.exit_code {
        Some(code) => {
            put!(out; "Exit status " (code) ". ");
        }
        None => out.raw("It was killed or never started. "),
    }
    if let Some(tests) = &check.tests {
        put!(out; "Tests: " (tests.passed) " passed, " (tests.failed) " failed, " (tests.skipped) " skipped. ");
    }
    put!(out; "Found in " (check.found_in) ".</p>");
    if !check.new_failures.is_empty() {
        out.raw("<p>New failures:</p><ul>");
        for failure in &check.new_failures {
            put!(out; "<li class=\"note\">" (failure));
        }
        out.raw("</ul>");
    }
    block(out, &check.output);
}

fn timeline(out: &mut Html, steps: &[TaskStep]) {
    out.raw("<h2>Timeline</h2>");
    if steps.is_empty() {
        out.raw("<p>Nothing yet.</p>");
        return;
    }
    out.raw("<ol class=\"timeline\">");
    for TaskStep { n, run, step } in steps {
        put!(out; "<li><p>");
        part::time(out, step.at_ms);
        put!(out; " <strong>" (step.phase.name()) "</strong> ");
        if *run > 1 {
            put!(out; "run " (run) " ");
        }
        if step.attempt > 0 {
            put!(out; "attempt " (step.attempt) " ");
        }
        put!(out; "(" (Length(step.duration_ms)) "): " (step.summary) "</p>");
        if !step.detail.is_empty() {
            put!(out; r#"<details id="step-"# (n) r#""><summary>Details of step "# (n) "</summary>");
            block(out, &step.detail);
            out.raw("</details>");
        }
        out.raw("</li>");
    }
    out.raw("</ol>");
}

fn block(out: &mut Html, text: &str) {
    if !text.is_empty() {
        put!(out; r#"<pre tabindex="0">"# (text) "</pre>");
    }
}
