//! The producer: one typed answer a record.

use std::future::Future;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use crate::error::KafkaError;
use crate::events::Events;
use crate::record::{Delivered, Outgoing};
use crate::settings::Settings;

/// How long a record waits for room in librdkafka's queue, and how often it looks.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);
const QUEUE_LOOK: Duration = Duration::from_millis(10);

/// Sends records. Retries keep their order and double nothing while this producer lives; a caller who repeats
/// after [`KafkaError::Timeout`] may double one.
pub struct Producer {
    settings: Settings,
    events: Arc<Events>,
    /// Replaced after a fatal error, of which librdkafka's producer never recovers.
    inner: RwLock<Inner>,
}

type Inner = FutureProducer<Listener>;

impl Producer {
    /// Starts a producer; returns before the brokers have answered.
    pub fn start(settings: Settings) -> Result<Self, KafkaError> {
        let events = Arc::new(Events::new(&settings));
        let inner = RwLock::new(connect(&settings, &events)?);
        Ok(Self { settings, events, inner })
    }

    /// Sends a record and waits until all in-sync replicas have it. Bounded by `message.timeout.ms` (30 s).
    pub async fn send(&self, outgoing: Outgoing) -> Result<Delivered, KafkaError> {
        let inner = self.current();
        let answer = match enqueue(&inner, &outgoing).await {
            Ok(delivery) => delivery.await,
            Err(error) => return Err(self.read(&error, &outgoing)),
        };
        match answer {
            Ok(Ok(delivery)) => {
                self.events.accepted();
                Ok(Delivered { partition: delivery.partition, offset: delivery.offset })
            }
            Ok(Err((error, _))) => {
                self.replace_if_fatal(&inner);
                Err(self.read(&error, &outgoing))
            }
            Err(_canceled) => Err(KafkaError::Closed),
        }
    }

    /// Waits until everything that was given to `send` has its answer, or the time is over.
    pub async fn flush(&self, limit: Duration) -> Result<(), KafkaError> {
        let inner = self.current();
        let flushed = blocking(move || inner.flush(limit)).await?;
        flushed.map_err(|error| KafkaError::from_native(&error, "flushing the producer", None))
    }

    fn current(&self) -> Inner {
        self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn replace_if_fatal(&self, failed: &Inner) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut inner = self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.client().native_ptr() != failed.client().native_ptr() {
            return; // Another record's failure has done it.
        }
        tracing::warn!(%code, reason, "the kafka producer failed for good; a new one takes over");
        match connect(&self.settings, &self.events) {
            Ok(new) => *inner = new,
            Err(error) => tracing::error!(%error, "no new kafka producer; the next failure tries again"),
        }
    }

    fn read(&self, error: &Native, outgoing: &Outgoing) -> KafkaError {
        let doing = format!("sending to {}", outgoing.topic);
        if error.rdkafka_error_code() == Some(Code::MessageSizeTooLarge) {
            return KafkaError::TooLarge { bytes: outgoing.n_bytes(), limit: self.settings.max_record_bytes };
        }
        match KafkaError::from_native(error, &doing, Some(&outgoing.topic)) {
            // A record that cannot be sent since nobody lets us in merely times out.
            timeout @ KafkaError::Timeout { .. } => self.events.auth().unwrap_or(timeout),
            // The next send has a new producer.
            KafkaError::Fatal { code } => KafkaError::Broker { code, doing },
            other => other,
        }
    }
}

async fn enqueue(inner: &Inner, outgoing: &Outgoing) -> Result<DeliveryFuture, Native> {
    let deadline = Instant::now() + QUEUE_LIMIT;
    loop {
        let record = FutureRecord::<[u8], [u8]> {
            topic: &outgoing.topic,
            partition: outgoing.partition,
            payload: outgoing.payload.as_deref(),
            key: outgoing.key.as_deref(),
            timestamp: None,
            headers: outgoing.owned_headers(),
        };
        match inner.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((Native::MessageProduction(Code::QueueFull), _)) if Instant::now() < deadline => {
                tokio::time::sleep(QUEUE_LOOK).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn connect(settings: &Settings, events: &Arc<Events>) -> Result<Inner, KafkaError> {
    FutureProducer::from_config_and_context(&settings.producer()?, Listener(Arc::clone(events)))
        .map_err(|error| KafkaError::from_native(&error, "starting a producer", None))
}

/// Runs what blocks beside the async threads.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, KafkaError>> {
    let running = tokio::task::spawn_blocking(work);
    // The only errors: the runtime is shutting down, or librdkafka's bindings panicked.
    async move { running.await.map_err(|_| KafkaError::Closed) }
}

/// Lets a producer and its successor share one [`Events`].
struct Listener(Arc<Events>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.log(level, facility, text);
    }

    fn error(&self, error: Native, reason: &str) {
        self.0.error(error, reason);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    #[tokio::test]
    async fn a_producer_that_failed_for_good_is_replaced() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("results", 1, 1).unwrap();
        let producer = Producer::start(Settings::new(cluster.bootstrap_servers())).unwrap();
        let outgoing = Outgoing { topic: "results".to_owned(), ..Outgoing::default() };
        producer.send(outgoing.clone()).await.unwrap();
        // A broker that lost what it had acknowledged: librdkafka cannot know any more what was written.
        let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[lost]);
        let error = producer.send(outgoing.clone()).await.unwrap_err();
        assert!(matches!(error, KafkaError::Broker { .. }), "{error}");
        producer.send(outgoing).await.unwrap();
    }
}
