//! Taking, committing, sharing.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use farm_kafka::{Consumer, KafkaError, Outgoing, Producer, Settings, StartAt, group_lag};

use crate::{
    STEP, commit, new_topic, number, outgoing, recv, send_numbers, settings, spec, start, until, with, within,
};

#[tokio::test]
async fn a_restart_goes_on_right_after_the_last_committed_record() {
    let settings = settings("resume");
    let topic = new_topic(&settings, "resume", 1).await;
    send_numbers(&settings, &topic, 0..5, true).await;

    let first = start(&settings, &topic);
    let mut records = Vec::new();
    for _ in 0..5 {
        records.push(recv(&first).await);
    }
    // Done in another order than they came.
    [2, 0, 1].iter().for_each(|n| commit(&first, &records[*n]));
    first.close().await;
    assert_eq!(group_lag(&settings, std::slice::from_ref(&topic)).await.unwrap(), 2);

    let second = start(&settings, &topic);
    assert_eq!(number(&recv(&second).await), 3);
    second.close().await;
}

#[tokio::test]
async fn a_record_in_hand_is_delivered_again_though_later_ones_are_done() {
    let settings = settings("in-hand");
    let topic = new_topic(&settings, "in-hand", 1).await;
    send_numbers(&settings, &topic, 0..3, true).await;

    let first = start(&settings, &topic);
    let _in_hand = recv(&first).await;
    for _ in 1..3 {
        commit(&first, &recv(&first).await);
    }
    first.close().await;

    let second = start(&settings, &topic);
    assert_eq!(number(&recv(&second).await), 0);
    second.close().await;
}

#[tokio::test]
async fn commits_reach_the_broker_while_the_consumer_runs() {
    let settings = settings("commit");
    let topic = new_topic(&settings, "commit", 2).await;
    send_numbers(&settings, &topic, 0..50, false).await;
    let consumer = start(&settings, &topic);
    for _ in 0..50 {
        commit(&consumer, &recv(&consumer).await);
    }
    within("lag 0", async { while group_lag(&settings, std::slice::from_ref(&topic)).await.unwrap() > 0 {} })
        .await;
    consumer.close().await;
}

#[tokio::test]
async fn nobody_asking_for_longer_than_the_poll_interval_keeps_the_membership() {
    let settings = with(
        &settings("idle"),
        &[("max.poll.interval.ms", "6000"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")],
    );
    let topic = new_topic(&settings, "idle", 1).await;
    send_numbers(&settings, &topic, 0..2, true).await;
    let consumer = start(&settings, &topic);
    assert_eq!(number(&recv(&consumer).await), 0);

    let idle = Instant::now();
    while idle.elapsed() < Duration::from_millis(7500) {
        assert!(consumer.assigned(), "thrown out after {:?}", idle.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Not 0 again, as it would be after a new assignment: 0 was not committed.
    let asked = Instant::now();
    assert_eq!(number(&recv(&consumer).await), 1);
    assert!(asked.elapsed() < Duration::from_secs(20), "the next record took {:?}", asked.elapsed());
    consumer.close().await;
}

#[tokio::test]
async fn members_share_the_partitions_and_lose_nothing_when_they_come_and_go() {
    let settings = with(&settings("share"), &[("heartbeat.interval.ms", "200")]);
    let topic = new_topic(&settings, "share", 4).await;
    let seen = Mutex::new(BTreeSet::new());
    let n_of_second = Mutex::new(0);
    let work = async |consumer: &Consumer, count: Option<&Mutex<u32>>| {
        loop {
            let record = consumer.recv().await.unwrap();
            seen.lock().unwrap().insert(number(&record));
            if let Some(count) = count {
                *count.lock().unwrap() += 1;
            }
            commit(consumer, &record);
        }
    };
    let all_until = |n: u32| until_seen(&seen, n);

    let first = start(&settings, &topic);
    let visit = async {
        send_numbers(&settings, &topic, 0..100, false).await;
        all_until(100).await;
        let second = start(&settings, &topic);
        tokio::select! {
            () = work(&second, Some(&n_of_second)) => {}
            () = async {
                until("the second member's partitions", || second.assigned()).await;
                send_numbers(&settings, &topic, 100..300, false).await;
                all_until(300).await;
            } => {}
        }
        second.close().await;
        send_numbers(&settings, &topic, 300..400, false).await;
        all_until(400).await;
    };
    tokio::select! {
        () = work(&first, None) => {}
        () = visit => {}
    }
    assert!(*n_of_second.lock().unwrap() > 0, "the second member was given nothing");
    first.close().await;
    assert_eq!(group_lag(&settings, &[topic]).await.unwrap(), 0);
}

#[tokio::test]
async fn partitions_that_change_hands_around_a_pause_are_read_on() {
    let settings = with(&settings("hands"), &[("heartbeat.interval.ms", "200")]);
    let topic = new_topic(&settings, "hands", 4).await;
    let send_to_each = async || {
        let producer = Producer::start(settings.clone()).unwrap();
        for partition in 0..4 {
            let outgoing = Outgoing { partition: Some(partition), ..outgoing(&topic, "x") };
            producer.send(outgoing).await.unwrap();
        }
    };
    let recv_from_each = async |consumer: &Consumer| {
        let mut partitions = BTreeSet::new();
        while partitions.len() < 4 {
            partitions.insert(recv(consumer).await.partition);
        }
    };

    // Paused here, two are given away and come back while somebody asks.
    let first = start(&settings, &topic);
    until("the first member's partitions", || first.assigned()).await;
    let second = start(&settings, &topic);
    until("the second member's partitions", || second.assigned()).await;
    let hand_back = async {
        second.close().await;
        send_to_each().await;
    };
    tokio::join!(recv_from_each(&first), hand_back);

    // Given away while somebody asks, they come back while nobody does.
    let third = start(&settings, &topic);
    let nobody = tokio::time::timeout(STEP, async {
        tokio::select! {
            _ = first.recv() => panic!("nothing was sent"),
            () = until("the third member's partitions", || third.assigned()) => {}
        }
    });
    nobody.await.unwrap();
    third.close().await;
    send_to_each().await;
    recv_from_each(&first).await;
    first.close().await;
}

/// Two members with lasting names, whom the group misses only after longer than a step of a test may take.
async fn named_pair(name: &str) -> (Settings, String, Consumer, Consumer) {
    let settings =
        with(&settings(name), &[("heartbeat.interval.ms", "200"), ("session.timeout.ms", "60000")]);
    let topic = new_topic(&settings, name, 4).await;
    let one = start(&named(&settings, "one"), &topic);
    let other = start(&named(&settings, "other"), &topic);
    until("both members' partitions", || one.assigned() && other.assigned()).await;
    each_is_read(&settings, &topic, &one, &other).await;
    (settings, topic, one, other)
}

fn named(settings: &Settings, instance: &str) -> Settings {
    Settings { instance: Some(instance.to_owned()), ..settings.clone() }
}

#[tokio::test]
async fn who_comes_back_with_its_name_has_its_partitions_at_once() {
    let (settings, topic, one, other) = named_pair("back").await;
    // To the group the first one is as good as killed: it has not said farewell.
    let back = start(&named(&settings, "one"), &topic);
    each_is_read(&settings, &topic, &back, &other).await;
    let replaced = within("the end of who was replaced", one.recv()).await;
    assert!(matches!(&replaced, Err(KafkaError::Fatal { code }) if code.contains("Fenced")), "{replaced:?}");
    one.close().await;
    each_is_read(&settings, &topic, &back, &other).await;
    back.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_member_with_a_name_that_closes_leaves_its_partitions_at_once() {
    let (settings, topic, one, other) = named_pair("farewell").await;
    one.close().await;
    each_is_read(&settings, &topic, &other, &other).await;
    other.close().await;
}

/// Waits until members were given a record of each of four partitions.
async fn each_is_read(settings: &Settings, topic: &str, one: &Consumer, other: &Consumer) {
    let producer = Producer::start(settings.clone()).unwrap();
    for partition in 0..4 {
        let outgoing = Outgoing { partition: Some(partition), ..outgoing(topic, "x") };
        producer.send(outgoing).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 4 {
        let record = tokio::select! {
            record = recv(one) => record,
            record = recv(other) => record,
        };
        seen.insert(record.partition);
    }
}

async fn until_seen(seen: &Mutex<BTreeSet<u32>>, n: u32) {
    until("every record", || seen.lock().unwrap().len() == n as usize).await;
}

#[tokio::test]
async fn dropping_a_waiting_call_loses_no_record_and_doubles_none() {
    let settings = settings("cancel");
    let topic = new_topic(&settings, "cancel", 1).await;
    let consumer = start(&settings, &topic);
    let mut numbers = Vec::new();
    let read = async {
        while numbers.len() < 300 {
            let patience = Duration::from_micros(200 + 100 * (numbers.len() as u64 % 7));
            if let Ok(record) = tokio::time::timeout(patience, consumer.recv()).await {
                numbers.push(number(&record.unwrap()));
            }
        }
    };
    let send = send_numbers(&settings, &topic, 0..300, true);
    within("300 records", async { tokio::join!(read, send) }).await;
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    consumer.close().await;
}

#[tokio::test]
async fn the_lag_is_what_is_not_committed() {
    let settings = with(&settings("lag"), &[("statistics.interval.ms", "100")]);
    let topic = new_topic(&settings, "lag", 1).await;
    send_numbers(&settings, &topic, 0..3, true).await;
    let consumer = start(&settings, &topic);
    let first = recv(&consumer).await;
    let place = (topic.clone(), 0);
    commit(&consumer, &first);
    until("the lag of two", || consumer.lag().get(&place) == Some(&2)).await;
    for _ in 0..2 {
        commit(&consumer, &recv(&consumer).await);
    }
    until("no lag", || consumer.lag().get(&place) == Some(&0)).await;
    assert_eq!(consumer.rebalances(), 1);
    consumer.close().await;
}

/// As a worker does whose Begin takes its time: what was read ahead must not be thrown away between two wishes.
#[tokio::test]
async fn a_caller_who_comes_back_soon_finds_the_partitions_open() {
    let settings = settings("soon");
    let topic = new_topic(&settings, "soon", 4).await;
    send_numbers(&settings, &topic, 0..40, false).await;
    let consumer = start(&settings, &topic);
    recv(&consumer).await;
    let asked = Instant::now();
    for _ in 1..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        recv(&consumer).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "40 records took {:?}", asked.elapsed());
    consumer.close().await;
}

#[tokio::test]
async fn a_slow_caller_gets_each_record_once_and_in_order() {
    let settings = settings("slow");
    let topic = new_topic(&settings, "slow", 1).await;
    send_numbers(&settings, &topic, 0..5, true).await;
    let consumer = start(&settings, &topic);
    for n in 0..5 {
        assert_eq!(number(&recv(&consumer).await), n);
        // Longer than the poll thread sleeps, so that it polls while nobody asks.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    consumer.close().await;
}

#[tokio::test]
async fn many_callers_at_once_get_different_records() {
    let settings = settings("slots");
    let topic = new_topic(&settings, "slots", 3).await;
    let consumer = start(&settings, &topic);
    send_numbers(&settings, &topic, 0..64, false).await;
    let numbers: Mutex<BTreeSet<u32>> = Mutex::default();
    let slot = async || {
        for _ in 0..16 {
            let number = number(&recv(&consumer).await);
            assert!(numbers.lock().unwrap().insert(number), "{number} came twice");
        }
    };
    tokio::join!(slot(), slot(), slot(), slot());
    assert_eq!(numbers.lock().unwrap().len(), 64);
    consumer.close().await;
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_found() {
    let settings = with(&settings("later"), &[("topic.metadata.refresh.interval.ms", "300")]);
    let topic = crate::unique("later");
    let member = start(&settings, &topic);
    let viewer = Consumer::start(&settings, std::slice::from_ref(&topic), StartAt::Latest).unwrap();
    let look = async { tokio::join!(recv(&member), recv(&viewer)) };
    let make = async {
        farm_kafka::apply_topics(&settings, &[spec(&topic, 1)]).await.unwrap();
        send_numbers(&settings, &topic, 7..8, true).await;
    };
    let ((member_got, viewer_got), ()) = tokio::join!(look, make);
    assert_eq!((number(&member_got), number(&viewer_got)), (7, 7));
    member.close().await;
    viewer.close().await;
}

#[tokio::test]
async fn readers_without_a_group_start_where_they_were_told() {
    let settings = settings("viewer");
    let topic = new_topic(&settings, "viewer", 2).await;
    send_numbers(&settings, &topic, 0..10, false).await;
    let topics = [topic.clone()];
    let tail = Consumer::start(&settings, &topics, StartAt::Latest).unwrap();
    until("the tail's partitions", || tail.assigned()).await;
    send_numbers(&settings, &topic, 10..12, false).await;
    let mut new = BTreeSet::new();
    for _ in 0..2 {
        new.insert(number(&recv(&tail).await));
    }
    assert_eq!(new, BTreeSet::from([10, 11]));

    let all = Consumer::start(&settings, &topics, StartAt::Earliest).unwrap();
    let mut numbers = BTreeSet::new();
    for _ in 0..12 {
        let record = recv(&all).await;
        numbers.insert(number(&record));
        commit(&all, &record);
    }
    assert_eq!(numbers, (0..12).collect());
    tail.close().await;
    all.close().await;
    assert_eq!(group_lag(&settings, &topics).await.unwrap(), 12, "a reader without a group commits nothing");
}

#[tokio::test]
async fn closing_answers_who_waits_and_brokers_that_are_away_do_not_hold_it_up() {
    let settings = farm_kafka::Settings::new("127.0.0.1:1");
    let consumer = start(&settings, "tasks");
    let asked = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(300), consumer.recv()).await.is_err());
    within("the end", consumer.close()).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_group_is_needed_to_commit() {
    let settings = farm_kafka::Settings { group: String::new(), ..farm_kafka::Settings::new("127.0.0.1:1") };
    let error = Consumer::start(&settings, &["tasks".to_owned()], StartAt::Committed).unwrap_err();
    assert!(matches!(&error, KafkaError::Property { name, .. } if name == "group.id"), "{error}");
}
