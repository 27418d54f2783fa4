//! The binary as processes: verbs that end, roles that stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::wait::{LIMIT, until};

/// How the binary is run: in a folder of its own, with no environment but this one.
#[derive(Clone)]
pub struct Program {
    argv: Vec<String>,
    home: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A verb that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub exit: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

/// A role under way; killed when dropped.
pub struct Role {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// The binary, run in `home`. Of the environment it gets what finds git and the compilers.
    pub fn new(binary: &str, home: &Path) -> Self {
        let inherited = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"];
        let environment =
            inherited.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        Self { argv: vec![binary.to_owned()], home: home.to_owned(), environment: environment.collect() }
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// With a setting, by its key.
    #[must_use]
    pub fn set(self, key: &str, value: impl Into<String>) -> Self {
        let name = format!("PATCHFARM_{}", key.replace(['.', '-'], "_").to_uppercase());
        self.env(&name, value)
    }

    /// Run by another program, which gets these arguments first.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.argv.splice(0..0, wrapper.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The folder that it runs in.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs a verb to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "").await
    }

    /// Runs a verb to its end with this standard input.
    pub async fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (input, words) = (input.to_owned(), args.join(" "));
        let feed = tokio::spawn(async move {
            // A verb that does not read all of it is no fault here.
            drop(stdin.write_all(input.as_bytes()).await);
        });
        let ended = tokio::time::timeout(2 * LIMIT, child.wait_with_output()).await;
        let output = ended.unwrap_or_else(|_| panic!("`patchfarm {words}` does not end")).unwrap();
        feed.await.unwrap();
        Ran {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a role, whose log goes to `<home>/<name>.log`.
    pub fn start(&self, name: &str, args: &[&str]) -> Role {
        let log = self.home.join(format!("{name}.log"));
        let mut command = self.command(args);
        command.env("PATCHFARM_LOG_FORMAT", "json").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).unwrap());
        Role { child: command.spawn().unwrap(), log }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).args(args).current_dir(&self.home).env_clear().envs(&self.environment);
        command.kill_on_drop(true);
        command
    }
}

impl Ran {
    /// Checks that it ended well.
    #[track_caller]
    pub fn good(self) -> Self {
        self.exits(0)
    }

    /// Checks its exit status.
    #[track_caller]
    pub fn exits(self, expected: i32) -> Self {
        assert_eq!(self.exit, expected, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// What it printed, as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        let read = serde_json::from_str(&self.stdout);
        read.unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

impl Role {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the role has ended")
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says that it is ready, and gives what it says with that: its addresses.
    pub async fn ready(&mut self) -> Value {
        until("the role is ready", async || {
            let log = self.log();
            let ready =
                log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| {
                    line["fields"]["message"].as_str().is_some_and(|message| message.ends_with(" is ready"))
                });
            assert!(ready.is_some() || self.is_alive(), "it ended before it was ready: {log}");
            ready.map(|line| line["fields"].clone())
        })
        .await
    }

    /// Ends it at once.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Tells it to stop.
    pub fn terminate(&self) {
        let pid = self.pid().to_string();
        let told = std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
    }

    /// Waits for its end and gives its exit status.
    pub async fn ended(mut self) -> i32 {
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.log())).unwrap();
        status.code().unwrap_or(-1)
    }
}
