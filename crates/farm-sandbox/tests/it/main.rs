//! The sandbox against real bubblewrap and the real kernel.

mod run;
mod support;
mod toolchains;
