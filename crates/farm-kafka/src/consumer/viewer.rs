//! Reading without a group: every partition of the topics, also those that come later.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How often topics are looked at for new partitions once they exist, and until then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN_MISSING: Duration = Duration::from_millis(500);
/// How long one question may hold up the poll thread.
const QUESTION: Duration = Duration::from_secs(2);

pub(super) struct Viewer {
    topics: Vec<String>,
    from_end: bool,
    /// How many partitions of a topic are read; 0 for one that was missing when we looked.
    known: BTreeMap<String, i32>,
    look_at: Instant,
}

impl Viewer {
    pub(super) fn new(topics: &[String], from_end: bool) -> Self {
        Self { topics: topics.to_vec(), from_end, known: BTreeMap::new(), look_at: Instant::now() }
    }

    /// Starts to read partitions that are not read yet; true if there were any.
    pub(super) fn look_for_partitions<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) -> bool {
        if Instant::now() < self.look_at {
            return false;
        }
        let mut any = false;
        for topic in self.topics.clone() {
            match self.look_at_topic(consumer, &topic) {
                Ok(found) => any |= found,
                // The brokers may be away; librdkafka logs that.
                Err(error) => tracing::debug!(topic, %error, "kafka topic not looked at"),
            }
        }
        let all_there = self.topics.iter().all(|topic| self.known.get(topic).is_some_and(|n| *n > 0));
        self.look_at = Instant::now() + if all_there { LOOK_AGAIN } else { LOOK_AGAIN_MISSING };
        any
    }

    fn look_at_topic<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        topic: &str,
    ) -> KafkaResult<bool> {
        let metadata = consumer.fetch_metadata(Some(topic), QUESTION)?;
        let partitions =
            metadata.topics().iter().find(|t| t.name() == topic).map_or(0, |t| t.partitions().len());
        let n_partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let n_known = self.known.get(topic).copied();
        let mut list = TopicPartitionList::new();
        for partition in n_known.unwrap_or(0)..n_partitions {
            // What came after our first look is new, all of it.
            let start = match self.from_end && n_known.is_none() {
                true => Offset::Offset(consumer.fetch_watermarks(topic, partition, QUESTION)?.1),
                false => Offset::Beginning,
            };
            list.add_partition_offset(topic, partition, start)?;
        }
        if list.count() > 0 {
            consumer.incremental_assign(&list)?;
        }
        self.known.insert(topic.to_owned(), n_partitions.max(n_known.unwrap_or(0)));
        Ok(list.count() > 0)
    }
}
