//! One proposed patch and what becomes of it: tree, policy, checks (steps 5 to 7). All in memory until commands need files.

use farm_core::delta::{FileMode, RepoPath, TreeDelta};
use farm_core::id::Oid;
use farm_core::reason::Reason;
use farm_core::result::CheckReport;
use farm_core::service::Phase;
use farm_git::objects::{Content, FileWrite, NewFile};
use farm_patch::{Outcome, Patch, Tier};

use crate::base::{Base, Readable, blocking};
use crate::checks::{self, Plan};
use crate::kit::Trouble;
use crate::pipeline::Job;

/// What a strategy proposes.
pub struct Proposal {
    /// The edits.
    pub form: Form,
    /// Commands that the model suggests as proof.
    pub suggested_checks: Vec<String>,
}

/// How a proposal names its edits.
pub enum Form {
    /// A model's reply, for the patch engine to read.
    Reply(String),
    /// Files as a command left them.
    Files(Vec<FileWrite>),
}

/// A patch that holds.
pub struct Candidate {
    /// The tree that was checked, and no other (I2).
    pub tree: Oid,
    /// Its difference from the base.
    pub delta: TreeDelta,
    /// What the checks showed.
    pub reports: Vec<CheckReport>,
    /// The sandbox's tier, empty if nothing ran.
    pub sandbox: &'static str,
    /// How the patch was read, where that is worth a word.
    pub notes: Vec<String>,
    /// Commands that the model suggests as proof.
    pub suggested_checks: Vec<String>,
}

/// A patch that does not hold, and why: data for the next attempt, or the task's end.
#[derive(Debug, Clone)]
pub struct Setback {
    /// The reason.
    pub reason: Reason,
    /// For the model and for people.
    pub detail: String,
    /// What the checks showed, if it came so far.
    pub reports: Vec<CheckReport>,
    /// The sandbox's tier, empty if nothing ran.
    pub sandbox: &'static str,
}

impl Setback {
    /// Without reports.
    pub fn new(reason: Reason, detail: impl std::fmt::Display) -> Self {
        Self { reason, detail: detail.to_string(), reports: Vec::new(), sandbox: "" }
    }
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Self::new(trouble.reason, trouble.detail)
    }
}

/// Applies, judges and checks one proposal.
pub async fn judge(
    job: &Job<'_>,
    base: &Base,
    plan: &Plan,
    proposal: Proposal,
) -> Result<Candidate, Setback> {
    let (writes, notes) = match proposal.form {
        Form::Reply(reply) => read_reply(job, base, reply).await?,
        Form::Files(writes) => (writes, Vec::new()),
    };
    if let Some(path) = leaks(job, &writes) {
        return Err(Setback::new(Reason::SecretFound, format!("{path} holds a registered secret")));
    }
    let (tree, delta) = apply(base, writes).await?;
    obey_policy(job, base, &delta)?;
    let checked = checks::run(job, base, plan, tree, delta).await?;
    let lines = checked.delta.changes.len();
    job.kit.metrics.patch_lines.observe(lines as f64);
    Ok(Candidate {
        tree: checked.tree,
        delta: checked.delta,
        reports: checked.reports,
        sandbox: checked.sandbox,
        notes,
        suggested_checks: proposal.suggested_checks,
    })
}

/// Step 5: the reply, applied in memory, all or nothing.
async fn read_reply(
    job: &Job<'_>,
    base: &Base,
    reply: String,
) -> Result<(Vec<FileWrite>, Vec<String>), Setback> {
    let step = job.steps.begin(Phase::Patch);
    let (source, path) = (base.readable(), job.run.task.path.clone());
    let applied = tokio::task::spawn_blocking(move || apply_reply(&source, &reply, path.as_deref()))
        .await
        .map_err(|error| Setback::new(Reason::Internal, format!("the patch engine ended early: {error}")))?;
    match applied {
        Ok(Outcome::Applied(patch)) => {
            let notes = relaxations(&patch);
            let paths: Vec<&str> = patch.files.iter().map(|file| file.path.as_str()).collect();
            job.steps.end(step, format!("applied to {}", paths.join(", ")), notes.join("\n"));
            Ok((patch.files.into_iter().flat_map(writes_of).collect(), notes))
        }
        Ok(Outcome::Unchanged(paths)) => {
            let detail = format!("{} already read as the reply wants them", paths.join(", "));
            job.steps.end(step, "nothing to change", &detail);
            Err(Setback::new(Reason::NoChange, detail))
        }
        Err(refusal) => {
            job.kit.metrics.rejected.with_label_values(&[refusal.code.as_str()]).inc();
            let detail = refusal.describe();
            job.steps.end(step, format!("refused: {refusal}"), &detail);
            let reason = match refusal.code {
                farm_patch::Code::NoEdit => Reason::ReplyUnreadable,
                farm_patch::Code::Truncated => Reason::ReplyTruncated,
                farm_patch::Code::NoChange => Reason::NoChange,
                farm_patch::Code::Symlink => Reason::SymlinkForbidden,
                farm_patch::Code::Submodule => Reason::SubmoduleForbidden,
                farm_patch::Code::Mode => Reason::ModeForbidden,
                farm_patch::Code::PathInvalid => Reason::PathInvalid,
                _ => Reason::PatchRefused,
            };
            Err(Setback::new(reason, detail))
        }
    }
}

fn apply_reply(source: &Readable, reply: &str, path: Option<&str>) -> Result<Outcome, farm_patch::Refusal> {
    let limits = farm_patch::Limits::default();
    farm_patch::apply(&farm_patch::Request { reply, path, limits }, source)
}

/// In words, for the result: what had to be forgiven to read the reply.
fn relaxations(patch: &Patch) -> Vec<String> {
    patch
        .files
        .iter()
        .filter(|file| file.tier() > Tier::Moved)
        .map(|file| format!("{}: {}", file.path, file.tier().explain()))
        .collect()
}

/// What one file of a patch means for a tree: a rename is a removal and a new file.
pub fn writes_of(file: farm_patch::FileChange) -> Vec<FileWrite> {
    let path = RepoPath::from(file.path.as_str());
    let mut writes = Vec::new();
    if let (farm_patch::Op::Rename, Some(from)) = (file.op, &file.from) {
        writes.push(FileWrite { path: from.as_str().into(), new: None });
    }
    let mode = match file.mode {
        farm_patch::Mode::Executable => FileMode::Executable,
        farm_patch::Mode::Regular | farm_patch::Mode::Other(_) => FileMode::Regular,
    };
    let new = file.content.map(|content| NewFile { content: Content::Bytes(content), mode });
    writes.push(FileWrite { path, new });
    writes
}

/// A file that would carry a registered secret into a branch (I5).
fn leaks(job: &Job<'_>, writes: &[FileWrite]) -> Option<RepoPath> {
    let mut written = writes.iter().filter_map(|write| match &write.new {
        Some(NewFile { content: Content::Bytes(bytes), .. }) => Some((&write.path, bytes)),
        Some(NewFile { content: Content::Blob(_), .. }) | None => None,
    });
    written.find(|(_, bytes)| job.redactor.finds(bytes)).map(|(path, _)| path.clone())
}

async fn apply(base: &Base, writes: Vec<FileWrite>) -> Result<(Oid, TreeDelta), Setback> {
    let (objects, tree) = (base.objects.clone(), base.tree.clone());
    let (tree, delta) = blocking(move || {
        let new = objects.apply(&tree, &writes)?;
        let delta = objects.delta(&tree, &new)?;
        Ok((new, delta))
    })
    .await?;
    if delta.is_empty() {
        return Err(Setback::new(Reason::NoChange, "the tree is the same as before"));
    }
    Ok((tree, delta))
}

/// Step 6: the policy judges the delta, never the text of a diff.
pub fn obey_policy(job: &Job<'_>, base: &Base, delta: &TreeDelta) -> Result<(), Setback> {
    let step = job.steps.begin(Phase::Policy);
    let denials = base.judge.denials(delta);
    let Some(gravest) = denials.first() else {
        job.steps.end(step, format!("{} paths allowed", delta.changes.len()), "");
        return Ok(());
    };
    for denial in &denials {
        job.kit.metrics.denials.with_label_values(&[denial.reason.code()]).inc();
    }
    let all: Vec<String> = denials.iter().map(ToString::to_string).collect();
    job.steps.end(step, format!("denied: {gravest}"), all.join("\n"));
    Err(Setback::new(gravest.reason, all.join("\n")))
}
