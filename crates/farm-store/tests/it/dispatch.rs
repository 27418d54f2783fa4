//! What goes to the topic, in which order, and how much of it.

use std::collections::{HashMap, HashSet};

use farm_store::{Began, Window};

use crate::support::*;

fn window(partitions: u32, records: u32, bytes: u64) -> Window {
    Window { partitions, records, bytes }
}

#[tokio::test]
async fn the_window_bounds_records_and_bytes_and_opens_as_tasks_begin() {
    let farm = Farm::new().await;
    let tasks: Vec<_> = (0..10).map(|i| task(&format!("t{i}"))).collect();
    farm.accept(&tasks, T0).await;
    let narrow = window(2, 3, 1 << 20);
    let first = farm.store.offer(narrow, T0).await.unwrap();
    assert_eq!(names(&first), ["t0", "t1", "t2", "t3", "t4", "t5"]);
    assert_eq!(first[0].record, tasks[0].record);
    let mut filled: HashMap<i32, usize> = HashMap::new();
    first.iter().for_each(|offer| *filled.entry(offer.partition).or_default() += 1);
    assert_eq!(filled, HashMap::from([(0, 3), (1, 3)]));
    assert_eq!(farm.store.offer(narrow, T0).await.unwrap(), []);
    farm.run(&tasks[1], "r1", T0).await;
    let next = farm.store.offer(narrow, T0).await.unwrap();
    assert_eq!((names(&next), next[0].partition), (vec!["t6".to_owned()], first[1].partition));
    // By bytes: two records fit, the third does not; a large one goes to an empty partition alone.
    let farm = Farm::new().await;
    let size = tasks[0].record.len() as u64;
    farm.accept(&tasks[..3], T0).await;
    let tight = window(1, 100, 2 * size + 1);
    assert_eq!(farm.store.offer(tight, T0).await.unwrap().len(), 2);
    assert_eq!(farm.store.offer(tight, T0).await.unwrap().len(), 0);
    let farm = Farm::new().await;
    farm.accept(&tasks[..2], T0).await;
    assert_eq!(farm.store.offer(window(1, 100, 1), T0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn larger_priority_is_sooner() {
    let farm = Farm::new().await;
    let at = |name: &str, priority| with(name, |task| task.priority = priority);
    farm.accept(&[at("low", -1), at("mid", 0), at("high", 5), at("high2", 5)], T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["high", "high2", "mid", "low"]);
}

#[tokio::test]
async fn a_change_of_ten_thousand_does_not_starve_one_of_three() {
    let farm = Farm::new().await;
    let big: Vec<_> = (0..10_000).map(|i| of_change(&format!("big-{i}"), "big")).collect();
    farm.store.accept_change(change("big", big), "ann", T0).await.unwrap();
    let narrow = window(1, 20, 1 << 20);
    let begin_all = async |offers: Vec<farm_store::Offer>| {
        for offer in offers {
            let task = serde_json::from_slice(&offer.record).unwrap();
            let digest = farm_core::delta::sha256(&offer.record);
            let new = farm_store::NewTask { task, record: offer.record, digest, refusal: None };
            farm.run(&new, "r", T0).await;
        }
    };
    begin_all(farm.store.offer(narrow, T0).await.unwrap()).await;
    let small: Vec<_> = (0..3).map(|i| of_change(&format!("small-{i}"), "small")).collect();
    farm.store.accept_change(change("small", small), "ann", T0).await.unwrap();
    let other: Vec<_> = (0..100).map(|i| of_change(&format!("other-{i}"), "other")).collect();
    farm.store.accept_change(change("other", other), "ann", T0).await.unwrap();
    let next = names(&farm.store.offer(narrow, T0).await.unwrap());
    let of = |prefix: &str| next.iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(of("small"), 3, "{next:?}");
    assert!(of("big") >= 8 && of("other") >= 8, "{next:?}");
    // The newcomer is not ahead of everybody either: they take turns.
    assert!(next[..3].iter().any(|name| name.starts_with("big")), "{next:?}");
}

#[tokio::test]
async fn an_offer_that_nobody_begins_is_repeated_elsewhere_more_and_more_patiently() {
    let farm = Farm::new().await;
    farm.accept(&[task("t1")], T0).await;
    let mut last = farm.offer(T0).await.remove(0);
    let mut now = T0;
    for wait in [30_000, 60_000, 120_000, 120_000] {
        assert_eq!(farm.offer(now + wait - 1).await, [], "after {wait}");
        now += wait;
        let again = farm.offer(now).await.remove(0);
        assert_ne!(again.partition, last.partition);
        last = again;
    }
    // A full window of records that were all lost does not block itself.
    let farm = Farm::new().await;
    let tasks: Vec<_> = (0..4).map(|i| task(&format!("t{i}"))).collect();
    farm.accept(&tasks, T0).await;
    let narrow = window(2, 2, 1 << 20);
    let first = farm.store.offer(narrow, T0).await.unwrap();
    let again = farm.store.offer(narrow, T0 + 30_000).await.unwrap();
    assert_eq!(names(&again), names(&first));
    assert!(first.iter().zip(&again).all(|(a, b)| a.partition != b.partition));
    farm.store.forget_offers().await.unwrap();
    assert_eq!(farm.store.offer(narrow, T0 + 30_001).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_deferred_record_is_offered_when_its_time_comes_and_not_before() {
    let farm = Farm::new().await;
    let (one, two) = (on_path("a", "f"), on_path("b", "f"));
    let run = farm.run(&one, "r1", T0).await;
    // From outside, never offered: it drains into the store.
    assert_eq!(farm.begin(&two, "r2", T0).await, Began::Deferred);
    assert_eq!(farm.offer(T0 + 1).await, []);
    farm.succeed(&run, T0 + 2).await;
    assert_eq!(names(&farm.offer(T0 + 3).await), ["b"]);
}

#[tokio::test]
async fn of_many_tasks_on_one_file_one_is_on_the_topic_at_a_time() {
    let farm = Farm::new().await;
    let mut tasks: Vec<_> = (0..300).map(|i| on_path(&format!("same-{i}"), "f")).collect();
    tasks.push(task("other"));
    farm.accept(&tasks, T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["same-0"]);
    assert_eq!(names(&farm.offer(T0).await), ["other"]);
    assert_eq!(farm.offer(T0).await, []);
    let run = farm.run(&tasks[0], "r1", T0).await;
    assert_eq!(farm.offer(T0).await, []);
    farm.succeed(&run, T0).await;
    assert_eq!(names(&farm.offer(T0).await), ["same-1"]);
}

#[tokio::test]
async fn only_a_commit_that_changed_something_wakes_who_waits() {
    let farm = Farm::new().await;
    let mut commits = farm.store.commits();
    commits.borrow_and_update();
    assert_eq!(farm.offer(T0).await, []);
    assert!(!commits.has_changed().unwrap(), "an offer of nothing would wake dispatch for ever");
    farm.accept(&[task("t1")], T0).await;
    tokio::time::timeout(std::time::Duration::from_secs(5), commits.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn everything_is_offered_exactly_once_while_nothing_is_lost() {
    let farm = Farm::new().await;
    let tasks: Vec<_> = (0..1_000).map(|i| task(&format!("t{i}"))).collect();
    farm.accept(&tasks, T0).await;
    let mut seen = HashSet::new();
    loop {
        let offers = farm.offer(T0).await;
        if offers.is_empty() {
            break;
        }
        assert!(offers.iter().all(|offer| seen.insert(offer.task.clone())));
    }
    assert_eq!(seen.len(), 1_000);
}
