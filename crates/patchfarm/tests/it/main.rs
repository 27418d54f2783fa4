//! The binary, as people, scripts and machines run it: processes, real Kafka, real git, real sandbox.
//!
//! `scripts/kafka run cargo test -p patchfarm` starts what is needed.

// clippy.toml lets tests unwrap; this extends that to the helpers beside them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod bad_input;
mod cli;
mod context_search;
mod crash;
mod demo;
mod drain;
mod farm;
mod metrics;
mod patch_apply;
mod script;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_patchfarm");
