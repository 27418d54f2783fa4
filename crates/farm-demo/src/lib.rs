//! What a demo and the tests need around the farm: a git remote and a model, both on this machine.
//!
//! Read in this order: [`git_http`] (a smart-HTTP remote over the git command), [`model_server`] (a model that answers from
//! a script).

pub mod git_http;

pub mod model_server;
