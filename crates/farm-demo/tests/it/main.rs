//! The servers, as their clients see them; the samples and the scenario, as the farm will.

// clippy.toml lets tests unwrap; this extends that to the helpers beside them.
#![allow(clippy::unwrap_used)]

mod checks;

mod git;

mod git_http;

mod model_server;

mod samples;

mod scenario;
