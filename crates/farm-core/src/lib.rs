//! The words and rules of the farm, as data and pure functions.
//!
//! Everything else depends on this crate; it depends on nothing that can fail for reasons outside the program: no I/O, no
//! clock, no environment, no async runtime. Time comes in as `now_ms` (Unix milliseconds), randomness as an argument.
//!
//! Read in this order: [`id`] and [`task`] (what is asked), [`result`] and [`reason`] (what came of it), [`delta`] and
//! [`policy`] (what may be written), [`state`] and [`lease`] (who may act now), [`ledger`] (what happened), [`service`],
//! [`port`] and [`topics`] (the seams to the network).

pub mod id;

pub mod task;

pub mod result;

pub mod reason;

pub mod delta;

pub mod policy;

pub mod redact;

pub mod state;

pub mod lease;

pub mod ledger;

pub mod service;

pub mod port;

pub mod topics;
