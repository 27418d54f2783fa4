//! The operator's opt-out.

use std::time::Duration;

use farm_sandbox::{Command, Exit, Sandbox, SandboxError, Settings, Tier, Workspace};
use tokio_util::sync::CancellationToken;

use crate::support::{marker, n_alive, sh};

#[tokio::test]
async fn says_so_and_still_limits() {
    let dir = tempfile::TempDir::new().unwrap();
    let lower = dir.path().join("lower");
    std::fs::create_dir(&lower).unwrap();
    std::fs::write(lower.join("file"), "x").unwrap();
    // The slot's user must pass here, as there are no mounts to bring the workspace to it.
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let sandbox = Sandbox::none_audited(Settings::new(dir.path().join("work"))).unwrap();
    assert_eq!((sandbox.tier(), sandbox.overlay()), (Tier::None, false));
    let workspace = Workspace::create(&sandbox, &lower, 3).await.unwrap();
    let never = CancellationToken::new();

    let finished = sandbox.run(&sh("id -u; echo y >> file; kill -9 $$"), &workspace, &never).await.unwrap();
    assert_eq!(finished.exit, Exit::Signal(9));
    assert_eq!(finished.output.text(), format!("{}\n", sandbox.uid_of(3)));
    assert_eq!(workspace.changes().await.unwrap().len(), 1);

    let marker = marker("none");
    let mut command = sh(&format!("sleep 1000; : {marker}"));
    command.limits.wall = Duration::from_millis(300);
    assert_eq!(sandbox.run(&command, &workspace, &never).await.unwrap().exit, Exit::TimedOut);
    assert_eq!(n_alive(&marker), 0);

    // One that escapes holds the pipe; that must not hang us.
    let escaping = sh("setsid sleep 3 & echo done");
    let finished = sandbox.run(&escaping, &workspace, &never).await.unwrap();
    assert_eq!((finished.exit, finished.output.text().as_str()), (Exit::Code(0), "done\n"));
    assert!(finished.wall < Duration::from_secs(3));

    let error = sandbox.run(&Command::new(["no-such-program"]), &workspace, &never).await.unwrap_err();
    assert!(matches!(error, SandboxError::ProgramNotFound { .. }), "{error}");
    workspace.remove().await.unwrap();
}
