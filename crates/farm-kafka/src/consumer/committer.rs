//! The commit thread. librdkafka tells what became of a commit only to who waits for it, and while the coordinator is
//! away that may take as long as the session timeout.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::poller::Member;
use super::shared::Shared;
use crate::offsets::Place;

/// What is done in this time goes into one commit.
const GATHER: Duration = Duration::from_millis(20);
/// The wait after a commit that was refused, as all are while the group rebalances.
const AGAIN: Duration = Duration::from_millis(200);
/// How long commits are tried when the consumer is closed.
const LAST_COMMITS: Duration = Duration::from_secs(3);

/// Commits what becomes due until the consumer is closed.
pub(super) fn run(consumer: Arc<BaseConsumer<Member>>, shared: Arc<Shared>) {
    while let Some(due) = shared.wait_for_due(LAST_COMMITS) {
        match commit(&consumer, &due) {
            Ok(()) => {
                shared.committed(&due);
                sleep(GATHER);
            }
            Err(error) => {
                tracing::debug!(%error, "kafka refused a commit; it is tried again");
                sleep(AGAIN);
            }
        }
    }
}

fn commit(consumer: &BaseConsumer<Member>, due: &[(Place, i64)]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(due.len());
    for ((topic, partition), offset) in due {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.commit(&list, CommitMode::Sync)
}
