//! The sandbox against real bubblewrap and the real kernel.
//!
//! As root, commands run under a uid of their own; as anybody else, under the worker's. Both must pass all of this.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod containment;
mod endings;
mod layers;
mod output;
mod properties;
mod session;
mod support;
mod toolchains;
mod uncontained;
