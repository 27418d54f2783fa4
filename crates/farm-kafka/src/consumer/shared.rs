//! What the poll thread and the callers share.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::error::KafkaError;
use crate::events::lock;
use crate::offsets::{Offsets, Place};
use crate::record::Record;

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Taken for somebody who asked, and not handed over yet.
    ready: VecDeque<Record>,
    n_asking: usize,
    offsets: Offsets,
    /// A reader without a group has partitions.
    viewing: bool,
    /// Told once, to whoever asks next.
    notice: Option<KafkaError>,
    /// Told to everybody from now on.
    failure: Option<KafkaError>,
    stopping: bool,
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
        if state.stopping {
            return Some(Err(KafkaError::Closed));
        }
        state.notice.take().or_else(|| state.failure.clone()).map(Err)
    }

    pub(super) fn done(&self, record: &Record) {
        lock(&self.state).offsets.done(&place(record), record.offset);
    }

    pub(super) fn is_assigned(&self) -> bool {
        let state = lock(&self.state);
        state.viewing || !state.offsets.is_empty()
    }

    pub(super) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.arrived.notify_waiters();
    }
}

/// The poll thread's side.
impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        lock(&self.state).stopping
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
        places.for_each(|place| state.offsets.assign(place));
    }

    /// Forgets partitions, and those of their records that nobody has been given: their next owner reads them.
    pub(super) fn revoke(&self, places: &[Place]) {
        let mut state = lock(&self.state);
        state.ready.retain(|record| !places.contains(&place(record)));
        places.iter().for_each(|place| state.offsets.revoke(place));
    }

    pub(super) fn take_due(&self) -> Vec<(Place, i64)> {
        lock(&self.state).offsets.take_due()
    }

    pub(super) fn commit_answered(&self, accepted: impl IntoIterator<Item = (Place, i64)>) {
        lock(&self.state).offsets.answered(accepted);
    }

    pub(super) fn is_settled(&self) -> bool {
        lock(&self.state).offsets.is_settled()
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

fn place(record: &Record) -> Place {
    (record.topic.clone(), record.partition)
}
