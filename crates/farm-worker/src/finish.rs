//! Steps 8 to 11: leave to push, the push, the one terminal result, the news of it.

use std::time::Duration;

use farm_core::id::Oid;
use farm_core::reason::{Class, Reason};
use farm_core::result::{CommitResult, Status};
use farm_core::service::{GiveBack, Intent, Phase, Prepare, RunRef};
use farm_core::task::Budget;
use farm_git::error::PushError;
use farm_git::objects::{CommitSpec, Trailers};
use farm_wire::{Message, v1};

use crate::attempt::Candidate;
use crate::base::{self, Base, blocking, git_trouble};
use crate::kit::{Kit, Trouble};
use crate::pipeline::{Ending, Job, outline};

/// How long, and how often, a checked patch waits for another task's lease. Two tasks that wait for each other end by this.
const WAIT: Duration = Duration::from_millis(500);
const MAX_WAITS: u32 = 60;
/// How often a push is prepared anew because the branch stood elsewhere.
const MAX_PUSHES: u32 = 3;

/// A run before this one may have pushed what it prepared: then the stored result is completed without a model call.
pub async fn adopt_earlier_push(job: &Job<'_>) -> Result<Option<Ending>, Trouble> {
    let Some(Intent { commit, result, .. }) = &job.run.intent else { return Ok(None) };
    let mirror = base::mirror(job.kit, job.run).await?;
    let tip = mirror.tip(&job.run.task.id.branch()).await.map_err(git_trouble)?;
    if tip.as_ref() != Some(commit) {
        return Ok(None);
    }
    let status = v1::CommitResult::decode(result.as_slice())
        .ok()
        .and_then(|stored| Status::parse(&stored.status))
        .ok_or_else(|| Trouble::new(Reason::Internal, "the stored intent holds no result"))?;
    Ok(Some(Ending::Prepared { bytes: result.clone(), status }))
}

/// Commits the checked tree, asks leave, pushes by compare-and-swap.
pub async fn push(
    job: &Job<'_>,
    base: &Base,
    candidate: Candidate,
    mut result: CommitResult,
) -> Result<Ending, Trouble> {
    let commit = commit(job, base, &candidate.tree, result.attempts).await?;
    result.commit = Some(commit.clone());
    let branch = job.run.task.id.branch();
    // Nothing has pushed this branch before the first run; later ones look.
    let mut old = match job.run.run {
        1 => None,
        _ => base.mirror.tip(&branch).await.map_err(git_trouble)?,
    };
    let bytes = v1::CommitResult::from(&result).encode_to_vec();
    for _ in 0..MAX_PUSHES {
        prepare(job, &candidate, old.clone(), &commit, &bytes).await?;
        let step = job.steps.begin(Phase::Push);
        let pushed = base.mirror.push(&branch, old.as_ref(), &commit).await;
        let outcome = match &pushed {
            Ok(_) => "ok",
            Err(PushError::Stale { .. }) => "stale",
            Err(PushError::Refused { .. }) => "refused",
            Err(PushError::Git(_)) => "error",
        };
        job.kit.metrics.pushes.with_label_values(&[outcome]).inc();
        match pushed {
            Ok(_) => {
                job.steps.end(step, format!("{branch} is at {commit}"), "");
                return Ok(Ending::Prepared { bytes, status: result.status });
            }
            Err(PushError::Stale { found, .. }) => {
                job.steps.end(step, format!("{branch} stands elsewhere"), format!("found {found:?}"));
                old = found;
            }
            Err(error @ PushError::Refused { .. }) => {
                job.steps.end(step, "the remote refuses the push", error.to_string());
                return Err(Trouble::new(Reason::PushRefused, error));
            }
            Err(PushError::Git(error)) => {
                job.steps.end(step, "the push failed", error.to_string());
                return Err(git_trouble(error));
            }
        }
    }
    Err(Trouble::new(Reason::PushRefused, format!("{branch} moved {MAX_PUSHES} times")))
}

/// The commit's time is the task's first Begin, so that the same patch of the same run is the same commit.
async fn commit(job: &Job<'_>, base: &Base, tree: &Oid, attempt: u32) -> Result<Oid, Trouble> {
    let task = &job.run.task;
    let trailers = Trailers {
        task: Some(task.id.clone()),
        change: task.change.clone(),
        base: Some(base.commit.clone()),
        attempt,
        token: job.run.token,
    };
    let spec = CommitSpec {
        tree: tree.clone(),
        parents: vec![base.commit.clone()],
        message: trailers.message(task.kind.as_str(), &task.goal, task.id.as_str()),
        time_s: i64::try_from(job.run.first_begin_ms / 1000).unwrap_or(i64::MAX),
    };
    let objects = base.objects.clone();
    blocking(move || objects.commit(&spec)).await
}

async fn prepare(
    job: &Job<'_>,
    candidate: &Candidate,
    old: Option<Oid>,
    commit: &Oid,
    bytes: &[u8],
) -> Result<(), Trouble> {
    let step = job.steps.begin(Phase::Prepare);
    let prepare = Prepare {
        run: run_ref(job),
        old,
        commit: commit.clone(),
        delta: candidate.delta.clone(),
        symbols: Vec::new(),
        result: bytes.to_vec(),
    };
    let mut waits = 0;
    let since = std::time::Instant::now();
    let waited = |outcome: &str| {
        job.kit
            .metrics
            .lease_wait_seconds
            .with_label_values(&[outcome])
            .observe(since.elapsed().as_secs_f64());
    };
    let denied = loop {
        if !job.tending.holds() {
            return Err(Trouble::new(Reason::LeaseLost, "the lease may have ended before the push"));
        }
        match job.kit.tasks.prepare(&prepare).await {
            Ok(Ok(())) => {
                waited("given");
                job.steps.end(step, "may push", "");
                return Ok(());
            }
            // The patch is good; only its turn has not come. Another run of the model would cost more than waiting.
            Ok(Err(denied)) if denied.reason == Reason::LeaseConflict && waits < MAX_WAITS => {
                waits += 1;
                tokio::time::sleep(WAIT).await;
            }
            Ok(Err(denied)) => {
                waited("denied");
                break denied;
            }
            Err(error) => return Err(Trouble::new(Reason::StoreUnavailable, error)),
        }
    };
    job.steps.end(step, format!("may not push: {}", denied.reason.code()), &denied.detail);
    Err(denied.into())
}

fn run_ref(job: &Job<'_>) -> RunRef {
    RunRef { task: job.run.task.id.clone(), token: job.run.token }
}

/// Ends the run: completes and publishes its result, or gives the task back.
pub async fn settle(job: &Job<'_>, ended: Result<Ending, Trouble>) {
    let (bytes, status) = match ended {
        Ok(Ending::Prepared { bytes, status }) => (bytes, status),
        Ok(Ending::Result(result)) => (v1::CommitResult::from(&*result).encode_to_vec(), result.status),
        Err(trouble) if trouble.reason == Reason::LeaseLost || trouble.reason == Reason::Cancelled => {
            tracing::info!(task = %job.run.task.id, %trouble, "the run stops");
            return;
        }
        Err(trouble) if trouble.reason.class() == Class::NoBlame => return give_back(job, trouble).await,
        Err(trouble) => {
            let result = outline(job, trouble.reason, vec![trouble.detail]);
            (v1::CommitResult::from(&result).encode_to_vec(), result.status)
        }
    };
    let step = job.steps.begin(Phase::Complete);
    match complete(job, &bytes).await {
        Ok(()) => {
            job.steps.end(step, status.as_str(), "");
            count(job, status);
            publish(job.kit, &job.run.task.id, &bytes).await;
        }
        Err(trouble) => {
            tracing::warn!(task = %job.run.task.id, %trouble, "not completed; the sweep will see to it")
        }
    }
    job.steps.flush(Duration::from_secs(2)).await;
}

/// Asks until control answers or the lease has ended; what was prepared is not lost either way.
async fn complete(job: &Job<'_>, bytes: &[u8]) -> Result<(), Trouble> {
    loop {
        match job.kit.tasks.complete(&run_ref(job), bytes).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(denied)) => return Err(denied.into()),
            Err(error) if !job.tending.holds() => return Err(Trouble::new(Reason::StoreUnavailable, error)),
            Err(error) => {
                tracing::warn!(task = %job.run.task.id, %error, "asking again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Publishes a stored result; if that fails, the sweep does it.
pub async fn publish(kit: &Kit, task: &farm_core::id::TaskId, bytes: &[u8]) {
    if let Err(error) = kit.sink.result(task, bytes).await {
        kit.metrics.unpublished.inc();
        tracing::warn!(%task, %error, "the sweep will publish the result");
        return;
    }
    if let Err(error) = kit.tasks.published(task).await {
        tracing::warn!(%task, %error, "published, but control does not know; it will be published again");
    }
}

async fn give_back(job: &Job<'_>, trouble: Trouble) {
    let reason = trouble.reason;
    job.kit.metrics.given_back.with_label_values(&[reason.code()]).inc();
    tracing::warn!(task = %job.run.task.id, %trouble, "given back");
    let spent = job.tending.spent();
    let delay = match reason {
        Reason::WorkerStopping => Duration::ZERO,
        _ => job.kit.settings.give_back_delay,
    };
    let give_back = GiveBack {
        run: run_ref(job),
        reason,
        detail: trouble.detail,
        delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        spent: Budget { tokens: spent.tokens(), cost_micro_usd: spent.cost_micro_usd },
    };
    if let Err(error) = job.kit.tasks.give_back(&give_back).await {
        tracing::warn!(task = %job.run.task.id, %error, "not given back; the lease will end by itself");
    }
}

fn count(job: &Job<'_>, status: Status) {
    let metrics = &job.kit.metrics;
    metrics.tasks.with_label_values(&[status.as_str(), kind_label(job)]).inc();
    let elapsed_ms = job.kit.clock.now_ms().saturating_sub(job.run.first_begin_ms);
    metrics.task_seconds.with_label_values(&[status.as_str()]).observe(elapsed_ms as f64 / 1000.0);
}

/// Kinds are anybody's words: only what they yield is bounded enough for a label.
fn kind_label(job: &Job<'_>) -> &'static str {
    match job.run.task.kind.yields() {
        farm_core::task::Yield::Patch => "patch",
        farm_core::task::Yield::Report => "report",
        farm_core::task::Yield::Checks => "checks",
    }
}
