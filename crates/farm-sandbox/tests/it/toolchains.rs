//! Toolchains outside `/usr`.

use std::collections::BTreeMap;

use farm_sandbox::{Command, Exit, Sandbox, Settings, Toolchains, Workspace};
use tokio_util::sync::CancellationToken;

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
    let lines = ["cargo test", "rustc --version", "cargo fmt --version", "python3 -c 'import ssl, sqlite3'"];
    for line in lines {
        let command = Command::new(line.split(' ').filter(|_| !line.contains('\'')));
        let command = if command.argv.is_empty() { Command::new(["sh", "-c", line]) } else { command };
        let finished = sandbox.run(&command, &workspace, &CancellationToken::new()).await.unwrap();
        assert_eq!(finished.exit, Exit::Code(0), "{line}: {}\n{toolchains:?}", finished.output.text());
        println!("{line} {:?}", finished.wall);
    }
}
