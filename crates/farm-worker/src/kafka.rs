//! The worker's two ends of Kafka: tasks come from one topic, results and dead letters go to two others.

use std::time::Duration;

use async_trait::async_trait;
use farm_core::id::TaskId;
use farm_core::port::{Delivery, NotPublished, ResultSink, SourceFailed, TaskSource};
use farm_core::service::{RawRecord, Rejected};
use farm_core::topics::Topics;
use farm_kafka::{Consumer, KafkaError, Outgoing, Producer, Record};
use farm_wire::record::TYPE_HEADER;

use crate::metrics::Metrics;

/// What a dead letter may carry beside its payload: a letter that no broker takes would hold its partition for ever.
const LETTER_BYTES: usize = 4096;
const MAX_KEY_BYTES: usize = 512;
const MAX_DETAIL_CHARS: usize = 256;
const MAX_FOREIGN_HEADER_BYTES: usize = 512;
/// How often the metrics of a member are read.
const WATCH: Duration = Duration::from_secs(1);
/// Headers of dead letters that are ours begin so.
const OWN: &str = "pf-dlq-";

/// Reads the task topic.
pub struct KafkaSource {
    consumer: Consumer,
}

impl KafkaSource {
    /// Over a consumer of the task topic.
    pub fn new(consumer: Consumer) -> Self {
        Self { consumer }
    }

    /// Whether it has partitions, or at least is in the group.
    pub fn assigned(&self) -> bool {
        self.consumer.assigned()
    }

    /// Keeps the metrics of this member of the group up to date. Never ends by itself.
    pub async fn watch(&self, metrics: &Metrics) {
        let mut ticks = tokio::time::interval(WATCH);
        loop {
            ticks.tick().await;
            let rebalances = self.consumer.rebalances();
            metrics.rebalances.inc_by(rebalances.saturating_sub(metrics.rebalances.get()));
            metrics.lag.reset();
            for ((topic, partition), messages) in self.consumer.lag() {
                metrics.lag.with_label_values(&[&topic, &partition.to_string()]).set(messages);
            }
        }
    }

    /// Commits what was accepted and leaves the group.
    pub async fn close(self) {
        self.consumer.close().await;
    }
}

#[async_trait]
impl TaskSource for KafkaSource {
    async fn next(&self) -> Result<Delivery, SourceFailed> {
        loop {
            match self.consumer.recv().await {
                Ok(record) => return Ok(delivery(record)),
                Err(error @ (KafkaError::Fatal { .. } | KafkaError::Closed)) => {
                    return Err(SourceFailed { detail: error.to_string() });
                }
                Err(error) => tracing::warn!(%error, "kafka does not give records; still asking"),
            }
        }
    }

    fn accept(&self, delivery: &Delivery) {
        self.consumer.commit(&delivery.topic, delivery.partition, delivery.offset);
    }
}

fn delivery(record: Record) -> Delivery {
    let kind = record.headers.iter().find(|(name, _)| name == TYPE_HEADER);
    Delivery {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: u64::try_from(record.timestamp_ms).unwrap_or_default(),
        key: record.key,
        record: RawRecord {
            kind: kind.map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
            payload: record.payload.unwrap_or_default(),
        },
        headers: record.headers,
    }
}

/// Publishes results and dead letters.
pub struct KafkaSink {
    producer: Producer,
    topics: Topics,
    max_record_bytes: usize,
}

impl KafkaSink {
    /// Over a producer; a dead letter larger than `max_record_bytes` is cut, and says so.
    pub fn new(producer: Producer, topics: Topics, max_record_bytes: usize) -> Self {
        Self { producer, topics, max_record_bytes }
    }

    /// Waits until everything is sent, or the time is over.
    pub async fn flush(&self, limit: Duration) {
        if let Err(error) = self.producer.flush(limit).await {
            tracing::warn!(%error, "kafka took not everything before the end; the sweep publishes it again");
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), NotPublished> {
        let topic = outgoing.topic.clone();
        let sent = self.producer.send(outgoing).await;
        sent.map(drop).map_err(|error| NotPublished { topic, detail: error.to_string() })
    }
}

#[async_trait]
impl ResultSink for KafkaSink {
    async fn result(&self, task: &TaskId, result: &[u8]) -> Result<(), NotPublished> {
        self.send(Outgoing {
            topic: self.topics.commit_results.clone(),
            key: Some(task.as_str().as_bytes().to_vec()),
            headers: vec![(TYPE_HEADER.to_owned(), b"result".to_vec())],
            payload: Some(result.to_vec()),
            partition: None,
        })
        .await
    }

    async fn dead_letter(&self, delivery: &Delivery, rejected: &Rejected) -> Result<(), NotPublished> {
        let key = delivery.key.clone().filter(|key| key.len() <= MAX_KEY_BYTES);
        let (mut headers, n_left_out) = foreign_headers(&delivery.headers);
        let mut say = |name: &str, value: String| headers.push((format!("{OWN}{name}"), value.into_bytes()));
        say("reason", rejected.reason.code().to_owned());
        say("detail", rejected.detail.chars().take(MAX_DETAIL_CHARS).collect());
        say("position", format!("{}/{}/{}", delivery.topic, delivery.partition, delivery.offset));
        if n_left_out > 0 {
            say("headers-left-out", n_left_out.to_string());
        }
        let mut payload = rejected.payload.clone();
        let room = self.max_record_bytes.saturating_sub(LETTER_BYTES);
        if payload.len() > room {
            say("cut-from-bytes", payload.len().to_string());
            payload.truncate(room);
        }
        self.send(Outgoing {
            topic: self.topics.dead_letters.clone(),
            key,
            headers,
            payload: Some(payload),
            partition: None,
        })
        .await
    }
}

/// The headers that a dead letter keeps of its record, and how many it leaves out for lack of room.
fn foreign_headers(all: &[(String, Vec<u8>)]) -> (Vec<(String, Vec<u8>)>, usize) {
    let mut room = MAX_FOREIGN_HEADER_BYTES;
    let (mut kept, mut n_left_out) = (Vec::new(), 0);
    for (name, value) in all.iter().filter(|(name, _)| !name.starts_with(OWN)) {
        match room.checked_sub(name.len() + value.len()) {
            Some(rest) => {
                room = rest;
                kept.push((name.clone(), value.clone()));
            }
            None => n_left_out += 1,
        }
    }
    (kept, n_left_out)
}
