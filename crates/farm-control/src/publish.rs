//! The way to Kafka. What travels there is news and work, never truth: losing any of it costs time only.

use farm_core::id::TaskId;
use farm_core::topics::Topics;
use farm_kafka::{KafkaError, Outgoing, Producer};
use farm_wire::record::{TYPE_HEADER, TYPE_TASK};
use farm_wire::{Message, v1};

/// Publishes for control.
pub struct Publisher {
    producer: Producer,
    topics: Topics,
}

impl Publisher {
    /// Over a producer.
    pub fn new(producer: Producer, topics: Topics) -> Self {
        Self { producer, topics }
    }

    /// The topics that it publishes to.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Offers a task to the workers.
    pub async fn task(&self, task: &TaskId, record: Vec<u8>, partition: i32) -> Result<(), KafkaError> {
        let topic = &self.topics.coding_tasks;
        self.send(topic, task.as_str(), TYPE_TASK, record, Some(partition)).await
    }

    /// Publishes a stored result.
    pub async fn result(&self, task: &TaskId, result: Vec<u8>) -> Result<(), KafkaError> {
        self.send(&self.topics.commit_results, task.as_str(), "result", result, None).await
    }

    /// Tells outside CI of an integrated tree.
    pub async fn build_request(&self, request: &v1::BuildRequest) -> Result<(), KafkaError> {
        let payload = request.encode_to_vec();
        self.send(&self.topics.build_requests, &request.change_id, "build-request", payload, None).await
    }

    /// Tells what a build stage showed.
    pub async fn build_result(&self, result: &v1::BuildResult) -> Result<(), KafkaError> {
        let payload = result.encode_to_vec();
        self.send(&self.topics.build_results, &result.change_id, "build-result", payload, None).await
    }

    /// Waits until everything is sent, or the time is over.
    pub async fn flush(&self, limit: std::time::Duration) -> Result<(), KafkaError> {
        self.producer.flush(limit).await
    }

    async fn send(
        &self,
        topic: &str,
        key: &str,
        kind: &str,
        payload: Vec<u8>,
        partition: Option<i32>,
    ) -> Result<(), KafkaError> {
        let outgoing = Outgoing {
            topic: topic.to_owned(),
            key: Some(key.as_bytes().to_vec()),
            headers: vec![(TYPE_HEADER.to_owned(), kind.as_bytes().to_vec())],
            payload: Some(payload),
            partition,
        };
        self.producer.send(outgoing).await.map(drop)
    }
}
