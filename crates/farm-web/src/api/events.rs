//! Events: whoever looks at the farm is told when to look again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use farm_store::{Store, StoreError};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::error::ApiError;
use crate::api::extract::Args;
use crate::server::App;
use crate::view::{Changed, Happening};

/// The least time between two events: at most five a second.
const PAUSE: Duration = Duration::from_millis(200);

/// Proves to both ends that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The most entries of one event; the next ones follow in the next.
const AT_ONCE: u32 = 500;

#[derive(Deserialize)]
pub(super) struct Wanted {
    after: Option<u64>,
}

/// From now on, or from behind `Last-Event-ID` (a browser that comes back) or `?after=`.
pub(super) async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
    Args(wanted): Args<Wanted>,
) -> Result<impl IntoResponse, ApiError> {
    let store = app.control.store.clone();
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let head = head(&store).await?;
    // Behind a number that was never given out stands another store's past: nothing would ever follow it.
    let after = last_seen.or(wanted.after).unwrap_or(head).min(head);
    // One at a time: a reader who is slow gets fewer and larger events.
    let (events, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Err(error) = tell(&store, after, &events, &app.stop).await {
            tracing::warn!(%error, "a stream of events ends; its reader will come again");
        }
    });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(keep_alive))
}

type Events = mpsc::Sender<Result<Event, Infallible>>;

/// Tells of commits until the reader has gone, or the server stops.
async fn tell(
    store: &Store,
    mut after: u64,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut commits = store.commits();
    // What came before the reader did is told at once, if anything did.
    let mut must_tell = false;
    loop {
        commits.mark_unchanged();
        loop {
            let entries = store.ledger(after, AT_ONCE).await?;
            after = entries.last().map_or(after, |entry| entry.seq);
            let is_full = entries.len() >= AT_ONCE as usize;
            if (must_tell || !entries.is_empty()) && !send(events, after, entries).await {
                return Ok(());
            }
            must_tell = false;
            if !is_full {
                break;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = events.closed() => return Ok(()),
            // The store is closed.
            changed = commits.changed() => if changed.is_err() { return Ok(()) },
        }
        must_tell = true;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Answers whether there still is a reader.
async fn send(events: &Events, id: u64, entries: Vec<farm_core::ledger::Entry>) -> bool {
    let entries = entries
        .into_iter()
        .map(|entry| Happening {
            seq: entry.seq,
            event: entry.event.name().to_owned(),
            subject: entry.subject,
        })
        .collect();
    match Event::default().id(id.to_string()).event("changed").json_data(Changed { entries }) {
        Ok(event) => events.send(Ok(event)).await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written");
            false
        }
    }
}

/// The number of the ledger's last entry. They are numbered from 1 without gaps, so a search by halves finds it.
async fn head(store: &Store) -> Result<u64, StoreError> {
    let mut beyond = 1;
    while !store.ledger(beyond, 1).await?.is_empty() {
        beyond *= 2;
    }
    let mut reached = beyond / 2;
    while reached < beyond {
        let middle = reached + (beyond - reached) / 2;
        if store.ledger(middle, 1).await?.is_empty() { beyond = middle } else { reached = middle + 1 }
    }
    Ok(reached)
}
