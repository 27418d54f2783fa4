//! The search as its callers see it: over trees in memory, in one process and over a socket.

#![allow(clippy::unwrap_used)] // A test that cannot go on fails; clippy sees that only inside `#[test]`.

mod contract;
mod hostile;
mod protocol;
mod search;
mod symbols;
mod tree;
