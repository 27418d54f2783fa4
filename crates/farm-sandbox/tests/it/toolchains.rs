//! Toolchains outside `/usr`.

use std::collections::BTreeMap;

use farm_sandbox::{Exit, Sandbox, Settings, Toolchains, Workspace};
use tokio_util::sync::CancellationToken;

use crate::support::sh;

#[tokio::test]
async fn finds_the_toolchains_of_this_machine_and_they_run() {
    let env: BTreeMap<_, _> = std::env::vars_os().collect();
    let toolchains = Toolchains::discover(&env).await;
    let dir = tempfile::TempDir::new().unwrap();
    let lower = dir.path().join("lower");
    std::fs::create_dir_all(lower.join("src")).unwrap();
    std::fs::write(
        lower.join("Cargo.toml"),
        "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    std::fs::write(lower.join("src/lib.rs"), "#[test]\nfn works() {}\n").unwrap();

    let settings = Settings { toolchains: toolchains.clone(), ..Settings::new(dir.path().join("work")) };
    let sandbox = Sandbox::probe(settings).await.unwrap();
    let workspace = Workspace::create(&sandbox, &lower, 2).await.unwrap();
    let on_path = |program: &str| {
        std::env::split_paths(&env["PATH".as_ref() as &std::ffi::OsStr])
            .any(|folder| folder.join(program).exists())
    };
    let scripts =
        ["cargo test", "cargo fmt --version", "rustc --version", "python3 -c 'import ssl, sqlite3'"];
    let optional = [("go", "go version"), ("node", "node -e 1")];
    let optional = optional.iter().filter(|(program, _)| on_path(program)).map(|(_, script)| script);
    for script in scripts.iter().chain(optional) {
        let finished = sandbox.run(&sh(script), &workspace, &CancellationToken::new()).await.unwrap();
        assert_eq!(finished.exit, Exit::Code(0), "{script}: {}\n{toolchains:?}", finished.output.text());
    }

    // Nothing of the home folder around them, above all no credentials.
    let home = std::env::home_dir().unwrap();
    let list = sh(&format!("ls -A {0} {0}/.cargo", home.display()));
    let text = sandbox.run(&list, &workspace, &CancellationToken::new()).await.unwrap().output.text();
    for name in text.lines() {
        assert!(!name.contains("registry") && !name.contains(".toml") && !name.contains("ssh"), "{text}");
    }
}
