//! What the poll thread and the callers share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::KafkaError;
use crate::events::lock;
use crate::offsets::{Offsets, Place};
use crate::record::Record;

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// For callers: a record, an error or the end.
    arrived: Notify,
    /// For the committer: something may be due, or the end.
    advanced: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Taken for somebody who asked, and not handed over yet.
    ready: VecDeque<Record>,
    n_asking: usize,
    offsets: Offsets,
    /// As librdkafka told it last.
    lag: BTreeMap<Place, i64>,
    n_rebalances: u64,
    /// A reader without a group has partitions.
    viewing: bool,
    /// Told once, to whoever asks next, unless the trouble is over by then.
    notice: Option<KafkaError>,
    /// Told to everybody from now on.
    failure: Option<KafkaError>,
    stopping_since: Option<Instant>,
}

/// The callers' side.
impl Shared {
    pub(super) fn ask(&self) {
        lock(&self.state).n_asking += 1;
    }

    pub(super) fn unask(&self) {
        lock(&self.state).n_asking -= 1;
    }

    pub(super) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    pub(super) fn take(&self) -> Option<Result<Record, KafkaError>> {
        let mut state = lock(&self.state);
        if let Some(record) = state.ready.pop_front() {
            return Some(Ok(record));
        }
        if state.stopping_since.is_some() {
            return Some(Err(KafkaError::Closed));
        }
        state.notice.take().or_else(|| state.failure.clone()).map(Err)
    }

    pub(super) fn done(&self, place: &Place, offset: i64) {
        lock(&self.state).offsets.done(place, offset);
        self.advanced.notify_all();
    }

    pub(super) fn lag(&self) -> BTreeMap<Place, i64> {
        lock(&self.state).lag.clone()
    }

    pub(super) fn rebalances(&self) -> u64 {
        lock(&self.state).n_rebalances
    }

    pub(super) fn is_assigned(&self) -> bool {
        let state = lock(&self.state);
        state.viewing || !state.offsets.is_empty()
    }

    pub(super) fn stop(&self) {
        lock(&self.state).stopping_since.get_or_insert_with(Instant::now);
        self.arrived.notify_waiters();
        self.advanced.notify_all();
    }
}

/// The poll thread's side.
impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        lock(&self.state).stopping_since.is_some()
    }

    /// Tells whether more callers wait than records are ready.
    pub(super) fn is_wanted(&self) -> bool {
        let state = lock(&self.state);
        state.n_asking > state.ready.len()
    }

    /// Makes a group's record ready, unless its partition is no longer ours.
    pub(super) fn deliver(&self, record: Record) {
        let mut state = lock(&self.state);
        if state.offsets.deliver(&place(&record), record.offset) {
            state.ready.push_back(record);
            state.notice = None;
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Makes a record ready that is read without a group.
    pub(super) fn show(&self, record: Record) {
        lock(&self.state).ready.push_back(record);
        self.arrived.notify_one();
    }

    pub(super) fn set_viewing(&self) {
        lock(&self.state).viewing = true;
    }

    pub(super) fn assign(&self, places: impl Iterator<Item = Place>) {
        let mut state = lock(&self.state);
        state.notice = None;
        state.n_rebalances += 1;
        places.for_each(|place| state.offsets.assign(place));
    }

    /// Forgets partitions, and those of their records that nobody has been given: their next owner reads them.
    pub(super) fn revoke(&self, places: &[Place]) {
        let mut state = lock(&self.state);
        state.n_rebalances += 1;
        state.ready.retain(|record| !places.contains(&place(record)));
        places.iter().for_each(|place| state.offsets.revoke(place));
    }

    pub(super) fn set_lag(&self, lag: BTreeMap<Place, i64>) {
        lock(&self.state).lag = lag;
    }

    pub(super) fn notice(&self, error: KafkaError) {
        lock(&self.state).notice = Some(error);
        self.arrived.notify_one();
    }

    pub(super) fn fail(&self, error: KafkaError) {
        lock(&self.state).failure = Some(error);
        self.arrived.notify_waiters();
    }
}

/// The committer's side.
impl Shared {
    /// Waits for something to commit; `None` when the consumer stops and nothing is due, or `last_commits` is over.
    pub(super) fn wait_for_due(&self, last_commits: Duration) -> Option<Vec<(Place, i64)>> {
        let mut state = lock(&self.state);
        loop {
            let due = state.offsets.due();
            match state.stopping_since {
                Some(since) if due.is_empty() || since.elapsed() >= last_commits => return None,
                _ if !due.is_empty() => return Some(due),
                _ => state = self.advanced.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(super) fn committed(&self, accepted: &[(Place, i64)]) {
        lock(&self.state).offsets.committed(accepted);
    }
}

fn place(record: &Record) -> Place {
    (record.topic.clone(), record.partition)
}
