//! The store over real SQLite files.

mod life;
mod support;
