//! Tests of the engine from outside: the conformance corpus, properties, and limits.

// The helpers of tests are tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::result_large_err)]

mod corpus;
mod differential;
mod files;
mod hostile;
mod properties;
