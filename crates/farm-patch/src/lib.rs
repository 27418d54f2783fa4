//! Applies the edits of a language model's reply to files, once and right, or refuses.
//!
//! A reply is read by `reply` and the readers in `format` into file edits made of hunks (`edit`); every hunk is looked up in its file by
//! the `ladder`, one relaxation at a time, each of which must leave exactly one place; `splice` joins the placed hunks of a file,
//! `detect` looks at what is added, and only when all of the reply stands does [`apply`] answer with the new contents.
//!
//! **Nothing is ever applied in a place that the reply did not mean.** Where two readings are left, the answer is a [`Refusal`] that
//! shows both. The crate does no I/O and knows neither git nor the farm; [`Source`] gives it the files.

// A refusal is the answer to a whole reply, made once; its size costs nothing.
#![allow(clippy::result_large_err)]

mod detect;
mod edit;
mod engine;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod index;
mod ladder;
mod patch;
mod path;
mod refusal;
mod reply;
mod source;
mod splice;
mod text;

pub use engine::apply;
pub use patch::{FileChange, Op, Outcome, Patch, Placed, Tier};
pub use refusal::{Code, Refusal};
pub use source::{File, Limits, Mode, Request, Source};
