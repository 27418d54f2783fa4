//! The farm as a whole: leases, ledger, status.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use farm_control::control::Control;
use farm_core::state::{ChangeState, TaskState};
use farm_store::{ChangeFilter, Page, TaskFilter};
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::extract::Args;
use crate::api::{MAX_LIMIT, limit};
use crate::server::App;
use crate::view::{FarmStatus, LeaseRow, Leases, Ledger, LedgerRow, TaskNumbers, Verified, WorkerRow};

/// Among how many of the newest tasks a worker is looked for that has nothing to do now.
const LATELY: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

pub(super) async fn leases(State(app): State<App>) -> Result<Json<Leases>, ApiError> {
    let held = app.control.store.leases(None, app.control.now_ms()).await?;
    Ok(Json(Leases { leases: held.into_iter().map(LeaseRow::from).collect() }))
}

pub(super) async fn ledger(
    State(app): State<App>,
    Args(wanted): Args<Wanted>,
) -> Result<Json<Ledger>, ApiError> {
    let entries = app.control.store.ledger(wanted.after, limit(wanted.limit)?).await?;
    Ok(Json(Ledger { entries: entries.into_iter().map(LedgerRow::from).collect() }))
}

pub(super) async fn verify(State(app): State<App>) -> Result<Json<Verified>, ApiError> {
    Ok(Json(match app.control.store.verify_ledger().await? {
        Ok((entries, head)) => {
            Verified { whole: true, entries: Some(entries), head: Some(head), broken: None }
        }
        Err(broken) => Verified { whole: false, entries: None, head: None, broken: Some(broken.to_string()) },
    }))
}

pub(super) async fn show_status(State(app): State<App>) -> Result<Json<FarmStatus>, ApiError> {
    status(&app.control).await.map(Json)
}

/// The farm at a glance.
pub(crate) async fn status(control: &Control) -> Result<FarmStatus, ApiError> {
    let store = &control.store;
    let counts = store.counts().await?;
    let mut changes = BTreeMap::new();
    for state in ChangeState::ALL.into_iter().filter(|state| !state.is_final()) {
        let filter = ChangeFilter { state: Some(state), repository: None };
        let found = store.changes(&filter, Page::first(MAX_LIMIT)).await?.len() as u64;
        if found > 0 {
            changes.insert(state.name().to_owned(), found);
        }
    }
    Ok(FarmStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store_id: store.id().to_owned(),
        tasks: TaskNumbers { queued: counts.queued, running: counts.running, done: counts.done },
        changes,
        workers: workers(control).await?,
    })
}

/// Workers do not sign on: they are known by their runs.
async fn workers(control: &Control) -> Result<Vec<WorkerRow>, ApiError> {
    let running = TaskFilter { state: Some(TaskState::Running), ..TaskFilter::default() };
    let mut tasks = control.store.tasks(&running, Page::first(MAX_LIMIT)).await?;
    let done = TaskFilter { state: Some(TaskState::Done), ..TaskFilter::default() };
    tasks.extend(control.store.tasks(&done, Page::first(LATELY)).await?);
    let mut workers: BTreeMap<String, WorkerRow> = BTreeMap::new();
    for task in tasks.into_iter().filter(|task| !task.worker.is_empty()) {
        let name = task.worker;
        let row = workers.entry(name.clone()).or_insert(WorkerRow { name, running: 0, seen_ms: 0 });
        row.running += u64::from(task.state == TaskState::Running);
        row.seen_ms = row.seen_ms.max(task.begun_ms).max(task.done_ms);
    }
    Ok(workers.into_values().collect())
}
