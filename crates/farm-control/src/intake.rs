//! What is asked of the farm becomes a change: from the API, the page, the command line or the topic `change-requests`.

use std::sync::Arc;

use farm_core::delta::sha256;
use farm_core::id::{ChangeId, TaskId};
use farm_core::task::{ChangeRequest, CodingTask};
use farm_kafka::{Consumer, KafkaError};
use farm_store::{Accepted, NewChange, NewTask};
use farm_wire::record::{self, Decoded, TYPE_TASK};
use farm_wire::{Message, v1};
use tokio_util::sync::CancellationToken;

use crate::control::{Control, ControlError};

/// The most tasks of one change.
const MAX_TASKS: usize = 20_000;

impl Control {
    /// Accepts a request. The same id with the same content is the same change.
    pub async fn submit(&self, request: ChangeRequest, actor: &str) -> Result<ChangeId, ControlError> {
        let refused = |detail: String| ControlError::Refused { what: "the change request", detail };
        if request.goal.trim().is_empty() {
            return Err(refused("expected a goal, found none".to_owned()));
        }
        if request.tasks.len() > MAX_TASKS {
            return Err(refused(format!(
                "expected at most {MAX_TASKS} tasks, found {}",
                request.tasks.len()
            )));
        }
        let name = request
            .repository
            .clone()
            .or_else(|| self.settings.default_repository.clone())
            .ok_or_else(|| refused("expected a repository, found none and no default".to_owned()))?;
        let repository = self.repository(&name).await?;
        let mut others = request.tasks.iter().filter_map(|task| task.repository.as_ref());
        if let Some(other) = others.find(|other| **other != name) {
            return Err(refused(format!(
                "expected tasks of {name}, found one of {other}: a change has one repository"
            )));
        }
        if request.tasks.is_empty() && self.model.is_none() {
            return Err(refused(
                "expected tasks, since no model is configured that could plan them".to_owned(),
            ));
        }
        let id = match &request.id {
            Some(id) => id.clone(),
            None => fresh_change_id()?,
        };
        let mut tasks = Vec::with_capacity(request.tasks.len());
        for task in &request.tasks {
            tasks.push(self.new_task(&id, &request, task).await?);
        }
        let content = serde_json::to_value(&request)
            .map_err(|error| refused(format!("it cannot be stored: {error}")))?;
        let change = NewChange {
            id: id.clone(),
            repository: name,
            target: repository.target,
            goal: request.goal,
            source: request.source,
            risk: request.risk,
            priority: request.priority,
            request: content,
            tasks,
        };
        match self.store.accept_change(change, actor, self.now_ms()).await? {
            Accepted::New | Accepted::Same => Ok(id),
            Accepted::OtherContent { detail } => Err(refused(detail)),
        }
    }

    /// A task of a change: it inherits what it does not say itself.
    pub(crate) async fn new_task(
        &self,
        change: &ChangeId,
        request: &ChangeRequest,
        task: &CodingTask,
    ) -> Result<NewTask, ControlError> {
        let mut task = task.clone();
        task.change = Some(change.clone());
        task.repository = task.repository.or_else(|| request.repository.clone());
        task.risk = task.risk.max(request.risk);
        if task.priority == 0 {
            task.priority = request.priority;
        }
        if task.source.is_empty() {
            task.source.clone_from(&request.source);
        }
        self.own_task(&task).await
    }

    /// A task that the farm itself makes, admitted like any other.
    pub(crate) async fn own_task(&self, task: &CodingTask) -> Result<NewTask, ControlError> {
        let (payload, _) = record::encode(task);
        let raw = farm_core::service::RawRecord { kind: Some(TYPE_TASK.to_owned()), payload };
        match record::decode(&raw, self.settings.max_record_bytes) {
            Ok(Decoded::Task(offered)) => Ok(self.admit(*offered).await?.0),
            Ok(Decoded::Bundle(_)) => {
                Err(ControlError::Refused { what: "a task", detail: "it reads as a bundle".to_owned() })
            }
            Err(rejected) => Err(ControlError::Refused { what: "a task", detail: rejected.detail }),
        }
    }
}

/// Short enough that the ids of its tasks stay readable.
fn fresh_change_id() -> Result<ChangeId, ControlError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let refused = |error: farm_core::id::InvalidId| ControlError::Refused {
        what: "a fresh change id",
        detail: error.to_string(),
    };
    ChangeId::new(format!("c{}", &id[..11])).map_err(refused)
}

/// The id of a task that belongs to `change`, unique in it by `suffix`; long change ids are shortened by their hash.
pub(crate) fn task_id(change: &ChangeId, suffix: &str) -> Result<TaskId, ControlError> {
    let long = format!("{change}-{suffix}");
    let id = TaskId::new(long)
        .or_else(|_| TaskId::new(format!("c{}-{suffix}", &sha256(change.as_str().as_bytes())[..16])));
    id.map_err(|error| ControlError::Refused { what: "a task id", detail: error.to_string() })
}

/// Reads the topic of requests until told to stop. A request that cannot be accepted is told in the log and passed over:
/// it is news of a wish, and who wished has the API for an answer.
pub async fn run(control: Arc<Control>, consumer: Consumer, stop: CancellationToken) {
    loop {
        let record = tokio::select! {
            () = stop.cancelled() => break,
            record = consumer.recv() => record,
        };
        let record = match record {
            Ok(record) => record,
            Err(error @ (KafkaError::Fatal { .. } | KafkaError::Closed)) => {
                tracing::error!(%error, "no more change requests are read");
                break;
            }
            Err(error) => {
                tracing::warn!(%error, "change requests cannot be read at present");
                continue;
            }
        };
        let wire = v1::ChangeRequest::decode(record.payload.as_deref().unwrap_or_default());
        let request = match wire
            .map_err(|e| e.to_string())
            .and_then(|wire| ChangeRequest::try_from(wire).map_err(|error| error.to_string()))
        {
            Ok(mut request) => {
                if request.id.is_none() {
                    // A record that comes again must be the same change. Hexadecimal digits always make an id.
                    let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
                    request.id = ChangeId::new(format!("k{}", &sha256(place.as_bytes())[..15])).ok();
                }
                request
            }
            Err(error) => {
                tracing::warn!(
                    partition = record.partition,
                    offset = record.offset,
                    error,
                    "no change request"
                );
                consumer.commit(&record.topic, record.partition, record.offset);
                continue;
            }
        };
        loop {
            match control.submit(request.clone(), "kafka").await {
                Ok(change) => tracing::info!(%change, "accepted from kafka"),
                Err(ControlError::Store(error)) => {
                    tracing::error!(%error, "a change request waits for the store");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    if stop.is_cancelled() {
                        return consumer.close().await;
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(partition = record.partition, offset = record.offset, %error, "not accepted");
                }
            }
            break;
        }
        consumer.commit(&record.topic, record.partition, record.offset);
    }
    consumer.close().await;
}
