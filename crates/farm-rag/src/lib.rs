//! Finds the code that a goal is about, without a neural network.
//!
//! A library and a service. Read in this order: `token` (text to terms), `language` and `definition`, `lines` and `chunk` (a
//! file in pieces), [`extract`] (a blob, ready to be ranked), `query`, `rank` and [`pack`] (a goal to snippets), [`index`]
//! (the search itself), [`touched`]; then those who offer it: [`local`] in a worker's process, [`server`], which holds no
//! credentials and alone runs C parsers over foreign text (I6), and [`remote`], which asks the server.

mod token;

mod language;

mod definition;

mod lines;

mod chunk;

pub mod extract;

mod query;

mod rank;

pub mod pack;

mod lru;

pub mod index;

pub mod touched;

pub mod local;

pub mod server;

pub mod remote;

pub use definition::{Definition, Kind, Symbol};
pub use language::Language;
