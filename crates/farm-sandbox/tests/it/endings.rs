//! How commands end, and that nothing of them is left then.

use std::time::{Duration, Instant};

use farm_sandbox::{Command, Exit, SandboxError, Tier};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, eventually, marker, n_alive, sh};

#[tokio::test]
async fn reports_how_the_command_ended() {
    let bench = Bench::new().await;
    assert_eq!(bench.sandbox.tier(), Tier::Bubblewrap);
    let cases = [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 255", Exit::Code(255)),
        ("kill -9 $$", Exit::Signal(9)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("true <&-; exec >&- 2>&-; exit 3", Exit::Code(3)),
    ];
    for (script, expected) in cases {
        assert_eq!(bench.sh(script).await.exit, expected, "{script}");
    }
}

#[tokio::test]
async fn says_what_cannot_run() {
    let bench = Bench::new().await;
    bench.write("data", "no program");
    let workspace = bench.workspace().await;
    let run = async |command: &Command| {
        bench.sandbox.run(command, &workspace, &CancellationToken::new()).await.unwrap_err()
    };

    let error = run(&Command::new(["no-such-program"])).await;
    assert!(
        matches!(&error, SandboxError::ProgramNotFound { program } if program == "no-such-program"),
        "{error}"
    );
    let error = run(&Command::new(["./data"])).await;
    assert!(matches!(&error, SandboxError::NotStarted { program, .. } if program == "./data"), "{error}");
    let error = run(&Command { cwd: "no/such/folder".into(), ..sh("true") }).await;
    assert!(
        matches!(&error, SandboxError::NotStarted { reason, .. } if reason.contains("no/such")),
        "{error}"
    );

    let invalid = [
        Command::new(Vec::<String>::new()),
        Command::new([""]),
        Command::new(["a\0b"]),
        Command { cwd: "../x".into(), ..sh("true") },
        Command { cwd: "/etc".into(), ..sh("true") },
        Command { env: [("A=B".into(), "c".into())].into(), ..sh("true") },
        Command { env: [("A".into(), "c\0".into())].into(), ..sh("true") },
        Command {
            read_only: vec![farm_sandbox::Mount { host: "/usr".into(), inside: "/work/../etc".into() }],
            ..sh("true")
        },
    ];
    for command in invalid {
        let error = run(&command).await;
        assert!(matches!(error, SandboxError::InvalidCommand { .. }), "{command:?}: {error}");
    }
}

#[tokio::test]
async fn a_timeout_kills_even_what_left_the_session() {
    let bench = Bench::new().await;
    let marker = marker("timeout");
    let mut command = sh(&format!(
        "setsid setsid sh -c 'sleep 1000; :' {marker} & trap '' TERM INT; setsid -w sh -c 'sleep 1000; :' {marker}"
    ));
    command.limits.wall = Duration::from_millis(500);
    let finished = bench.run(&command, &bench.workspace().await).await;
    assert_eq!(finished.exit, Exit::TimedOut);
    assert!(finished.wall >= Duration::from_millis(500) && finished.wall < Duration::from_secs(10));
    assert_eq!(n_alive(&marker), 0);
}

#[tokio::test]
async fn what_outlives_the_command_dies_with_it() {
    let bench = Bench::new().await;
    let marker = marker("leftover");
    let started = Instant::now();
    // The leftover holds the output open.
    let finished = bench.sh(&format!("setsid sh -c 'sleep 1000; :' {marker} & echo done")).await;
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(finished.output.text(), "done\n");
    assert_eq!(n_alive(&marker), 0);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn cancelling_ends_it_at_any_moment() {
    let bench = Bench::new().await;
    let marker = marker("cancel");
    let command = sh(&format!("sleep 1000; : {marker}"));
    let workspace = bench.workspace().await;
    for delay_ms in [0, 1, 3, 5, 8, 12, 20, 50] {
        let cancel = CancellationToken::new();
        let later = cancel.clone();
        let (finished, ()) = tokio::join!(bench.sandbox.run(&command, &workspace, &cancel), async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            later.cancel();
        });
        assert_eq!(finished.unwrap().exit, Exit::Cancelled, "after {delay_ms} ms");
        assert_eq!(n_alive(&marker), 0, "after {delay_ms} ms");
    }
}

#[tokio::test]
async fn a_dropped_future_ends_it_before_the_workspace_is_used_again() {
    let bench = Bench::new().await;
    let marker = marker("drop");
    let workspace = bench.workspace().await;
    let command = sh(&format!("sleep 1000; : {marker}"));
    tokio::select! {
        finished = bench.run(&command, &workspace) => panic!("ended by itself: {finished:?}"),
        () = eventually("the command runs", || n_alive(&marker) > 0) => {}
    }
    assert_eq!(workspace.changes().await.unwrap(), []);
    assert_eq!(n_alive(&marker), 0);
}

#[tokio::test]
async fn commands_of_one_workspace_take_turns() {
    let bench = Bench::new().await;
    let workspace = bench.workspace().await;
    let script = sh("[ ! -e busy ] && : > busy && sleep 0.05 && rm busy");
    let (one, two) = tokio::join!(bench.run(&script, &workspace), bench.run(&script, &workspace));
    assert_eq!((one.exit, two.exit), (Exit::Code(0), Exit::Code(0)));
}

/// Runs this very test in a process of its own as the worker, and kills that.
#[tokio::test]
async fn a_killed_worker_takes_its_commands_along() {
    const MARKER: &str = "SANDBOX_TEST_MARKER";
    if let Ok(marker) = std::env::var(MARKER) {
        let bench = Bench::new().await;
        bench.sh(&format!("setsid sh -c 'sleep 1000; :' {marker} & sleep 1000; : {marker}")).await;
        return;
    }
    let marker = marker("worker");
    // The killed worker leaves its folders behind; this one takes them along.
    let dir = tempfile::TempDir::new().unwrap();
    let mut worker = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "endings::a_killed_worker_takes_its_commands_along"])
        .env(MARKER, &marker)
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the commands run", || n_alive(&marker) >= 3).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    eventually("the commands are dead", || n_alive(&marker) == 0).await;
}
