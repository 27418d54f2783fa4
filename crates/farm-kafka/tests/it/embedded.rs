//! The embedded broker, over its sockets as any other process would use it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use farm_kafka::{EmbeddedBroker, Outgoing, Producer, Settings, partitions, read_to_end};

use crate::{commit, number, outgoing, recv, send_numbers, start, unique, until};

fn broker(topic: &str, n_partitions: i32) -> (EmbeddedBroker, Settings) {
    let broker = EmbeddedBroker::start(&[(topic.to_owned(), n_partitions)]).unwrap();
    let mut settings = Settings { group: unique("embedded"), ..Settings::new(broker.bootstrap()) };
    settings.properties = EmbeddedBroker::client_properties();
    (broker, settings)
}

#[tokio::test]
async fn the_first_record_arrives_at_once_with_its_headers() {
    let (_broker, settings) = broker("tasks", 2);
    assert_eq!(partitions(&settings, "tasks").await.unwrap(), 2);
    let started = Instant::now();
    let consumer = start(&settings, "tasks");
    let producer = Producer::start(settings).unwrap();
    let sent = Outgoing {
        headers: vec![("pf-type".to_owned(), b"task".to_vec())],
        key: Some(b"key".to_vec()),
        ..outgoing("tasks", "x")
    };
    producer.send(sent.clone()).await.unwrap();
    let got = recv(&consumer).await;
    // The mock cluster's own group delay alone is 3 s.
    assert!(started.elapsed() < Duration::from_millis(2900), "{:?}", started.elapsed());
    assert_eq!((got.headers, got.key, got.payload), (sent.headers, sent.key, sent.payload));
    consumer.close().await;
}

#[tokio::test]
async fn a_restart_goes_on_after_the_last_committed_record() {
    let (_broker, settings) = broker("tasks", 1);
    send_numbers(&settings, "tasks", 0..4, true).await;
    let first = start(&settings, "tasks");
    for n in 0..3 {
        let record = recv(&first).await;
        assert_eq!(number(&record), n);
        if n < 2 {
            commit(&first, &record);
        }
    }
    first.close().await;
    let second = start(&settings, "tasks");
    assert_eq!(number(&recv(&second).await), 2);
    second.close().await;
    assert_eq!(read_to_end(&settings, "tasks", 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_member_that_comes_later_gets_partitions_soon_and_nothing_is_lost() {
    let (_broker, settings) = broker("tasks", 4);
    let first = start(&settings, "tasks");
    until("the first member's partitions", || first.assigned()).await;
    let joined = Instant::now();
    let second = start(&settings, "tasks");
    until("the second member's partitions", || second.assigned()).await;
    // With the default session timeout each of two rebalances would take 44 s.
    assert!(joined.elapsed() < Duration::from_secs(20), "{:?}", joined.elapsed());
    send_numbers(&settings, "tasks", 0..40, false).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 40 {
        let record = tokio::select! {
            record = recv(&first) => record,
            record = recv(&second) => record,
        };
        seen.insert(number(&record));
    }
    first.close().await;
    second.close().await;
}
