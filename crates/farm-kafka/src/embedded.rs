//! librdkafka's mock cluster as the broker of one machine.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::bindings::{rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms};
use rdkafka::producer::{DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::error::KafkaError;

/// How long the first member of a group waits for others. The default of 3 s would be the first thing that the user
/// of `up` sees; with none at all, every worker but the first would wait for two rebalances.
const GROUP_DELAY_MS: i32 = 500;

/// A broker on loopback that lives as long as this value and also serves other processes.
///
/// It keeps at most 5 MiB a partition, forgets all at its end, knows no transactions and no admin requests.
pub struct EmbeddedBroker {
    /// The client that the mock cluster belongs to; nothing is sent through it.
    host: ThreadedProducer<DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker with these topics and numbers of partitions.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, KafkaError> {
        let doing = "starting the embedded broker";
        let host: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .map_err(|error| KafkaError::from_native(&error, doing, None))?;
        let broker = Self { host };
        broker.shorten_group_delay();
        let cluster = broker.host.client().mock_cluster().ok_or_else(|| missing(doing))?;
        for (topic, n_partitions) in topics {
            cluster
                .create_topic(topic, *n_partitions, 1)
                .map_err(|error| KafkaError::from_native(&error, doing, Some(topic)))?;
        }
        drop(cluster);
        Ok(broker)
    }

    /// Returns the `host:port` that clients of any process on this machine use.
    pub fn bootstrap(&self) -> String {
        self.host.client().mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default()
    }

    /// Returns the properties that every client of this broker should have, in whatever process.
    ///
    /// It answers an empty fetch only when its wait is over, and a group that somebody joins or leaves rebalances
    /// only when the session timeout, less a second, is over.
    pub fn client_properties() -> BTreeMap<String, String> {
        [("fetch.wait.max.ms", "10"), ("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "300")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[allow(unsafe_code)]
    fn shorten_group_delay(&self) {
        // SAFETY: `host` owns the client, and with it the cluster, for longer than both calls; a null cluster is
        // not passed on; the second call takes the cluster's own lock.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self.host.client().native_ptr());
            if !cluster.is_null() {
                rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, GROUP_DELAY_MS);
            }
        }
    }
}

fn missing(doing: &str) -> KafkaError {
    KafkaError::Broker { code: "no mock cluster was made".to_owned(), doing: doing.to_owned() }
}
