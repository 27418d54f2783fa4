//! Kafka for the farm: bytes in, bytes out. No other crate knows librdkafka.
//!
//! - [`Settings`]: where the brokers are and how to speak to them; any librdkafka property passes through.
//! - [`Record`] and [`Outgoing`]: what is read and what is sent.
//! - [`Consumer`]: one thread that never stops polling; it takes a record only when somebody asks for one, and
//!   commits the offset of what the caller has put in safety (DESIGN §4).
//! - [`Producer`]: idempotent, one typed answer a record.
//! - [`apply_topics`], [`partitions`], [`group_lag`], [`read_to_end`]: questions to the cluster, and its topics.
//! - [`EmbeddedBroker`]: librdkafka's mock cluster, a bell for one machine and never a queue (DESIGN §8).

mod error;
mod settings;

mod events;
mod record;

mod offsets;

mod consumer;
mod producer;

mod cluster;
mod topics;

mod embedded;

pub use cluster::{group_lag, partitions, read_to_end};
pub use consumer::{Consumer, StartAt};
pub use embedded::EmbeddedBroker;
pub use error::KafkaError;
pub use producer::Producer;
pub use record::{Delivered, Outgoing, Record};
pub use settings::Settings;
pub use topics::{Applied, Change, Difference, TopicSpec, apply_topics};
