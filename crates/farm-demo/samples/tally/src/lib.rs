//! Counts what is in a text, and says something about the counts.

pub mod count;
pub mod size;
pub mod stats;
