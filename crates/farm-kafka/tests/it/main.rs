//! farm-kafka against Apache Kafka itself, and against the embedded broker.
//!
//! `scripts/kafka run cargo test -p farm-kafka` starts what is needed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod consumer;
mod embedded;
mod producer;
mod restart;
mod security;
mod topics;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use farm_kafka::{Consumer, Outgoing, Producer, Record, Settings, StartAt, TopicSpec, apply_topics};

/// The most that one step of a test may take.
const STEP: Duration = Duration::from_secs(30);

/// Reads a variable that `scripts/kafka run` sets; without it a test fails and is not skipped.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need Apache Kafka; run `scripts/kafka run cargo test`")
    })
}

/// Settings for the real broker, with a group of the test's own.
fn settings(name: &str) -> Settings {
    Settings { group: unique(name), ..Settings::new(variable("KAFKA_BOOTSTRAP")) }
}

fn with(settings: &Settings, properties: &[(&str, &str)]) -> Settings {
    let mut settings = settings.clone();
    settings.properties.extend(properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    settings
}

/// Makes a name that no other test, run or process uses.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{nanos:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, replication: 1, config: BTreeMap::new() }
}

async fn new_topic(settings: &Settings, name: &str, partitions: i32) -> String {
    let name = unique(name);
    apply_topics(settings, &[spec(&name, partitions)]).await.unwrap();
    name
}

fn start(settings: &Settings, topic: &str) -> Consumer {
    Consumer::start(settings, &[topic.to_owned()], StartAt::Committed).unwrap()
}

fn outgoing(topic: &str, payload: impl Into<Vec<u8>>) -> Outgoing {
    Outgoing { topic: topic.to_owned(), payload: Some(payload.into()), ..Outgoing::default() }
}

/// Sends `range` as decimal payloads, all to partition 0 if `ordered`.
async fn send_numbers(settings: &Settings, topic: &str, range: std::ops::Range<u32>, ordered: bool) {
    let producer = Producer::start(settings.clone()).unwrap();
    for n in range {
        let outgoing = Outgoing { partition: ordered.then_some(0), ..outgoing(topic, n.to_string()) };
        within("answer to a send", producer.send(outgoing)).await.unwrap();
    }
}

async fn recv(consumer: &Consumer) -> Record {
    within("a record", consumer.recv()).await.unwrap()
}

fn commit(consumer: &Consumer, record: &Record) {
    consumer.commit(&record.topic, record.partition, record.offset);
}

fn number(record: &Record) -> u32 {
    std::str::from_utf8(record.payload.as_deref().unwrap()).unwrap().parse().unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(STEP, future).await.unwrap_or_else(|_| panic!("no {what} within {STEP:?}"))
}

/// Waits until a condition holds, and fails if it never does.
async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
