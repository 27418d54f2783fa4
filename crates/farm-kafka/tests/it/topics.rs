//! `apply_topics` creates and raises; every other difference it only tells.

use std::collections::BTreeMap;

use farm_kafka::{Change, Difference, TopicSpec, apply_topics, partitions};

use crate::{settings, spec, unique};

#[tokio::test]
async fn topics_are_created_once_raised_when_small_and_otherwise_left_alone() {
    let settings = settings("apply");
    let name = unique("apply");
    let compacted = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    let wanted = TopicSpec { config: compacted, ..spec(&name, 2) };
    let change = async |spec: &TopicSpec| {
        let applied = apply_topics(&settings, std::slice::from_ref(spec)).await.unwrap().remove(0);
        assert_eq!(applied.topic, name);
        (applied.change, applied.differs)
    };

    assert_eq!(change(&wanted).await, (Change::Created, vec![]));
    assert_eq!(change(&wanted).await, (Change::Unchanged, vec![]));

    let more = TopicSpec { partitions: 5, ..wanted.clone() };
    assert_eq!(change(&more).await, (Change::PartitionsRaised { from: 2, to: 5 }, vec![]));
    assert_eq!(partitions(&settings, &name).await.unwrap(), 5);

    let mut other = TopicSpec { replication: 3, ..wanted };
    other.config.insert("cleanup.policy".to_owned(), "delete".to_owned());
    let differs =
        [("partitions", "2", "5"), ("replication", "3", "1"), ("cleanup.policy", "delete", "compact")];
    let differs = differs.map(|(what, wanted, found)| Difference {
        what: what.to_owned(),
        wanted: wanted.to_owned(),
        found: found.to_owned(),
    });
    assert_eq!(change(&other).await, (Change::Unchanged, differs.to_vec()));
    assert_eq!(partitions(&settings, &name).await.unwrap(), 5);
}

#[tokio::test]
async fn a_topic_that_the_brokers_refuse_is_an_error() {
    let settings = settings("refused");
    let error = apply_topics(&settings, &[spec("not a topic's name", 1)]).await.unwrap_err().to_string();
    assert!(error.contains("creating topic not a topic's name"), "{error}");
}
