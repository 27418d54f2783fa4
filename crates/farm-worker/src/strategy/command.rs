//! The `command` strategy: a deterministic program runs in the sandbox over the export; what it changed is the patch.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use farm_core::delta::{FileMode, RepoPath};
use farm_core::reason::Reason;
use farm_core::service::Phase;
use farm_git::objects::{Content, FileWrite, NewFile};
use farm_sandbox::{Change, ChangeKind, EntryKind, Workspace};
use tokio_util::sync::CancellationToken;

use crate::attempt::Setback;
use crate::base::Base;
use crate::checks::{command, sandbox_trouble, shared_tree, workspace_trouble};
use crate::pipeline::Job;
use crate::steps::shorten;

/// The largest file that a program may leave behind, in bytes; policy may be stricter.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What programs leave beside their work, and nobody wants in a patch.
const LEFTOVERS: &[&str] = &[
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "node_modules",
    "target",
    ".venv",
    "venv",
];

/// Runs the program and reads what it changed.
pub(super) async fn run(job: &Job<'_>, base: &Base, argv: &[String]) -> Result<Vec<FileWrite>, Setback> {
    let step = job.steps.begin(Phase::Strategy);
    let tree = shared_tree(job, base, &base.tree).await?;
    let workspace =
        Workspace::create(&job.kit.sandbox, tree.path(), job.slot).await.map_err(workspace_trouble)?;
    let command = command(argv, farm_core::task::CHECK_TIMEOUT);
    let finished = job.kit.sandbox.run(&command, &workspace, &CancellationToken::new()).await;
    let finished = finished.map_err(sandbox_trouble)?;
    let output = shorten(&finished.output.text(), 16 * 1024);
    if !finished.exit.success() {
        job.steps.end(step, format!("{} ended with {:?}", argv.join(" "), finished.exit), &output);
        return Err(Setback::new(
            Reason::CommandFailed,
            format!("{} ended with {:?}:\n{output}", argv.join(" "), finished.exit),
        ));
    }
    let changes = workspace.changes().await.map_err(workspace_trouble)?;
    let mut writes = Vec::new();
    for change in changes.iter().filter(|change| !is_leftover(&change.path)) {
        writes.push(write_of(&workspace, change).await?);
    }
    job.steps.end(step, format!("{} changed {} files", argv.join(" "), writes.len()), &output);
    workspace.remove().await.map_err(workspace_trouble)?;
    if writes.is_empty() {
        return Err(Setback::new(Reason::NoChange, format!("{} changed nothing", argv.join(" "))));
    }
    Ok(writes)
}

fn is_leftover(path: &Path) -> bool {
    path.components().any(|part| LEFTOVERS.iter().any(|name| part.as_os_str() == *name))
}

async fn write_of(workspace: &Workspace, change: &Change) -> Result<FileWrite, Setback> {
    let path = RepoPath(change.path.as_os_str().as_bytes().to_vec());
    if change.kind == ChangeKind::Deleted {
        return Ok(FileWrite { path, new: None });
    }
    let mode = match change.entry {
        EntryKind::File { executable: true } => FileMode::Executable,
        EntryKind::File { executable: false } => FileMode::Regular,
        EntryKind::Symlink => {
            return Err(Setback::new(Reason::SymlinkForbidden, format!("{path} is a link")));
        }
        EntryKind::Other => return Err(Setback::new(Reason::ModeForbidden, format!("{path} is no file"))),
    };
    let content = workspace.read(&change.path, MAX_FILE_BYTES).await.map_err(workspace_trouble)?;
    Ok(FileWrite { path, new: Some(NewFile { content: Content::Bytes(content), mode }) })
}
