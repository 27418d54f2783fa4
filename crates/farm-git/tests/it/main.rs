//! Against real git: bare repositories in temporary directories, smart HTTP through `git http-backend`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod support;

mod http_server;

mod credentials;

mod exports;

mod fetch;

mod objects;

mod push;

mod trees;
