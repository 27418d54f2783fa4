//! What can go wrong with Kafka, and librdkafka's errors read into it.

use rdkafka::error::KafkaError as Native;
use rdkafka::error::RDKafkaErrorCode as Code;

/// What went wrong, without the value of any property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// A setting that librdkafka or the farm does not take. The value is left out: it may be a secret.
    #[error("kafka property {name} {problem}")]
    Property { name: String, problem: String },
    #[error(
        "a record of {bytes} bytes is too large: this client sends at most {limit}, and the topic may take less; \
         raise max_record_bytes and the topic's max.message.bytes, or send less"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error("kafka did not answer in time ({waited_for}); check that the brokers are up and reachable")]
    Timeout { waited_for: String },
    /// Who we are (SASL, an ACL) or who they are (the TLS certificate) is not accepted.
    #[error("kafka authentication or authorization failed: {reason}")]
    Auth { reason: String },
    #[error("kafka topic {topic} does not exist; create it with `patchfarm topics apply`")]
    UnknownTopic { topic: String },
    #[error("kafka failed with {code} ({doing})")]
    Broker { code: String, doing: String },
    /// The client cannot go on; only a new one can.
    #[error("the kafka client failed for good with {code}; start a new one")]
    Fatal { code: String },
    #[error("the kafka client is closed")]
    Closed,
}

impl KafkaError {
    /// Reads an error code that came while `doing` something, with the topic if there is one.
    pub(crate) fn from_code(code: Code, doing: &str, topic: Option<&str>) -> Self {
        match code {
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SSL => Self::Auth { reason: format!("{code} ({doing})") },
            Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve => Self::Timeout { waited_for: format!("{doing}: {code}") },
            Code::UnknownTopic | Code::UnknownTopicOrPartition => match topic {
                Some(topic) => Self::UnknownTopic { topic: topic.to_owned() },
                None => Self::Broker { code: code.to_string(), doing: doing.to_owned() },
            },
            Code::Fatal => Self::Fatal { code: code.to_string() },
            _ => Self::Broker { code: code.to_string(), doing: doing.to_owned() },
        }
    }

    /// Reads an error of librdkafka's client that came while `doing` something.
    pub(crate) fn from_native(error: &Native, doing: &str, topic: Option<&str>) -> Self {
        match error {
            Native::ClientConfig(_, _, name, _) => Self::Property {
                name: name.clone(),
                problem: "is unknown to librdkafka, or its value is not one that it takes".to_owned(),
            },
            // Such texts may repeat a value, so that only their kind is told; the log has librdkafka's own words.
            Native::ClientCreation(_) | Native::AdminOpCreation(_) => Self::Property {
                name: "set".to_owned(),
                problem:
                    "was refused by librdkafka as a whole: two of the properties contradict each other, or a \
                          file that one names cannot be read"
                        .to_owned(),
            },
            Native::Canceled => Self::Closed,
            Native::MessageConsumptionFatal(code) => Self::Fatal { code: code.to_string() },
            other => match other.rdkafka_error_code() {
                Some(code) => Self::from_code(code, doing, topic),
                None => Self::Broker { code: "an error without a code".to_owned(), doing: doing.to_owned() },
            },
        }
    }
}
