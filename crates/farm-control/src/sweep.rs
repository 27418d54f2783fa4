//! Puts right what time has made wrong (DESIGN §4, step 12): leases that ran out, results nobody published, branches that
//! must go. All of it may be done twice without harm.

use std::sync::Arc;

use farm_core::id::RepoName;
use farm_store::{Dying, Leftover};
use tokio_util::sync::CancellationToken;

use crate::control::{Control, ControlError};

/// Runs until told to stop.
pub async fn run(control: Arc<Control>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(control.settings.sweep_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = once(&control).await {
            tracing::error!(%error, "the sweep could not finish; it begins anew");
        }
    }
}

/// Puts right once what is wrong by now.
pub async fn once(control: &Control) -> Result<(), ControlError> {
    let swept = control.store.sweep(control.now_ms()).await?;
    for task in &swept.expired {
        control.metrics.leases_expired.inc();
        tracing::warn!(%task, "the lease of its run has ended; it is queued again");
    }
    for task in &swept.ended {
        tracing::warn!(%task, "ended by the sweep");
    }
    for dying in swept.dying {
        let task = dying.task.clone();
        report(&task, "whether its last run pushed", settle(control, dying).await);
    }
    for (task, result) in swept.unpublished {
        match control.publisher.result(&task, result).await {
            Ok(()) => control.store.published(&task, control.now_ms()).await?,
            Err(error) => tracing::warn!(%task, %error, "its result is not published yet"),
        }
    }
    for leftover in swept.leftovers {
        let task = leftover.task.clone();
        report(&task, "whether its branch must go", remove(control, leftover).await);
    }
    Ok(())
}

fn report(task: &farm_core::id::TaskId, what: &str, done: Result<(), ControlError>) {
    if let Err(error) = done {
        tracing::warn!(%task, %error, "cannot find out {what}; the next sweep tries again");
    }
}

/// A task with no run left is dead, unless what it prepared is on its branch.
async fn settle(control: &Control, dying: Dying) -> Result<(), ControlError> {
    let tip = mirror(control, &dying.repository).await?.tip(&dying.task.branch()).await?;
    let landed = tip.as_ref() == Some(&dying.intent.commit);
    control.store.settle_dying(&dying.task, landed, control.now_ms()).await?;
    Ok(())
}

/// Deletes what a run without a result left behind, by compare-and-swap; anything else at that name is not ours.
async fn remove(control: &Control, leftover: Leftover) -> Result<(), ControlError> {
    let mirror = mirror(control, &leftover.repository).await?;
    let branch = leftover.task.branch();
    if let Some(tip) = mirror.tip(&branch).await? {
        if leftover.commits.contains(&tip) {
            control.store.intend_deletion(&leftover.task, &tip, control.now_ms()).await?;
            if let Err(error) = mirror.delete(&branch, &tip).await {
                tracing::warn!(branch, %error, "not deleted; the next sweep looks again");
                return Ok(());
            }
            control.metrics.branches_deleted.inc();
        } else {
            tracing::warn!(branch, %tip, "stands at a commit that no run prepared; it is left alone");
        }
    }
    control.store.branch_gone(&leftover.task).await?;
    Ok(())
}

async fn mirror(control: &Control, repository: &str) -> Result<farm_git::mirror::Mirror, ControlError> {
    let name = RepoName::new(repository).map_err(|error| ControlError::Refused {
        what: "a stored repository name",
        detail: error.to_string(),
    })?;
    control.mirror(&control.repository(&name).await?).await
}
