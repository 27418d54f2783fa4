//! What the tests of the whole share. Nothing here is part of the product.
//!
//! Read in this order: [`wait`] (until something is so, or the test fails), [`program`] (the binary as processes with an
//! environment of their own), [`farm`] (control, workers and rag on Apache Kafka, with a git remote and a model), [`git`]
//! (repositories made and read by the git command alone).

// clippy.toml lets tests unwrap; this extends that to what only tests use.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

pub mod farm;
pub mod git;
pub mod program;
pub mod wait;
