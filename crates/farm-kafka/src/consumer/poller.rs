//! The poll thread. Nothing that waits for a broker happens on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError as Native;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::shared::Shared;
use super::viewer::Viewer;
use crate::error::KafkaError;
use crate::events::Events;
use crate::offsets::Place;
use crate::record::Record;

/// The longest wait in librdkafka while a record is wanted.
const POLL: Duration = Duration::from_millis(50);
/// How long partitions stay open after the last wish. Pausing throws away what was read ahead, and librdkafka takes up to
/// a second to fetch again, so that a caller who asks again soon, as after a slow Begin, should find them open.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// How often a paused consumer polls, to stay in the group; whoever asks wakes it.
const PAUSED_POLL: Duration = Duration::from_millis(50);
/// How long leaving the group is waited for.
const LEAVE: Duration = Duration::from_secs(3);

pub(super) struct Poller {
    consumer: Arc<BaseConsumer<Member>>,
    shared: Arc<Shared>,
    role: Role,
    /// Since when nobody asks.
    idle_since: Option<Instant>,
}

/// How partitions are come by.
pub(super) enum Role {
    /// The group gives them; the other thread commits what is read of them.
    Member {
        committer: JoinHandle<()>,
    },
    Viewer(Viewer),
}

impl Poller {
    pub(super) fn new(consumer: Arc<BaseConsumer<Member>>, shared: Arc<Shared>, role: Role) -> Self {
        Self { consumer, shared, role, idle_since: None }
    }

    /// Polls until the consumer is closed; no error ends it.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            if let Role::Viewer(viewer) = &mut self.role
                && viewer.look_for_partitions(&self.consumer)
            {
                self.apply_pause();
                self.shared.set_viewing();
            }
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
        while self.is_committing() {
            self.poll(Duration::from_millis(5));
        }
        if matches!(self.role, Role::Member { .. }) {
            self.leave();
        }
    }

    /// Leaves the group, so that the others have the partitions at once: dropping the consumer would not say farewell for a
    /// member with a lasting name.
    fn leave(&self) {
        self.consumer.unsubscribe();
        let since = Instant::now();
        while self.is_member() && since.elapsed() < LEAVE {
            self.poll(Duration::from_millis(5));
        }
    }

    /// Tells whether the group has given us an id; librdkafka forgets it when it asks to leave.
    #[allow(unsafe_code)]
    fn is_member(&self) -> bool {
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client lives as long as `self.consumer`. What the call returns is null or a C string of ours, which is
        // read while it lives and freed once, by the allocator that made it.
        unsafe {
            let id = rd_kafka_memberid(client);
            let is_member = !id.is_null() && *id != 0;
            rd_kafka_mem_free(client, id.cast());
            is_member
        }
    }

    fn is_committing(&self) -> bool {
        matches!(&self.role, Role::Member { committer } if !committer.is_finished())
    }

    fn poll(&self, wait: Duration) {
        match self.consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                self.member().events.accepted();
                let record = Record::detach(&message);
                match self.role {
                    Role::Member { .. } => self.shared.deliver(record),
                    Role::Viewer(_) => self.shared.show(record),
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
}

impl Member {
    pub(super) fn new(events: Events, shared: Arc<Shared>) -> Self {
        Self { events, shared, paused: AtomicBool::new(false) }
    }

    /// Pauses or resumes partitions as all are meant to be; librdkafka keeps that for each, and an assignment begins
    /// anew.
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
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}
