//! The life of one run, as DESIGN §4 lists it: base tree, context, then attempts (strategy, patch, policy, checks) until one
//! holds, then prepare, push, complete.

use farm_core::reason::{Class, Reason};
use farm_core::redact::Redactor;
use farm_core::result::{CommitResult, Status};
use farm_core::service::{Phase, Run};
use farm_core::task::{Strategy, Yield};

use crate::attempt::{self, Candidate, Setback};
use crate::base::{self, Base};
use crate::checks::{self, Plan};
use crate::context;
use crate::finish;
use crate::kit::{Kit, Trouble};
use crate::steps::Steps;
use crate::strategy::{self, Proposer};
use crate::tending::Tending;

/// One run and all that it goes about with.
pub struct Job<'a> {
    /// What all runs share.
    pub kit: &'a Kit,
    /// What is to be done.
    pub run: &'a Run,
    /// Which slot of the worker it has; its commands run as that slot's user.
    pub slot: u32,
    /// Its lease and purse.
    pub tending: &'a Tending,
    /// Its timeline.
    pub steps: &'a Steps,
    /// Knows every secret that may come near it.
    pub redactor: &'a Redactor,
}

/// What the run leaves to be completed: the result, encoded where it was prepared so.
pub enum Ending {
    /// To be completed as it is.
    Result(Box<CommitResult>),
    /// Prepared and pushed; these very bytes are what control expects.
    Prepared {
        /// The encoded result.
        bytes: Vec<u8>,
        /// The same, for metrics.
        status: Status,
    },
}

/// Runs the task to its end. An error is a run that ends without a result of its own making: [`finish::settle`] reads its
/// reason.
pub async fn run(job: &Job<'_>) -> Result<Ending, Trouble> {
    if let Some(ending) = finish::adopt_earlier_push(job).await? {
        return Ok(ending);
    }
    match job.run.task.kind.yields() {
        Yield::Patch => patch(job).await,
        Yield::Report => strategy::report(job, &fetch(job).await?).await,
        Yield::Checks => checks::report(job, &fetch(job).await?).await,
    }
}

async fn fetch(job: &Job<'_>) -> Result<Base, Trouble> {
    let step = job.steps.begin(Phase::Base);
    let base = base::fetch(job.kit, job.run).await;
    match &base {
        Ok(base) => job.steps.end(step, format!("base {} of {}", base.commit, job.run.repository.name), ""),
        Err(trouble) => job.steps.end(step, "no base", trouble.to_string()),
    }
    base
}

async fn patch(job: &Job<'_>) -> Result<Ending, Trouble> {
    let base = fetch(job).await?;
    let plan = Plan::find(job, &base).await?;
    let context = match job.run.task.strategy {
        Strategy::SingleShot => context::gather(job.kit, job.run, &base, job.steps).await,
        Strategy::Command { .. } => context::Gathered { source: "none", ..Default::default() },
    };
    let mut proposer = Proposer::new(job, &base, context);
    let n_attempts = proposer.max_attempts();
    let mut setbacks: Vec<Setback> = Vec::new();
    for attempt in 1..=n_attempts {
        job.steps.attempt(attempt);
        let judged = match proposer.propose(&setbacks).await {
            Ok(proposal) => attempt::judge(job, &base, &plan, proposal).await,
            Err(setback) => Err(setback),
        };
        count(job, &judged);
        match judged {
            Ok(candidate) => {
                let result = success(job, &plan, &proposer, &candidate, attempt);
                return finish::push(job, &base, candidate, result).await;
            }
            Err(setback) if may_try_again(&setback, &setbacks) => setbacks.push(setback),
            Err(setback) => return failure(job, &plan, &proposer, setback, attempt),
        }
    }
    match setbacks.pop() {
        Some(setback) => failure(job, &plan, &proposer, setback, n_attempts),
        None => Err(Trouble::new(Reason::Internal, "no attempt was made")),
    }
}

/// Harmless denials are fed back once; the second one shows that the model will not listen (C10).
fn may_try_again(setback: &Setback, earlier: &[Setback]) -> bool {
    match setback.reason.class() {
        Class::FeedBack => true,
        Class::FeedBackOnce => earlier.iter().all(|setback| setback.reason.class() != Class::FeedBackOnce),
        Class::Good | Class::Hard | Class::NoBlame => false,
    }
}

fn count(job: &Job<'_>, judged: &Result<Candidate, Setback>) {
    let (outcome, reason) = match judged {
        Ok(_) => ("success", Reason::Ok),
        Err(setback) => ("fail", setback.reason),
    };
    job.kit.metrics.patches.with_label_values(&[outcome]).inc();
    job.kit.metrics.attempts.with_label_values(&[reason.code()]).inc();
}

/// What every result says, however it ended.
pub fn outline(job: &Job<'_>, reason: Reason, notes: Vec<String>) -> CommitResult {
    CommitResult {
        change: job.run.task.change.clone(),
        repository: Some(job.run.repository.name.clone()),
        base: Some(job.run.base.clone()),
        usage: job.tending.spent(),
        token: job.run.token,
        duration_ms: job.kit.clock.now_ms().saturating_sub(job.run.first_begin_ms),
        ..CommitResult::ended(
            job.run.task.id.clone(),
            reason,
            notes.iter().map(|note| job.redactor.clean(note)).collect(),
        )
    }
}

fn success(
    job: &Job<'_>,
    plan: &Plan,
    proposer: &Proposer<'_>,
    candidate: &Candidate,
    attempt: u32,
) -> CommitResult {
    CommitResult {
        branch: Some(job.run.task.id.branch()),
        tree: Some(candidate.tree.clone()),
        delta_digest: Some(candidate.delta.digest()),
        attempts: attempt,
        checks: candidate.reports.clone(),
        checks_from: plan.found_in.clone(),
        sandbox: candidate.sandbox.to_owned(),
        context: proposer.context_source().to_owned(),
        model: proposer.model().to_owned(),
        prompt_hash: proposer.prompt_hash().to_owned(),
        symbols: candidate.delta.changes.iter().map(|change| change.path.to_string()).collect(),
        suggested_checks: candidate.suggested_checks.clone(),
        ..outline(job, Reason::Ok, candidate.notes.clone())
    }
}

fn failure(
    job: &Job<'_>,
    plan: &Plan,
    proposer: &Proposer<'_>,
    setback: Setback,
    attempt: u32,
) -> Result<Ending, Trouble> {
    if setback.reason.class() == Class::NoBlame {
        return Err(Trouble { reason: setback.reason, detail: setback.detail });
    }
    Ok(Ending::Result(Box::new(CommitResult {
        attempts: attempt,
        checks: setback.reports,
        checks_from: plan.found_in.clone(),
        sandbox: setback.sandbox.to_owned(),
        context: proposer.context_source().to_owned(),
        model: proposer.model().to_owned(),
        prompt_hash: proposer.prompt_hash().to_owned(),
        ..outline(job, setback.reason, vec![setback.detail])
    })))
}
