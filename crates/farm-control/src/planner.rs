//! Makes a change's tasks from its goal: the model's plan, as validated JSON.

use farm_core::id::ChangeId;
use farm_core::ledger::{Event, Fact};
use farm_core::port::{ModelCall, ModelError};
use farm_core::reason::Reason;
use farm_core::state::ChangeState;
use farm_core::task::{ChangeRequest, CodingTask};
use farm_git::objects::{Objects, blocking};
use farm_model::plan::{self, Plan};
use farm_model::prompt::{self, PlannerInput};
use farm_store::{Accepted, ChangeView};

use crate::control::{Control, ControlError};
use crate::intake::task_id;

/// The most tasks that a plan may have; more is a sign that the goal should be several changes.
const MAX_PLANNED: usize = 20;
/// What the planner's prompt may fill, in tokens of about four bytes.
const CONTEXT_TOKENS: usize = 12_000;

impl Control {
    /// Plans a change, or fails it.
    pub(crate) async fn plan(&self, change: &ChangeView) -> Result<(), ControlError> {
        let files = self.files(change).await?;
        match self.ask_for_plan(change, &files).await? {
            Ok(plan) => self.accept_plan(change, plan).await,
            Err((reason, note)) => {
                let (from, to) = (ChangeState::Plan, ChangeState::Failed);
                let moved =
                    self.store.move_change(&change.id, from, to, Some(reason), vec![note], self.now_ms());
                Ok(moved.await?)
            }
        }
    }

    /// The names of the files at the tip of the target, which is all that the planner sees of the repository.
    async fn files(&self, change: &ChangeView) -> Result<Vec<String>, ControlError> {
        let repository = self.repository(&change.repository).await?;
        let judge = repository
            .policy
            .judge(&[])
            .map_err(|error| ControlError::Refused { what: "the policy", detail: error.to_string() })?;
        let mirror = self.mirror(&repository).await?;
        let tip = mirror.ensure_branch(&repository.target).await?;
        let objects: Objects = mirror.objects();
        let listed = blocking(move || objects.list(&objects.tree_of(&tip)?)).await?;
        let names = listed.iter().filter_map(|file| file.path.as_str()).filter(|path| judge.may_read(path));
        Ok(names.map(str::to_owned).collect())
    }

    /// Asks, and once more if the plan cannot be used.
    async fn ask_for_plan(
        &self,
        change: &ChangeView,
        files: &[String],
    ) -> Result<Result<Plan, (Reason, String)>, ControlError> {
        let Some(model) = &self.model else {
            return Ok(Err((Reason::ModelRefused, "no model is configured that could plan".to_owned())));
        };
        let mut refused = None;
        for _ in 0..2 {
            let prompt = prompt::planner(&PlannerInput {
                goal: &change.goal,
                files,
                snippets: &[],
                rules: &[],
                notes: &change.notes,
                refused: refused.as_ref().map(|(reply, error): &(String, _)| (reply.as_str(), error)),
                max_tasks: MAX_PLANNED,
                context_tokens: CONTEXT_TOKENS,
            });
            let call = ModelCall {
                role: "planner",
                system: prompt.system,
                user: prompt.user,
                form: prompt::planner_form(),
                deadline: self.settings.model_deadline,
            };
            let answer = model.ask(&call).await;
            let (asked, usage) = match &answer {
                Ok(reply) => (reply.model.as_str(), &reply.usage),
                Err(no_reply) => ("", &no_reply.usage),
            };
            let fact = Fact {
                event: Event::ModelCalled,
                subject: change.id.to_string(),
                actor: "control".to_owned(),
                body: serde_json::json!({
                    "role": "planner", "model": asked, "prompt-hash": prompt.hash, "usage": usage,
                }),
            };
            self.store.note(fact, self.now_ms()).await?;
            let reply = match answer {
                Ok(reply) => reply,
                Err(no_reply) => {
                    let reason = match no_reply.error {
                        ModelError::Refused { .. } => Reason::ModelRefused,
                        ModelError::Unavailable { .. } | ModelError::Unreadable { .. } => {
                            Reason::ModelUnavailable
                        }
                    };
                    return Ok(Err((reason, no_reply.to_string())));
                }
            };
            match plan::parse_plan(&reply.text, MAX_PLANNED) {
                Ok(plan) => return Ok(Ok(plan)),
                Err(error) => refused = Some((reply.text, error)),
            }
        }
        let note = refused.map(|(_, error)| error.to_string()).unwrap_or_default();
        Ok(Err((Reason::ReplyUnreadable, format!("the plan cannot be used: {note}"))))
    }

    async fn accept_plan(&self, change: &ChangeView, plan: Plan) -> Result<(), ControlError> {
        let request: ChangeRequest = serde_json::from_value(change.request.clone())
            .map_err(|error| ControlError::Refused { what: "a stored request", detail: error.to_string() })?;
        let mut tasks = Vec::with_capacity(plan.tasks.len());
        for planned in plan.tasks {
            let id = |suffix: &str| task_id(&change.id, suffix);
            let task = CodingTask {
                path: planned.path,
                after: planned.after.iter().map(|suffix| id(suffix)).collect::<Result<_, _>>()?,
                ..CodingTask::new(id(&planned.id)?, planned.goal)
            };
            tasks.push(self.new_task(&change.id, &request, &task).await?);
        }
        match self.store.add_tasks(&change.id, tasks, self.now_ms()).await? {
            Accepted::New | Accepted::Same => Ok(()),
            Accepted::OtherContent { detail } => fail_plan(self, &change.id, detail).await,
        }
    }
}

async fn fail_plan(control: &Control, change: &ChangeId, detail: String) -> Result<(), ControlError> {
    let (from, to) = (ChangeState::Plan, ChangeState::Failed);
    let reason = Some(Reason::TaskInvalid);
    Ok(control.store.move_change(change, from, to, reason, vec![detail], control.now_ms()).await?)
}
