//! The client against scripted servers, and against none.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod failures;
mod forms;
mod prompts;
mod protocols;
mod scripted;
mod server;
mod support;
