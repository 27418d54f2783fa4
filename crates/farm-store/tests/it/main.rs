//! The store over real SQLite files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod budget;
mod cancel;
mod changes;
mod dispatch;
mod durability;
mod leases;
mod life;
mod model;
mod precedence;
mod rounds;
mod stale;
mod support;
mod sweep;
