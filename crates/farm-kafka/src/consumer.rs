//! The consumer: a thread of its own polls for ever, another commits; callers ask for records and say which are in
//! safety.

mod committer;
mod poller;
mod shared;
mod viewer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::oneshot;

use self::poller::{Member, Poller, Role};
use self::shared::Shared;
use self::viewer::Viewer;
use crate::error::KafkaError;
use crate::events::Events;
use crate::record::Record;
use crate::settings::Settings;

/// How long [`Consumer::close`] waits for the last commit and the farewell to the group.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// As a member of the group: after the last committed record, or at the topic's start if there is none.
    Committed,
    /// Without a group, every partition from its start. Nothing is committed.
    Earliest,
    /// Without a group, every partition from its present end. Nothing is committed.
    Latest,
}

/// Reads topics. Takes a record only while a [`recv`](Self::recv) waits for one.
///
/// Its thread goes on polling while nobody asks, with records left in the partitions' own queues, so that a worker whose
/// slots are full for an hour stays in the group.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    thread: Thread,
    /// Closes when the thread ends.
    ended: oneshot::Receiver<()>,
}

impl Consumer {
    /// Starts reading; returns before the brokers have answered, so that they may come up later.
    pub fn start(settings: &Settings, topics: &[String], start: StartAt) -> Result<Self, KafkaError> {
        let doing = "starting a consumer";
        if start == StartAt::Committed && settings.group.is_empty() {
            let problem = "is empty, and committing offsets needs a group".to_owned();
            return Err(KafkaError::Property { name: "group.id".to_owned(), problem });
        }
        let shared = Arc::new(Shared::default());
        let member = Member::new(Events::new(settings), Arc::clone(&shared));
        let native = |error| KafkaError::from_native(&error, doing, None);
        let consumer =
            BaseConsumer::from_config_and_context(&settings.consumer()?, member).map_err(native)?;
        let consumer = Arc::new(consumer);
        let role = match start {
            StartAt::Committed => {
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                consumer.subscribe(&topics).map_err(native)?;
                let (consumer, shared) = (Arc::clone(&consumer), Arc::clone(&shared));
                let committer = spawn("kafka-committer", move || committer::run(consumer, shared))?;
                Role::Member { committer }
            }
            StartAt::Earliest => Role::Viewer(Viewer::new(topics, false)),
            StartAt::Latest => Role::Viewer(Viewer::new(topics, true)),
        };
        let poller = Poller::new(consumer, Arc::clone(&shared), role);
        let (end, ended) = oneshot::channel();
        let handle = spawn("kafka-consumer", move || {
            poller.run();
            drop(end);
        })
        .inspect_err(|_| shared.stop())?;
        Ok(Self { shared, thread: handle.thread().clone(), ended })
    }

    /// Waits for the next record. Dropping the future loses none: a record that had come goes to the next call.
    ///
    /// [`KafkaError::Auth`] may pass (the next call goes on waiting), [`KafkaError::Fatal`] does not.
    pub async fn recv(&self) -> Result<Record, KafkaError> {
        let _asking = Asking::new(self);
        loop {
            let arrived = self.shared.arrived();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(answer) = self.shared.take() {
                return answer;
            }
            arrived.await;
        }
    }

    /// Says that a record is in safety (after Begin). Its offset is committed as soon as every record before it
    /// in its partition is in safety too; one of a partition that was lost meanwhile is ignored.
    pub fn commit(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.done(&(topic.to_owned(), partition), offset);
    }

    /// How far the group's committed offsets are behind the ends of the partitions that this member has, as of the last few
    /// seconds.
    pub fn lag(&self) -> BTreeMap<(String, i32), i64> {
        self.shared.lag()
    }

    /// How often this member was given partitions or lost some.
    pub fn rebalances(&self) -> u64 {
        self.shared.rebalances()
    }

    /// Tells whether this consumer has a partition to read. In a group with more members than partitions, some
    /// have none.
    pub fn assigned(&self) -> bool {
        self.shared.is_assigned()
    }

    /// Commits what is left, leaves the group and ends the thread, within ten seconds.
    pub async fn close(mut self) {
        self.stop();
        // An error is what a closed channel gives: the thread has ended.
        if tokio::time::timeout(CLOSE_LIMIT, &mut self.ended).await.is_err() {
            tracing::warn!(
                "the kafka consumer did not end in time; the group will miss it after its session timeout"
            );
        }
    }

    fn stop(&self) {
        self.shared.stop();
        self.thread.unpark();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, KafkaError> {
    let doing = format!("starting the thread {name}");
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| KafkaError::Broker { code: error.to_string(), doing })
}

/// One waiting call, counted while it lives.
struct Asking<'a>(&'a Consumer);

impl<'a> Asking<'a> {
    fn new(consumer: &'a Consumer) -> Self {
        consumer.shared.ask();
        consumer.thread.unpark();
        Self(consumer)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.shared.unask();
    }
}
