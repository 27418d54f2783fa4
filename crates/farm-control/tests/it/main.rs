//! Control over a real store and a real git remote, with Kafka down: what it decides must not hang on news.

// clippy.toml lets tests unwrap; this extends that to the helpers beside them.
#![allow(clippy::unwrap_used)]

mod begin;

mod intake;

mod phases;

mod planner;

mod rounds;

mod support;

mod sweep;
