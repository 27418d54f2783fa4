//! The wire: `proto/` as Rust types, and nothing that decides.
//!
//! [`record`] reads what comes from Kafka, whoever wrote it; [`task`] and [`service`] turn the core's types into messages
//! and back; [`client`] speaks to control. A message that cannot be turned into a core type names the field.

/// Generated from `proto/patchfarm/v1`.
#[allow(clippy::all, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("patchfarm.v1");

    /// The descriptors of the whole package, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/patchfarm_v1.bin"));
}

pub mod record;

pub mod task;

pub mod service;

pub mod client;

pub use prost::Message;

/// A field of a message that holds what the core does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: expected {expected}, found {found:?}")]
pub struct BadField {
    /// Its name, as in `proto/`.
    pub field: &'static str,
    /// What would do.
    pub expected: String,
    /// What was there, shortened.
    pub found: String,
}

impl BadField {
    pub(crate) fn new(field: &'static str, expected: impl Into<String>, found: impl AsRef<str>) -> Self {
        Self { field, expected: expected.into(), found: found.as_ref().chars().take(80).collect() }
    }
}

/// An id that may be absent: the empty text stands for `None`.
pub(crate) fn optional<T: std::str::FromStr>(field: &'static str, text: String) -> Result<Option<T>, BadField>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { required(field, text).map(Some) }
}

/// An id that must be there.
pub(crate) fn required<T: std::str::FromStr>(field: &'static str, text: String) -> Result<T, BadField>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| BadField::new(field, error.to_string(), &text))
}

/// The text of an id that may be absent.
pub(crate) fn text<T: ToString>(id: Option<&T>) -> String {
    id.map(T::to_string).unwrap_or_default()
}
