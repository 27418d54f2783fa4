//! Begin: what a worker does with a record. Whatever has a good id gets a row; the rest is a dead letter.

use farm_core::id::{Oid, RepoName};
use farm_core::reason::Reason;
use farm_core::service::{Begun, DeadReason, RawRecord, Rejected, Repository};
use farm_core::task::CodingTask;
use farm_store::{Accepted, Began, Begin, NewTask, Refusal};
use farm_wire::record::{self, Decoded, Offered};

use crate::control::{Control, ControlError};
use crate::phases::decode_result;

impl Control {
    /// Decides on one record.
    pub async fn begin(
        &self,
        request_id: &str,
        worker: &str,
        record: &RawRecord,
    ) -> Result<Begun, ControlError> {
        match record::decode(record, self.settings.max_record_bytes) {
            Err(rejected) => Ok(Begun::Refused(rejected)),
            Ok(Decoded::Task(offered)) => self.begin_task(request_id, worker, *offered).await,
            Ok(Decoded::Bundle(tasks)) => self.accept_bundle(tasks).await,
        }
    }

    async fn begin_task(
        &self,
        request_id: &str,
        worker: &str,
        offered: Offered,
    ) -> Result<Begun, ControlError> {
        let (new, repository) = self.admit(offered).await?;
        let id = new.task.id.clone();
        let mut begin = Begin {
            request_id: request_id.to_owned(),
            worker: worker.to_owned(),
            offered: new,
            repository: repository.clone(),
            pinned: None,
        };
        let mut began = self.store.begin(begin.clone(), self.now_ms()).await?;
        if let (Began::NeedsBase, Some(repository)) = (&began, &repository) {
            match self.start(&begin.offered.task, repository).await {
                Ok(Some(tip)) => begin.pinned = Some(tip),
                Ok(None) => {
                    let note = format!("{} has no branch {:?}", repository.name, repository.target);
                    let (reason, now_ms) = (Reason::RepositoryEmpty, self.now_ms());
                    self.store.finish_by_control(&id, reason, vec![note], now_ms).await?;
                }
                Err(error) => {
                    tracing::warn!(task = %id, repository = %repository.name, %error, "no base yet");
                    return Ok(Begun::Deferred { refused: Vec::new() });
                }
            }
            began = self.store.begin(begin, self.now_ms()).await?;
        }
        Ok(match began {
            Began::Run(run) => Begun::Run(run),
            Began::Done { result } => Begun::Done { task: id, result },
            Began::Held => Begun::Held,
            Began::Deferred | Began::NeedsBase => Begun::Deferred { refused: Vec::new() },
            Began::Refused(rejected) => Begun::Refused(rejected),
        })
    }

    /// A bundle is exploded into rows in one transaction; none of them runs by this. So order is the store's.
    async fn accept_bundle(&self, tasks: Vec<Result<Offered, Rejected>>) -> Result<Begun, ControlError> {
        let mut refused = Vec::new();
        let mut good = Vec::new();
        for task in tasks {
            match task {
                Ok(offered) => good.push(self.admit(offered).await?.0),
                Err(rejected) => refused.push(rejected),
            }
        }
        let records: Vec<Vec<u8>> = good.iter().map(|new| new.record.clone()).collect();
        let accepted = self.store.accept_bundle(good, self.now_ms()).await?;
        for (accepted, payload) in accepted.into_iter().zip(records) {
            if let Accepted::OtherContent { detail } = accepted {
                refused.push(Rejected { reason: DeadReason::OtherContent, detail, payload });
            }
        }
        Ok(Begun::Deferred { refused })
    }

    /// Fills in the default repository and finds what must keep the task from running.
    pub(crate) async fn admit(
        &self,
        offered: Offered,
    ) -> Result<(NewTask, Option<Repository>), ControlError> {
        let Offered { id, record, digest, task } = offered;
        let (mut task, mut refusal) = match task {
            Ok(task) => (*task, None),
            Err(error) => {
                let refusal = Refusal { reason: Reason::TaskInvalid, note: error.to_string() };
                (CodingTask::new(id, ""), Some(refusal))
            }
        };
        if task.repository.is_none() {
            task.repository.clone_from(&self.settings.default_repository);
        }
        let repository = match &task.repository {
            Some(name) => self.store.repository(name).await?,
            None => None,
        };
        if refusal.is_none() {
            refusal = refuse(&task, repository.as_ref());
        }
        Ok((NewTask { task, record, digest, refusal }, repository))
    }
}

impl Control {
    /// Where a task without a base starts: from what the one task before it made, so that it can build on that; else from
    /// the tip of the target branch.
    async fn start(&self, task: &CodingTask, repository: &Repository) -> Result<Option<Oid>, ControlError> {
        if let [before] = task.after.as_slice()
            && let Some(view) = self.store.task(before).await?
            && view.task.repository == task.repository
            && let Some(commit) =
                view.result.as_deref().and_then(decode_result).and_then(|result| result.commit)
        {
            return Ok(Some(commit));
        }
        self.tip(repository).await
    }
}

/// What keeps a task from running, whatever its worker would find.
fn refuse(task: &CodingTask, repository: Option<&Repository>) -> Option<Refusal> {
    let refusal = |reason, note: String| Some(Refusal { reason, note });
    if task.goal.trim().is_empty() {
        return refusal(Reason::GoalEmpty, "expected words for the model, found none".to_owned());
    }
    if let Some(path) = task.path.as_deref().filter(|path| !is_plain(path)) {
        return refusal(Reason::TaskInvalid, format!("path: expected a plain relative path, found {path:?}"));
    }
    let Some(repository) = repository else {
        let name = task.repository.as_ref().map_or("none", RepoName::as_str);
        return refusal(Reason::RepositoryUnknown, format!("expected a registered repository, found {name}"));
    };
    match repository.policy.judge(&task.scope) {
        Err(error) => refusal(Reason::TaskInvalid, error.to_string()),
        Ok(judge) => judge
            .admits(task.risk)
            .err()
            .map(|denial| Refusal { reason: denial.reason, note: denial.to_string() }),
    }
}

fn is_plain(path: &str) -> bool {
    !path.contains('\\')
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
