//! What is read from Kafka and what is sent to it.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

/// A record as it was read. A header without a value reads as an empty value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Unix time in milliseconds; 0 if the record has none.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` is a tombstone, which is not the same as an empty payload.
    pub payload: Option<Vec<u8>>,
}

/// A record to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub payload: Option<Vec<u8>>,
    /// `None` lets the key choose, or chance if there is no key.
    pub partition: Option<i32>,
}

/// Where the brokers put a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    pub offset: i64,
}

impl Record {
    pub(crate) fn detach(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }
}

impl Outgoing {
    pub(crate) fn owned_headers(&self) -> Option<OwnedHeaders> {
        let empty = OwnedHeaders::new_with_capacity(self.headers.len());
        (!self.headers.is_empty()).then(|| {
            self.headers
                .iter()
                .fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(value) }))
        })
    }

    /// Counts the bytes that the caller gave, without Kafka's own framing.
    pub(crate) fn n_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len) + headers
    }
}
