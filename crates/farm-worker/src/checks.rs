//! Step 7: format, lint, test, in the sandbox, on an export of the tree without git directory, network or secrets.
//!
//! [`find`] says which checks there are, [`evidence`] reads what one run of a command showed, [`judge`] compares it with what
//! the check must show, [`cache`] keeps what base trees showed. This file runs them.

pub mod cache;
pub mod evidence;
pub mod find;
pub mod judge;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farm_core::delta::{FileMode, PathChange, TreeDelta};
use farm_core::id::Oid;
use farm_core::reason::Reason;
use farm_core::result::{CheckReport, CommitResult, Verdict};
use farm_core::service::Phase;
use farm_core::task::{Check, CheckKind, Expectation};
use farm_git::exports::SharedTree;
use farm_git::objects::{Content, FileWrite, NewFile};
use farm_sandbox::{ChangeKind, Command, SCRATCH_DIR, SandboxError, Workspace, WorkspaceError};
use globset::{Glob, GlobSetBuilder};
use tokio_util::sync::CancellationToken;

pub use self::cache::BaseResults;
use self::evidence::Evidence;
use self::judge::Judged;
use crate::attempt::{Setback, obey_policy};
use crate::base::{Base, blocking, git_trouble};
use crate::kit::Trouble;
use crate::pipeline::{Ending, Job, outline};
use crate::steps::shorten;

/// The largest file that is laid over an export or read back from it, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
/// What a result keeps of one check's output, in bytes.
const MAX_OUTPUT_BYTES: usize = 8 * 1024;

/// Which checks judge this task's patches, fixed by the base commit: a patch cannot change what judges it.
pub struct Plan {
    /// In order: format, lint, test.
    pub checks: Vec<Check>,
    /// `task`, `policy`, a file's name, or `waived`.
    pub found_in: String,
}

impl Plan {
    /// Looks where DESIGN says, in order.
    pub async fn find(job: &Job<'_>, base: &Base) -> Result<Self, Trouble> {
        let readable = base.readable();
        let (task, policy) = (job.run.task.checks.clone(), job.run.repository.checks.clone());
        let found = tokio::task::spawn_blocking(move || find::find(task, policy, &readable))
            .await
            .map_err(|error| Trouble::new(Reason::Internal, error))?;
        let mut found = found.map_err(|error| Trouble::new(Reason::NoChecks, error))?;
        found.checks.sort_by_key(|check| check.kind);
        Ok(Self { checks: found.checks, found_in: found.found_in })
    }
}

/// A patch that passed its checks. The tree may differ from the proposed one by what format checks rewrote.
pub struct Checked {
    /// The tree that was checked.
    pub tree: Oid,
    /// Its difference from the base.
    pub delta: TreeDelta,
    /// What the checks showed.
    pub reports: Vec<CheckReport>,
    /// The sandbox's tier, empty if nothing ran.
    pub sandbox: &'static str,
}

/// Runs the plan over a proposed tree and stops at the first check that is red.
pub async fn run(
    job: &Job<'_>,
    base: &Base,
    plan: &Plan,
    mut tree: Oid,
    mut delta: TreeDelta,
) -> Result<Checked, Setback> {
    let mut reports = Vec::new();
    if plan.checks.is_empty() {
        return Ok(Checked { tree, delta, reports, sandbox: "" });
    }
    let sandbox = job.kit.sandbox.tier().as_str();
    let lower = shared_tree(job, base, &base.tree).await?;
    let mut bench = Bench::new(job, base, &lower).await?;
    for check in &plan.checks {
        bench.lay(&delta).await?;
        let report = one(job, base, plan, check, &bench, &delta).await?;
        let good = report.verdict.is_good() || report.verdict == Verdict::NotRun && !must_run(check);
        let (reason, detail) = (red_reason(report.verdict), feedback(&report));
        reports.push(report);
        if !good {
            return Err(Setback { reports, sandbox, ..Setback::new(reason, detail) });
        }
        if check.kind == CheckKind::Format
            && let Some(formatted) = bench.formatted(&tree, &delta).await?
        {
            (tree, delta) = formatted;
            obey_policy(job, base, &delta)?;
            // What is checked from here on is what will be pushed.
            bench = Bench::new(job, base, &lower).await?;
        }
    }
    Ok(Checked { tree, delta, reports, sandbox })
}

/// Tasks of kind `test`: the checks of a commit, compared with its first parent.
pub async fn report(job: &Job<'_>, commit: &Base) -> Result<Ending, Trouble> {
    let (objects, oid) = (commit.objects.clone(), commit.commit.clone());
    let parent = blocking(move || Ok(objects.parents_of(&oid)?.into_iter().next())).await?;
    let (objects, tree) = (commit.objects.clone(), commit.tree.clone());
    let (base_tree, delta) = blocking(move || {
        let base = match parent {
            Some(parent) => objects.tree_of(&parent)?,
            None => objects.empty_tree()?,
        };
        let delta = objects.delta(&base, &tree)?;
        Ok((base, delta))
    })
    .await?;
    let base = Base { tree: base_tree, ..commit.clone() };
    let plan = Plan::find(job, &base).await?;
    let plan = Plan {
        // A pushed tree is judged as it is: formatting it would judge another one.
        checks: plan.checks.into_iter().filter(|check| check.kind != CheckKind::Format).collect(),
        ..plan
    };
    let checked = run(job, &base, &plan, commit.tree.clone(), delta.clone()).await;
    let (reason, notes, reports, sandbox) = match checked {
        Ok(checked) => (Reason::Ok, Vec::new(), checked.reports, checked.sandbox),
        Err(setback) if setback.reason.class() == farm_core::reason::Class::NoBlame => {
            return Err(Trouble::new(setback.reason, setback.detail));
        }
        Err(setback) => (setback.reason, vec![setback.detail], setback.reports, setback.sandbox),
    };
    Ok(Ending::Result(Box::new(CommitResult {
        tree: Some(commit.tree.clone()),
        delta_digest: Some(delta.digest()),
        attempts: 1,
        checks: reports,
        checks_from: plan.found_in,
        sandbox: sandbox.to_owned(),
        ..outline(job, reason, notes)
    })))
}

/// One check over the laid tree, against its expectation.
async fn one(
    job: &Job<'_>,
    base: &Base,
    plan: &Plan,
    check: &Check,
    bench: &Bench<'_>,
    delta: &TreeDelta,
) -> Result<CheckReport, Setback> {
    let step = job.steps.begin(Phase::Check);
    let touched = touched(check, delta)?;
    let judged = match &touched {
        Some(files) => judge_check(job, base, check, bench, delta, files).await?,
        None => Judged::not_run("the patch touches none of its files"),
    };
    let report = CheckReport {
        name: check.name.clone(),
        kind: check.kind,
        expect: check.expect,
        verdict: judged.verdict,
        exit_code: judged.exit_code,
        duration_ms: judged.duration_ms,
        tests: judged.tests,
        new_failures: judged.new_failures.iter().map(|line| job.redactor.clean(line)).collect(),
        output: shorten(&job.redactor.clean(&judged.output), MAX_OUTPUT_BYTES),
        found_in: plan.found_in.clone(),
    };
    let labels = [check.kind.name(), report.verdict.name()];
    job.kit.metrics.check_runs.with_label_values(&labels).inc();
    job.kit.metrics.check_seconds.with_label_values(&labels).observe(report.duration_ms as f64 / 1000.0);
    job.steps.end(step, format!("{}: {}", check.name, report.verdict.name()), &report.output);
    Ok(report)
}

async fn judge_check(
    job: &Job<'_>,
    base: &Base,
    check: &Check,
    bench: &Bench<'_>,
    delta: &TreeDelta,
    files: &[OsString],
) -> Result<Judged, Setback> {
    let now = bench.execute(check, files).await?;
    match check.expect {
        Expectation::FailThenPass => {
            let before = before_the_fix(job, base, check, bench.lower, delta).await?;
            Ok(judge::fail_then_pass(now, &before))
        }
        Expectation::Pass if now.is_green() => Ok(judge::alone(now)),
        Expectation::NoWorse if now.is_green() && !now.ran_nothing => Ok(judge::alone(now)),
        Expectation::Pass => again(check, bench, files, now, None).await,
        Expectation::NoWorse => {
            let before = on_base(job, base, check, bench.lower, files).await?;
            again(check, bench, files, now, Some(&before)).await
        }
    }
}

/// A red test that turns green on an unchanged rerun is flaky, and said so.
async fn again(
    check: &Check,
    bench: &Bench<'_>,
    files: &[OsString],
    now: Evidence,
    before: Option<&Evidence>,
) -> Result<Judged, Setback> {
    let judged = judge::against(now, before);
    if judged.verdict != Verdict::Fail || check.kind != CheckKind::Test {
        return Ok(judged);
    }
    let rerun = bench.execute(check, files).await?;
    Ok(if rerun.is_green() && !rerun.ran_nothing { judged.flaky() } else { judged })
}

/// What the check shows on the base; asked once for each (tree, check, environment).
async fn on_base(
    job: &Job<'_>,
    base: &Base,
    check: &Check,
    lower: &SharedTree,
    files: &[OsString],
) -> Result<Evidence, Setback> {
    let existing: Vec<OsString> =
        files.iter().filter(|file| lower.path().join(file).is_file()).cloned().collect();
    if !files.is_empty() && existing.is_empty() && uses_files(check) {
        return Ok(Evidence::nothing());
    }
    let key = cache::key(&base.tree, check, &existing, &job.kit.settings.environment);
    if let Some(known) = job.kit.base_results.get(&key) {
        return Ok(known);
    }
    let bench = Bench::new(job, base, lower).await?;
    let evidence = bench.execute(check, &existing).await?;
    job.kit.base_results.put(&key, &evidence);
    Ok(evidence)
}

/// The base with only the patch's test files laid over it: there the check must be red.
async fn before_the_fix(
    job: &Job<'_>,
    base: &Base,
    check: &Check,
    lower: &SharedTree,
    delta: &TreeDelta,
) -> Result<Evidence, Setback> {
    let tests: Vec<PathChange> =
        delta.changes.iter().filter(|change| find::is_test_file(&change.path.to_string())).cloned().collect();
    let tests = TreeDelta { changes: tests };
    let mut bench = Bench::new(job, base, lower).await?;
    bench.lay(&tests).await?;
    let files = touched(check, &tests)?.unwrap_or_default();
    bench.execute(check, &files).await
}

/// Under `no_worse` a check that ran nothing here and on the base says nothing; the others ask for proof.
fn must_run(check: &Check) -> bool {
    check.expect != Expectation::NoWorse
}

fn red_reason(verdict: Verdict) -> Reason {
    if verdict == Verdict::NotRun { Reason::CheckNotRun } else { Reason::ChecksFailed }
}

/// What tells most: the names of what fails, then the end of the output.
fn feedback(report: &CheckReport) -> String {
    let mut text = format!("check {} ({}): {}", report.name, report.kind.name(), report.verdict.name());
    if !report.new_failures.is_empty() {
        text += &format!("\nnew failures:\n{}", report.new_failures.join("\n"));
    }
    format!("{text}\noutput:\n{}", report.output)
}

fn uses_files(check: &Check) -> bool {
    check.argv.iter().any(|argument| argument == "{files}")
}

/// The touched files that the check is about, as they are in the patched tree; `None` if it is about none of them.
fn touched(check: &Check, delta: &TreeDelta) -> Result<Option<Vec<OsString>>, Setback> {
    let mut globs = GlobSetBuilder::new();
    for glob in &check.files {
        let glob = Glob::new(glob)
            .map_err(|error| Setback::new(Reason::TaskInvalid, format!("check {}: {error}", check.name)))?;
        globs.add(glob);
    }
    let globs = globs
        .build()
        .map_err(|error| Setback::new(Reason::TaskInvalid, format!("check {}: {error}", check.name)))?;
    let files: Vec<OsString> = delta
        .changes
        .iter()
        .filter(|change| {
            matches!(&change.new, Some(new) if matches!(new.mode, FileMode::Regular | FileMode::Executable))
        })
        .map(|change| OsStr::from_bytes(&change.path.0).to_owned())
        .filter(|path| check.files.is_empty() || globs.is_match(path))
        .collect();
    let about_none = files.is_empty() && (uses_files(check) || !check.files.is_empty());
    Ok((!about_none).then_some(files))
}

/// A workspace over a base tree, with a patch laid over it.
struct Bench<'a> {
    job: &'a Job<'a>,
    base: &'a Base,
    lower: &'a SharedTree,
    workspace: Workspace,
}

impl<'a> Bench<'a> {
    async fn new(job: &'a Job<'a>, base: &'a Base, lower: &'a SharedTree) -> Result<Self, Setback> {
        let workspace =
            Workspace::create(&job.kit.sandbox, lower.path(), job.slot).await.map_err(workspace_trouble)?;
        Ok(Self { job, base, lower, workspace })
    }

    /// Makes the tree what it should be, whatever a check before did to it; build leftovers may stay.
    async fn lay(&mut self, delta: &TreeDelta) -> Result<(), Setback> {
        for change in self.workspace.changes().await.map_err(workspace_trouble)? {
            let patched = delta.changes.iter().any(|patched| as_path(patched) == change.path);
            if change.kind != ChangeKind::Added && !patched {
                let (objects, tree) = (self.base.objects.clone(), self.base.tree.clone());
                let path = farm_core::delta::RepoPath(change.path.as_os_str().as_bytes().to_vec());
                let blob = blocking(move || objects.read(&tree, &path, MAX_FILE_BYTES)).await?;
                if let Some((content, mode)) = blob.and_then(|blob| Some((blob.content?, blob.mode))) {
                    self.workspace
                        .put(&change.path, content, permissions(mode))
                        .await
                        .map_err(workspace_trouble)?;
                }
            }
        }
        for change in &delta.changes {
            let path = as_path(change);
            match &change.new {
                Some(new) => {
                    let (objects, oid) = (self.base.objects.clone(), new.oid.clone());
                    let content = blocking(move || objects.blob(&oid, MAX_FILE_BYTES)).await?;
                    let content =
                        content.ok_or_else(|| Setback::new(Reason::TooLarge, change.path.clone()))?;
                    self.workspace.put(&path, content, permissions(new.mode)).await
                }
                None => match self.workspace.delete(&path).await {
                    Err(WorkspaceError::NotFound { .. }) => Ok(()),
                    deleted => deleted,
                },
            }
            .map_err(workspace_trouble)?;
        }
        Ok(())
    }

    /// Runs the check's command and reads what it showed.
    async fn execute(&self, check: &Check, files: &[OsString]) -> Result<Evidence, Setback> {
        let argv = check.argv.iter().flat_map(|argument| match argument.as_str() {
            "{files}" => files.to_vec(),
            _ => vec![OsString::from(argument)],
        });
        let mut command = command(argv, check.timeout());
        command.capture_stdout = evidence::wants_stdout(check);
        let run = self.job.kit.sandbox.run(&command, &self.workspace, &CancellationToken::new()).await;
        let finished = match run {
            Ok(finished) => finished,
            Err(SandboxError::ProgramNotFound { program }) => return Ok(Evidence::no_program(&program)),
            Err(error) => return Err(sandbox_trouble(error)),
        };
        let junit = match &check.junit {
            Some(path) => self.workspace.read(Path::new(path), evidence::MAX_REPORT_BYTES).await.ok(),
            None => None,
        };
        Ok(evidence::read(check, &finished, junit.as_deref()))
    }

    /// What a format check made of the touched files; `None` if it left them as they were. Other files do not count.
    async fn formatted(&self, tree: &Oid, delta: &TreeDelta) -> Result<Option<(Oid, TreeDelta)>, Setback> {
        let mut writes = Vec::new();
        for change in &delta.changes {
            let Some(new) = &change.new else { continue };
            let content = match self.workspace.read(as_path(change), MAX_FILE_BYTES).await {
                Ok(content) => content,
                // The command removed it, or made it something else: that is not formatting.
                Err(WorkspaceError::NotFound { .. } | WorkspaceError::NotAFile { .. }) => continue,
                Err(error) => return Err(workspace_trouble(error)),
            };
            writes.push(FileWrite {
                path: change.path.clone(),
                new: Some(NewFile { content: Content::Bytes(content), mode: new.mode }),
            });
        }
        let (objects, base, old) = (self.base.objects.clone(), self.base.tree.clone(), tree.clone());
        let formatted = blocking(move || {
            let tree = objects.apply(&old, &writes)?;
            Ok(if tree == old { None } else { Some((objects.delta(&base, &tree)?, tree)) })
        })
        .await?;
        Ok(formatted.map(|(delta, tree)| (tree, delta)))
    }
}

fn as_path(change: &PathChange) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&change.path.0))
}

fn permissions(mode: FileMode) -> u32 {
    if mode == FileMode::Executable { 0o755 } else { 0o644 }
}

/// A command as checks and strategies run it: build output goes to the scratch folder, where it is no change of the tree.
pub fn command<I>(argv: I, wall: Duration) -> Command
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut command = Command::new(argv);
    command.limits.wall = wall;
    for (name, value) in [
        ("CI", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("CARGO_TARGET_DIR", format!("{SCRATCH_DIR}/target")),
        ("GOCACHE", format!("{SCRATCH_DIR}/go-build")),
    ] {
        command.env.insert(name.into(), value.into());
    }
    command
}

/// The base tree on disk, shared by all who check against it.
pub async fn shared_tree(job: &Job<'_>, base: &Base, tree: &Oid) -> Result<Arc<SharedTree>, Setback> {
    let shared = job.kit.exports.shared(&base.objects, tree).await;
    Ok(shared.map_err(git_trouble)?)
}

/// Whose fault a failure of the sandbox is.
pub fn sandbox_trouble(error: SandboxError) -> Setback {
    let reason = match &error {
        SandboxError::InvalidCommand { .. } | SandboxError::ProgramNotFound { .. } => Reason::CommandFailed,
        SandboxError::NotStarted { .. } => Reason::CommandFailed,
        SandboxError::Setup { .. } | SandboxError::Io { .. } => Reason::SandboxUnavailable,
    };
    Setback::new(reason, error)
}

/// Whose fault a failure of the workspace is: paths come from patches and commands.
pub fn workspace_trouble(error: WorkspaceError) -> Setback {
    let reason = match &error {
        WorkspaceError::InvalidPath { .. } => Reason::PathInvalid,
        WorkspaceError::ThroughLink { .. } => Reason::SymlinkForbidden,
        WorkspaceError::TooLarge { .. } | WorkspaceError::TooManyChanges { .. } => Reason::TooLarge,
        WorkspaceError::NotAFolder { .. }
        | WorkspaceError::NotFound { .. }
        | WorkspaceError::NotAFile { .. } => Reason::CommandFailed,
        WorkspaceError::Io { .. } => Reason::SandboxUnavailable,
    };
    Setback::new(reason, error)
}
