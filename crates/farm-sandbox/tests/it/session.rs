//! The folder of a sandbox on the host.

use std::os::unix::fs::PermissionsExt;

use farm_sandbox::{Sandbox, Settings};

use crate::support::{Bench, eventually};

#[tokio::test]
async fn what_a_dead_worker_left_is_removed_and_a_living_ones_is_not() {
    let bench = Bench::new().await;
    let work_dir = bench.dir.path().join("work dir");
    let workspace = bench.workspace().await;

    let dead = work_dir.join("sandbox-dead");
    std::fs::create_dir_all(dead.join("slot-0-0/tree/deep")).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    std::fs::write(work_dir.join("foreign"), "").unwrap();
    let second = Sandbox::probe(Settings::new(&work_dir)).await.unwrap();

    assert!(!dead.exists());
    assert!(work_dir.join("foreign").exists());
    bench.ok("echo still here > file", &workspace).await;
    drop((second, workspace));
    let lower = bench.lower.clone();
    drop(bench.sandbox);
    eventually("the sandboxes' folders are gone", || std::fs::read_dir(&work_dir).unwrap().count() == 1)
        .await;
    assert!(lower.exists());
}

#[tokio::test]
async fn a_dropped_workspace_is_removed() {
    let bench = Bench::new().await;
    let session =
        std::fs::read_dir(bench.dir.path().join("work dir")).unwrap().next().unwrap().unwrap().path();
    let n_workspaces = || {
        let entries = std::fs::read_dir(&session).unwrap();
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("slot-")).count()
    };
    let workspace = bench.workspace().await;
    let kept = bench.workspace().await;
    assert_eq!(n_workspaces(), 2);
    for entry in std::fs::read_dir(&session).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("slot-") {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7, 0, "closed to others: {mode:o}");
        }
    }
    bench.ok("mkdir -p a/b && chmod 000 a/b && chmod 000 a", &workspace).await;
    drop(workspace);
    eventually("it is gone", || n_workspaces() == 1).await;
    kept.remove().await.unwrap();
    assert_eq!(n_workspaces(), 0);
}

#[tokio::test]
async fn without_bubblewrap_there_is_no_sandbox() {
    let dir = tempfile::TempDir::new().unwrap();
    let missing = Settings { bwrap: "no-such-bwrap".into(), ..Settings::new(dir.path()) };
    let unavailable = Sandbox::probe(missing).await.unwrap_err();
    assert_eq!(unavailable.code, "bwrap_missing");
    assert!(unavailable.to_string().contains("install bubblewrap"), "{unavailable}");

    // A program that contains nothing does not pass for one that does.
    let fake = Settings { bwrap: "/bin/true".into(), ..Settings::new(dir.path()) };
    assert_eq!(Sandbox::probe(fake).await.unwrap_err().code, "setup");

    let nowhere = Settings::new("/proc/no/such");
    assert_eq!(Sandbox::probe(nowhere).await.unwrap_err().code, "work_dir");
}
