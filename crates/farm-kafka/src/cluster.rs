//! Questions to the cluster that need no lasting client.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as Native, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::error::KafkaError;
use crate::events::Events;
use crate::producer::blocking;
use crate::record::Record;
use crate::settings::Settings;

/// The most that an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The most that one try waits, so that a refused password is told at once.
const TRY: Duration = Duration::from_secs(1);

/// Returns how many partitions a topic has.
pub async fn partitions(settings: &Settings, topic: &str) -> Result<i32, KafkaError> {
    let topic = topic.to_owned();
    ask(settings, move |question| {
        let metadata = question.metadata(&topic)?;
        n_partitions(&metadata, &topic).ok_or(KafkaError::UnknownTopic { topic })
    })
    .await
}

/// Returns how many records of these topics the group has not committed.
pub async fn group_lag(settings: &Settings, topics: &[String]) -> Result<u64, KafkaError> {
    let topics = topics.to_vec();
    ask(settings, move |question| {
        let mut list = TopicPartitionList::new();
        for topic in &topics {
            let metadata = question.metadata(topic)?;
            let n = n_partitions(&metadata, topic);
            let n = n.ok_or_else(|| KafkaError::UnknownTopic { topic: topic.clone() })?;
            list.add_partition_range(topic, 0, n - 1);
        }
        let doing = "reading committed offsets";
        let committed = question.question(doing, |c| c.committed_offsets(list.clone(), TRY))?;
        let mut lag = 0;
        for element in committed.elements() {
            let (low, high) = question.watermarks(element.topic(), element.partition())?;
            let next = match element.offset() {
                Offset::Offset(offset) => offset.max(low),
                _ => low,
            };
            lag += u64::try_from(high - next).unwrap_or(0);
        }
        Ok(lag)
    })
    .await
}

/// Reads a topic up to its present end, at most the newest `max_per_partition` offsets of each partition; in order
/// of time. Commits nothing.
pub async fn read_to_end(
    settings: &Settings,
    topic: &str,
    max_per_partition: u32,
) -> Result<Vec<Record>, KafkaError> {
    let topic = topic.to_owned();
    ask(settings, move |question| {
        let metadata = question.metadata(&topic)?;
        let n = n_partitions(&metadata, &topic).ok_or(KafkaError::UnknownTopic { topic: topic.clone() })?;
        let mut list = TopicPartitionList::new();
        let mut unread = BTreeSet::new();
        for partition in 0..n {
            let (low, high) = question.watermarks(&topic, partition)?;
            let start = low.max(high - i64::from(max_per_partition));
            if start < high {
                list.add_partition_offset(&topic, partition, Offset::Offset(start))
                    .map_err(|error| KafkaError::from_native(&error, "reading", Some(&topic)))?;
                unread.insert((partition, high));
            }
        }
        question.question("reading", |c| c.assign(&list))?;
        let mut records = question.drain(&topic, unread)?;
        records.sort_by_key(|r| (r.timestamp_ms, r.partition, r.offset));
        Ok(records)
    })
    .await
}

/// Runs one conversation with the cluster on a blocking thread.
pub(crate) async fn ask<T: Send + 'static>(
    settings: &Settings,
    conversation: impl FnOnce(&Question) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let mut config: ClientConfig = settings.consumer()?;
    config.set("enable.partition.eof", "true");
    let events = Events::new(settings);
    blocking(move || {
        let consumer = BaseConsumer::from_config_and_context(&config, events)
            .map_err(|error| KafkaError::from_native(&error, "asking the cluster", None))?;
        conversation(&Question { consumer, deadline: Instant::now() + ANSWER })
    })
    .await?
}

/// A short-lived client that only asks.
pub(crate) struct Question {
    consumer: BaseConsumer<Events>,
    deadline: Instant,
}

impl Question {
    /// Asks about one topic; a topic that does not exist has no partitions in the answer.
    pub(crate) fn metadata(&self, topic: &str) -> Result<Metadata, KafkaError> {
        self.question("reading metadata", |c| c.fetch_metadata(Some(topic), TRY))
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.question("reading a partition's ends", |c| c.fetch_watermarks(topic, partition, TRY))
    }

    /// Repeats a question until it is answered, we are told to go away, or the time is over.
    fn question<T>(
        &self,
        doing: &str,
        try_once: impl Fn(&BaseConsumer<Events>) -> KafkaResult<T>,
    ) -> Result<T, KafkaError> {
        loop {
            let native = match try_once(&self.consumer) {
                Ok(answer) => return Ok(answer),
                Err(native) => native,
            };
            // Hands what librdkafka has to tell to our `Events`.
            while let Some(Err(_)) = self.consumer.poll(Duration::from_millis(1)) {}
            if let Some(auth) = self.consumer.context().auth() {
                return Err(auth);
            }
            let error = KafkaError::from_native(&native, doing, None);
            if !matches!(error, KafkaError::Timeout { .. }) || Instant::now() >= self.deadline {
                return Err(error);
            }
        }
    }

    /// Reads what is assigned until every partition has come to the end that it had.
    fn drain(&self, topic: &str, mut unread: BTreeSet<(i32, i64)>) -> Result<Vec<Record>, KafkaError> {
        let mut records = Vec::new();
        let mut patience = Instant::now() + ANSWER;
        while !unread.is_empty() {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    patience = Instant::now() + ANSWER;
                    let record = Record::detach(&message);
                    let end = unread.iter().find(|(partition, _)| *partition == record.partition).copied();
                    let Some((partition, high)) = end else { continue };
                    if record.offset + 1 >= high {
                        unread.remove(&(partition, high));
                    }
                    if record.offset < high {
                        records.push(record);
                    }
                }
                // The last offsets of a compacted or transactional partition may hold no record.
                Some(Err(Native::PartitionEOF(at))) => unread.retain(|(partition, _)| *partition != at),
                Some(Err(error)) => match KafkaError::from_native(&error, "reading", Some(topic)) {
                    KafkaError::Auth { .. } | KafkaError::Timeout { .. } => {}
                    error => return Err(error),
                },
                None => {}
            }
            if Instant::now() >= patience {
                let auth = self.consumer.context().auth();
                let waited_for = format!("reading {topic} to its end");
                return Err(auth.unwrap_or(KafkaError::Timeout { waited_for }));
            }
        }
        Ok(records)
    }
}

pub(crate) fn n_partitions(metadata: &Metadata, topic: &str) -> Option<i32> {
    let found = metadata.topics().iter().find(|t| t.name() == topic)?;
    i32::try_from(found.partitions().len()).ok().filter(|n| *n > 0)
}
