//! The poll thread. Nothing that waits for a broker happens on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as Native, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::shared::Shared;
use super::viewer::Viewer;
use crate::error::KafkaError;
use crate::events::Events;
use crate::offsets::Place;
use crate::record::Record;

/// How often rebalances and errors are looked for, which also keeps us in the group; records, and whoever asks for one,
/// wake the thread earlier.
const POLL: Duration = Duration::from_millis(50);
/// How long leaving the group is waited for.
const LEAVE: Duration = Duration::from_secs(3);

/// Every partition has a queue of its own, so that polling for rebalances takes no record. Pausing the partitions would do
/// that too, but throws away what was read ahead, and librdkafka may take a second to fetch again.
pub(super) struct Poller {
    queues: Vec<PartitionQueue<Member>>,
    /// Which queue is asked first, so that none starves.
    next_queue: usize,
    consumer: Arc<BaseConsumer<Member>>,
    shared: Arc<Shared>,
    role: Role,
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
        Self { queues: Vec::new(), next_queue: 0, consumer, shared, role }
    }

    /// Polls until the consumer is closed; no error ends it.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            self.poll(Duration::ZERO);
            if self.has_other_partitions() {
                self.split();
            }
            if !self.shared.is_wanted() || !self.take() {
                park_timeout(POLL);
            }
        }
        while self.is_committing() {
            self.poll(Duration::from_millis(5));
        }
        if matches!(self.role, Role::Member { .. }) {
            self.leave();
        }
    }

    fn has_other_partitions(&mut self) -> bool {
        match &mut self.role {
            Role::Member { .. } => self.consumer.context().rebalanced.swap(false, Ordering::Relaxed),
            Role::Viewer(viewer) => {
                let any = viewer.look_for_partitions(&self.consumer);
                if any {
                    self.shared.set_viewing();
                }
                any
            }
        }
    }

    /// Gives each of our partitions its queue. A record that had come before that is read by the next poll instead.
    fn split(&mut self) {
        self.queues.clear();
        let assigned = match self.consumer.assignment() {
            Ok(assigned) => assigned,
            Err(error) => return tracing::warn!(%error, "kafka did not tell the assigned partitions"),
        };
        for (topic, partition) in places(&assigned) {
            let Some(mut queue) = self.consumer.split_partition_queue(&topic, partition) else { continue };
            let thread = std::thread::current();
            queue.set_nonempty_callback(move || thread.unpark());
            self.queues.push(queue);
        }
    }

    /// Takes one record from the queues, if there is one.
    fn take(&mut self) -> bool {
        for _ in 0..self.queues.len() {
            self.next_queue = (self.next_queue + 1) % self.queues.len();
            if let Some(polled) = self.queues[self.next_queue].poll(Duration::ZERO) {
                self.receive(polled);
                return true;
            }
        }
        false
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
        if let Some(polled) = self.consumer.poll(wait) {
            self.receive(polled);
        }
    }

    fn receive(&self, polled: KafkaResult<BorrowedMessage<'_>>) {
        match polled {
            Ok(message) => {
                self.member().events.accepted();
                let record = Record::detach(&message);
                match self.role {
                    Role::Member { .. } => self.shared.deliver(record),
                    Role::Viewer(_) => self.shared.show(record),
                }
            }
            // The context has logged it.
            Err(error) => match KafkaError::from_native(&error, "reading", None) {
                error @ KafkaError::Fatal { .. } => self.shared.fail(error),
                error @ KafkaError::Auth { .. } => {
                    self.shared.notice(self.member().events.auth().unwrap_or(error));
                }
                _ => {}
            },
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
    /// The partitions are others than those that have queues.
    rebalanced: AtomicBool,
}

impl Member {
    pub(super) fn new(events: Events, shared: Arc<Shared>) -> Self {
        Self { events, shared, rebalanced: AtomicBool::new(false) }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.events.log(level, facility, text);
    }

    fn error(&self, error: Native, reason: &str) {
        self.events.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut lag = BTreeMap::new();
        for topic in statistics.topics.into_values() {
            for (number, partition) in topic.partitions {
                // Partitions of others, and of ours those that nothing is known of yet, read as -1.
                if partition.consumer_lag >= 0 {
                    lag.insert((topic.topic.clone(), number), partition.consumer_lag);
                }
            }
        }
        self.shared.set_lag(lag);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let revoked = places(list);
            tracing::debug!(?revoked, "kafka partitions revoked");
            self.shared.revoke(&revoked);
            self.rebalanced.store(true, Ordering::Relaxed);
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let assigned = places(list);
            tracing::debug!(?assigned, "kafka partitions assigned");
            self.events.accepted();
            self.shared.assign(assigned.into_iter());
            self.rebalanced.store(true, Ordering::Relaxed);
        }
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect()
}
