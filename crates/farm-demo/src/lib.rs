//! What a demo and the tests need around the farm: a git remote, a model and something to work on, all on this machine.
//!
//! Read in this order: [`git_http`] (a smart-HTTP remote over the git command), [`model_server`] (a model that answers from
//! a script), [`samples`] (three small repositories), [`scenario`] (fourteen tasks over them, what the model answers, and
//! how each must end).

pub mod git_http;

pub mod model_server;

pub mod samples;

pub mod scenario;
