//! The servers, as their clients see them; the samples and the scenario, as the farm will.

mod git;

mod git_http;

mod model_server;
