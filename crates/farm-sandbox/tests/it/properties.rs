//! Whatever is laid over the shared tree in whatever order, an overlay is what a copy is, to us and to commands.

use std::collections::BTreeMap;

use farm_sandbox::{Change, Settings, Workspace, WorkspaceError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Bench;

#[derive(Debug, Clone)]
enum Step {
    Put {
        path: String,
        executable: bool,
    },
    Delete {
        path: String,
    },
    /// What a command does meanwhile.
    Run {
        script: String,
    },
}

/// Few names and few levels, so that steps meet.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<bool>()).prop_map(|(path, executable)| Step::Put { path, executable }),
        4 => path().prop_map(|path| Step::Delete { path }),
        1 => (path(), path()).prop_map(|(from, to)| Step::Run { script: format!("mv {from} {to}") }),
        1 => path().prop_map(|path| Step::Run { script: format!("rm -r {path}; mkdir -p {path} && echo new > {path}/a") }),
        1 => (path(), path()).prop_map(|(target, path)| Step::Run { script: format!("ln -sfn /work/tree/{target} {path}") }),
    ]
}

/// Everything observable: each step's outcome, the changes, what a command sees, what we read.
#[derive(Debug, PartialEq)]
struct Seen {
    outcomes: Vec<String>,
    changes: Vec<Change>,
    listing: String,
    contents: BTreeMap<String, Vec<u8>>,
}

async fn act(bench: &Bench, workspace: &Workspace, steps: &[Step]) -> Seen {
    let mut outcomes = Vec::new();
    for (step_idx, step) in steps.iter().enumerate() {
        let result = match step {
            Step::Put { path, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                workspace.put(path, format!("{step_idx}\n").into_bytes(), mode).await
            }
            Step::Delete { path } => workspace.delete(path).await,
            Step::Run { script } => {
                bench.ok(&format!("{{ {script}; }} 2>/dev/null; true"), workspace).await;
                Ok(())
            }
        };
        outcomes.push(result.map_or_else(|error| error.to_string(), |()| "done".into()));
    }
    let listing = bench.ok("find . ! -type d -printf '%y %m %p %l\\n' | LC_ALL=C sort", workspace).await;
    let mut contents = BTreeMap::new();
    for line in listing.lines().filter(|line| line.starts_with('f')) {
        let path = line.split(' ').nth(2).unwrap();
        contents.insert(path.to_owned(), workspace.read(path, 1000).await.unwrap());
    }
    Seen { outcomes, changes: workspace.changes().await.unwrap(), listing, contents }
}

#[test]
fn an_overlay_is_what_a_copy_is() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bench = |overlay| {
        runtime.block_on(async move {
            let bench = Bench::with(|settings| Settings { overlay, ..settings }).await;
            for path in ["a/a", "a/b/a", "a/b/c", "b", "c/c/c"] {
                bench.write(path, "base\n");
            }
            bench
        })
    };
    let (overlaid, copied) = (bench(true), bench(false));
    assert!(overlaid.sandbox.overlay() && !copied.sandbox.overlay());
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..12);
    let result = runner.run(&steps, |steps| {
        let seen = |bench: &Bench| {
            runtime.block_on(async {
                let workspace = bench.workspace().await;
                let seen = act(bench, &workspace, &steps).await;
                workspace
                    .remove()
                    .await
                    .map_err(|error: WorkspaceError| TestCaseError::fail(error.to_string()))?;
                Ok::<_, TestCaseError>(seen)
            })
        };
        prop_assert_eq!(seen(&overlaid)?, seen(&copied)?);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
