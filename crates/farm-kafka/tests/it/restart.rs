//! A broker that is killed and comes back, on the same data.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use farm_kafka::{Producer, Settings};

use crate::{commit, new_topic, number, outgoing, recv, start, unique};

/// A broker of this test's own, so that no other test loses its broker.
struct Broker(PathBuf);

impl Broker {
    fn start() -> (Self, String) {
        let broker = Self(std::env::temp_dir().join(unique("patchfarm-kafka-restart")));
        let variables = broker.command("start");
        let bootstrap =
            variables.lines().find_map(|line| line.strip_prefix("KAFKA_BOOTSTRAP=")).unwrap().to_owned();
        (broker, bootstrap)
    }

    fn command(&self, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka");
        let output = Command::new(script).arg(verb).env("PATCHFARM_KAFKA_DIR", &self.0).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.command("stop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_delays_and_loses_nothing() {
    let (broker, bootstrap) = tokio::task::block_in_place(Broker::start);
    let settings = Settings { group: unique("restart"), ..Settings::new(bootstrap) };
    let topic = new_topic(&settings, "restart", 1).await;
    let producer = Producer::start(settings.clone()).unwrap();
    let consumer = start(&settings, &topic);
    for n in 0..5 {
        producer.send(outgoing(&topic, n.to_string())).await.unwrap();
        commit(&consumer, &recv(&consumer).await);
    }

    let killed = tokio::task::spawn_blocking(move || {
        broker.command("restart");
        broker
    });
    // Given to the producer before, while and after the broker is away.
    let mut n_sent = 5;
    while !killed.is_finished() || n_sent < 20 {
        producer.send(outgoing(&topic, n_sent.to_string())).await.unwrap();
        n_sent += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let broker = killed.await.unwrap();
    let mut next = 5;
    while next < n_sent {
        let record = recv(&consumer).await;
        commit(&consumer, &record);
        // The group may have been formed anew, and what was not committed then comes again.
        assert!(number(&record) <= next, "{next} is lost");
        next = next.max(number(&record) + 1);
    }
    consumer.close().await;
    drop(broker);
}
