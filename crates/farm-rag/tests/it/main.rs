//! The search as its callers see it: over trees in memory, in one process and over a socket.

mod contract;
mod hostile;
mod protocol;
mod search;
mod symbols;
mod tree;
