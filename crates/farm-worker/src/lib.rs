//! The worker: a task in, a result out (DESIGN §4). It keeps nothing that matters.
//!
//! Read [`pipeline`] top to bottom: it is the list of DESIGN §4, one step a call. Around it: [`worker`] takes records and
//! hands out slots, [`tending`] keeps one run's lease alive, [`finish`] prepares, pushes, completes and publishes. Inside
//! it: [`base`] (the tree), [`context`] (the code in the prompt), [`strategy`] (how a patch is got), [`attempt`] (one
//! proposed patch and what became of it), [`checks`] (does it hold). [`kit`] is what all runs share, [`kafka`] the outside.

pub mod worker;

pub mod tending;

pub mod pipeline;

pub mod base;

pub mod context;

pub mod strategy;

pub mod attempt;

pub mod checks;

pub mod finish;

pub mod kit;

pub mod steps;

pub mod metrics;

pub mod kafka;
