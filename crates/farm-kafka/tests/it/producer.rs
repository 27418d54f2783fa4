//! Sending: what arrives, and what each refusal is called.

use std::collections::BTreeMap;
use std::time::Duration;

use farm_kafka::{
    KafkaError, Outgoing, Producer, Settings, TopicSpec, apply_topics, partitions, read_to_end,
};

use crate::{new_topic, outgoing, recv, send_numbers, settings, spec, start, unique, with};

#[tokio::test]
async fn what_is_sent_is_what_arrives() {
    let settings = settings("roundtrip");
    let topic = new_topic(&settings, "roundtrip", 3).await;
    let producer = Producer::start(settings.clone()).unwrap();
    let headers =
        [("pf-type", &b"task"[..]), ("twice", b"1"), ("twice", b"2"), ("bytes", b"\0\xff"), ("empty", b"")];
    let full = Outgoing {
        topic: topic.clone(),
        key: Some(b"key".to_vec()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_vec())).into(),
        payload: Some(b"payload \0\xff".to_vec()),
        partition: Some(1),
    };
    let tombstone = Outgoing { payload: None, headers: Vec::new(), ..full.clone() };
    let empty = Outgoing { payload: Some(Vec::new()), key: None, ..tombstone.clone() };

    let consumer = start(&settings, &topic);
    for (offset, sent) in [full, tombstone, empty].into_iter().enumerate() {
        let delivered = producer.send(sent.clone()).await.unwrap();
        let got = recv(&consumer).await;
        assert_eq!((delivered.partition, delivered.offset), (1, offset as i64));
        assert_eq!((got.partition, got.offset), (1, offset as i64));
        assert_eq!((&got.topic, &got.key, &got.payload), (&sent.topic, &sent.key, &sent.payload));
        assert_eq!(got.headers, sent.headers);
        assert!(got.timestamp_ms > 1_700_000_000_000, "{}", got.timestamp_ms);
    }
    consumer.close().await;
}

#[tokio::test]
async fn one_key_keeps_to_one_partition() {
    let settings = settings("keys");
    let topic = new_topic(&settings, "keys", 8).await;
    let producer = Producer::start(settings).unwrap();
    for key in ["a", "b"] {
        let keyed = Outgoing { key: Some(key.into()), ..outgoing(&topic, "x") };
        let first = producer.send(keyed.clone()).await.unwrap();
        let second = producer.send(keyed).await.unwrap();
        assert_eq!((second.partition, second.offset > first.offset), (first.partition, true));
    }
}

#[tokio::test]
async fn a_record_above_the_fetch_limits_is_delivered_and_so_is_the_next() {
    let settings = settings("oversize");
    let topic = unique("oversize");
    let config = BTreeMap::from([("max.message.bytes".to_owned(), (30 << 20).to_string())]);
    apply_topics(&settings, &[TopicSpec { config, ..spec(&topic, 1) }]).await.unwrap();
    let large = Settings { max_record_bytes: 25 << 20, ..settings.clone() };
    let producer = Producer::start(large).unwrap();
    producer.send(outgoing(&topic, vec![7; 20 << 20])).await.unwrap();
    producer.send(outgoing(&topic, "next")).await.unwrap();

    // This one keeps the default limits: 1 MiB a partition, 16 MiB a fetch.
    let consumer = start(&settings, &topic);
    assert_eq!(recv(&consumer).await.payload.unwrap().len(), 20 << 20);
    assert_eq!(recv(&consumer).await.payload.unwrap(), b"next");
    consumer.close().await;
}

#[tokio::test]
async fn too_large_a_record_is_told_by_the_client_and_by_the_broker() {
    let settings = settings("too-large");
    let topic = new_topic(&settings, "too-large", 1).await;
    let careful = Producer::start(settings.clone()).unwrap();
    let error = careful.send(outgoing(&topic, vec![0; 2_000_000])).await.unwrap_err();
    assert_eq!(error, KafkaError::TooLarge { bytes: 2_000_000, limit: 1_000_000 });

    // The topic takes what a broker takes by default, 1 MiB.
    let bold = Producer::start(Settings { max_record_bytes: 3_000_000, ..settings }).unwrap();
    let error = bold.send(outgoing(&topic, vec![0; 2_000_000])).await.unwrap_err();
    assert_eq!(error, KafkaError::TooLarge { bytes: 2_000_000, limit: 3_000_000 });
    bold.send(outgoing(&topic, "small")).await.unwrap();
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named() {
    let settings = with(&settings("unknown"), &[("topic.metadata.propagation.max.ms", "500")]);
    let topic = unique("unknown");
    let unknown = KafkaError::UnknownTopic { topic: topic.clone() };
    let producer = Producer::start(settings.clone()).unwrap();
    assert_eq!(producer.send(outgoing(&topic, "x")).await.unwrap_err(), unknown);
    assert_eq!(partitions(&settings, &topic).await.unwrap_err(), unknown);
    assert_eq!(read_to_end(&settings, &topic, 10).await.unwrap_err(), unknown);
}

#[tokio::test]
async fn brokers_that_are_away_are_a_timeout() {
    let settings = with(&Settings::new("127.0.0.1:1"), &[("message.timeout.ms", "500")]);
    let producer = Producer::start(settings).unwrap();
    let error = producer.send(outgoing("tasks", "x")).await.unwrap_err();
    assert!(matches!(error, KafkaError::Timeout { .. }), "{error}");
    assert!(producer.flush(Duration::from_millis(100)).await.is_ok(), "nothing is under way");
}

#[tokio::test]
async fn a_topic_is_read_to_its_end_with_the_newest_of_each_partition() {
    let settings = settings("read");
    let topic = new_topic(&settings, "read", 2).await;
    assert_eq!(read_to_end(&settings, &topic, 10).await.unwrap(), []);
    send_numbers(&settings, &topic, 0..10, true).await;
    let all = read_to_end(&settings, &topic, 100).await.unwrap();
    assert_eq!(all.iter().map(crate::number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let newest = read_to_end(&settings, &topic, 3).await.unwrap();
    assert_eq!(newest.iter().map(crate::number).collect::<Vec<_>>(), [7, 8, 9]);
}
