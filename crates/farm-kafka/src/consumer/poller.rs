//! The poll thread. It alone touches librdkafka's consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as Native, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::shared::Shared;
use super::viewer::Viewer;
use crate::error::KafkaError;
use crate::events::Events;
use crate::offsets::Place;
use crate::record::Record;

/// The longest wait in librdkafka while a record is wanted; a commit that is due waits no longer.
const POLL: Duration = Duration::from_millis(20);
/// How long partitions stay open after the last wish. Pausing throws away what was read ahead, so that a caller who
/// asks again at once should find them open.
const PAUSE_AFTER: Duration = Duration::from_millis(10);
/// How often a paused consumer polls, to stay in the group; whoever asks or commits wakes it.
const PAUSED_POLL: Duration = Duration::from_millis(50);
/// The wait after a commit that was refused, as all are while the group rebalances.
const COMMIT_AGAIN: Duration = Duration::from_millis(200);
/// How long the last commits may take when the consumer is closed.
const LAST_COMMITS: Duration = Duration::from_secs(3);

pub(super) struct Poller {
    consumer: BaseConsumer<Member>,
    shared: Arc<Shared>,
    viewer: Option<Viewer>,
    /// Since when nobody asks.
    idle_since: Option<Instant>,
    commit_from: Instant,
}

impl Poller {
    pub(super) fn new(consumer: BaseConsumer<Member>, shared: Arc<Shared>, viewer: Option<Viewer>) -> Self {
        Self { consumer, shared, viewer, idle_since: None, commit_from: Instant::now() }
    }

    /// Polls until the consumer is closed; no error ends it.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            if let Some(viewer) = &mut self.viewer
                && viewer.look_for_partitions(&self.consumer)
            {
                self.apply_pause();
                self.shared.set_viewing();
            }
            self.commit();
            if self.shared.is_wanted() {
                self.idle_since = None;
                self.set_paused(false);
                self.poll(POLL);
            } else if self.idle_since.get_or_insert_with(Instant::now).elapsed() < PAUSE_AFTER {
                park_timeout(PAUSE_AFTER);
            } else {
                self.set_paused(true);
                self.poll(Duration::from_millis(1));
                park_timeout(PAUSED_POLL);
            }
        }
        self.set_paused(true);
        let deadline = Instant::now() + LAST_COMMITS;
        while !self.shared.is_settled() && Instant::now() < deadline {
            self.commit();
            self.poll(POLL);
        }
        // Dropping the consumer leaves the group.
    }

    fn poll(&self, wait: Duration) {
        match self.consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                self.member().events.accepted();
                let record = Record::detach(&message);
                match self.viewer {
                    None => self.shared.deliver(record),
                    Some(_) => self.shared.show(record),
                }
            }
            Some(Err(error)) => {
                // The context has logged it.
                match KafkaError::from_native(&error, "reading", None) {
                    error @ KafkaError::Fatal { .. } => self.shared.fail(error),
                    error @ KafkaError::Auth { .. } => {
                        self.shared.notice(self.member().events.auth().unwrap_or(error));
                    }
                    _ => {}
                }
            }
        }
    }

    fn commit(&mut self) {
        if self.member().commit_refused.swap(false, Ordering::Relaxed) {
            self.commit_from = Instant::now() + COMMIT_AGAIN;
        }
        if Instant::now() < self.commit_from {
            return;
        }
        let due = self.shared.take_due();
        if due.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(due.len());
        let filled: KafkaResult<()> = due.iter().try_for_each(|((topic, partition), offset)| {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
        });
        if let Err(error) = filled.and_then(|()| self.consumer.commit(&list, CommitMode::Async)) {
            self.member().commit_callback(Err(error), &list);
        }
    }

    fn set_paused(&self, paused: bool) {
        if self.member().paused.swap(paused, Ordering::Relaxed) != paused {
            self.apply_pause();
        }
    }

    fn apply_pause(&self) {
        match self.consumer.assignment() {
            Ok(all) => self.member().apply_pause(&self.consumer, &all),
            Err(error) => tracing::warn!(%error, "kafka did not tell the assigned partitions"),
        }
    }

    fn member(&self) -> &Member {
        self.consumer.context()
    }
}

/// What librdkafka tells the poll thread from within `poll`.
pub(super) struct Member {
    events: Events,
    shared: Arc<Shared>,
    paused: AtomicBool,
    commit_refused: AtomicBool,
}

impl Member {
    pub(super) fn new(events: Events, shared: Arc<Shared>) -> Self {
        Self { events, shared, paused: AtomicBool::new(false), commit_refused: AtomicBool::new(false) }
    }

    /// Puts partitions into the state that all are in: librdkafka keeps one a partition, over assignments too.
    fn apply_pause(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        if partitions.count() == 0 {
            return;
        }
        let applied = match self.paused.load(Ordering::Relaxed) {
            true => consumer.pause(partitions),
            false => consumer.resume(partitions),
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "kafka partitions could not be paused or resumed");
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.events.log(level, facility, text);
    }

    fn error(&self, error: Native, reason: &str) {
        self.events.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let revoked = places(list);
            tracing::debug!(?revoked, "kafka partitions revoked");
            self.shared.revoke(&revoked);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let assigned = places(list);
            tracing::debug!(?assigned, "kafka partitions assigned");
            self.events.accepted();
            self.shared.assign(assigned.into_iter());
            self.apply_pause(consumer, list);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        // Each partition has an answer of its own; the common one is an error if any is, or if none was sent.
        let accepted = offsets.elements().into_iter().filter(|e| e.error().is_ok()).filter_map(|e| {
            let offset = e.offset().to_raw()?;
            Some(((e.topic().to_owned(), e.partition()), offset))
        });
        match result {
            Ok(()) => self.shared.commit_answered(accepted),
            Err(error) => {
                tracing::debug!(%error, "kafka refused a commit; it is tried again");
                self.commit_refused.store(true, Ordering::Relaxed);
                self.shared.commit_answered([]);
            }
        }
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}
