//! The API, the page and the health port over real HTTP, before a real control: SQLite, git, and a Kafka that is never asked.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod access;
mod api;
mod events;
mod health;
mod openapi;
mod page;
mod support;

#[test]
fn every_file_here_is_a_module() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name} is forgotten");
    }
}
