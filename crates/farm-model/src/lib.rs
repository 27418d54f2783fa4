//! Questions to models: which model, how asked, how often, at what price, and what is read from the answer.
//!
//! Callers know roles (`coder`, `planner`, `reviewer`) and the port [`farm_core::port::Model`]; this crate alone knows which
//! provider and model stand behind a role, and speaks HTTP to them.
//!
//! Read in this order: [`settings`] (what an operator says), [`client`] (the port: limits, retries, cost),
//! [`metrics`], `wire` (the two
//! protocols), `transport` (HTTP, or no network: [`replay`] and the mock), `retry` (what is tried again, and when). Beside
//! them, without any I/O: [`prompt`] (what is asked), [`reply`] and [`plan`] (what is read).
//!
//! **Invariants:** a prompt, an error, a log line and a `Debug` form hold no registered secret (I5). Scripted answers go
//! through the same request building and reading as HTTP answers.

pub mod settings;

pub mod client;

pub mod metrics;

mod wire;

mod transport;

pub mod replay;

mod mock;

pub mod retry;

pub mod prompt;

pub mod reply;

pub mod plan;

pub use client::Client;
pub use metrics::Metrics;
pub use settings::{Keys, Settings, SettingsError};
