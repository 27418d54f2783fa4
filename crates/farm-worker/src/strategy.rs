//! Step 4: how a task gets its patch, or its report.

mod command;

use farm_core::port::{ModelCall, ModelError, NoReply, ReplyForm};
use farm_core::reason::Reason;
use farm_core::result::CommitResult;
use farm_core::service::Phase;
use farm_core::task::Strategy;
use farm_model::prompt::{self, CoderInput, Failure, Form as ReplyStyle};
use farm_model::reply::extract_suggested_checks;

use crate::attempt::{Form, Proposal, Setback};
use crate::base::Base;
use crate::context::{self, Gathered};
use crate::kit::Trouble;
use crate::pipeline::{Ending, Job, outline};

/// Proposes patches for one task, each knowing what became of the earlier ones.
pub struct Proposer<'a> {
    job: &'a Job<'a>,
    base: &'a Base,
    context: Gathered,
    last_reply: Option<String>,
    model: String,
    prompt_hash: String,
}

impl<'a> Proposer<'a> {
    /// For one run.
    pub fn new(job: &'a Job<'a>, base: &'a Base, context: Gathered) -> Self {
        Self { job, base, context, last_reply: None, model: String::new(), prompt_hash: String::new() }
    }

    /// A deterministic program proposes the same thing each time.
    pub fn max_attempts(&self) -> u32 {
        match self.job.run.task.strategy {
            Strategy::SingleShot => {
                1 + self.job.run.task.max_retries.unwrap_or(self.job.kit.settings.max_retries)
            }
            Strategy::Command { .. } => 1,
        }
    }

    /// Where the context came from.
    pub fn context_source(&self) -> &'static str {
        self.context.source
    }

    /// The model that answered last.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// SHA-256 of the prompt's templates.
    pub fn prompt_hash(&self) -> &str {
        &self.prompt_hash
    }

    /// The next proposal.
    pub async fn propose(&mut self, setbacks: &[Setback]) -> Result<Proposal, Setback> {
        match &self.job.run.task.strategy {
            Strategy::SingleShot => self.single_shot(setbacks).await,
            Strategy::Command { argv } => {
                let writes = command::run(self.job, self.base, argv).await?;
                Ok(Proposal { form: Form::Files(writes), suggested_checks: Vec::new() })
            }
        }
    }

    async fn single_shot(&mut self, setbacks: &[Setback]) -> Result<Proposal, Setback> {
        let failures: Vec<Failure> = setbacks
            .iter()
            .zip(1..)
            .map(|(setback, attempt)| Failure {
                attempt,
                reason: setback.reason,
                text: setback.detail.clone(),
            })
            .collect();
        let task = &self.job.run.task;
        let prompt = prompt::coder(&CoderInput {
            goal: &task.goal,
            path: task.path.as_deref(),
            snippets: &self.context.snippets,
            rules: &self.context.rules,
            notes: &task.notes,
            failures: &failures,
            previous_reply: self.last_reply.as_deref(),
            form: ReplyStyle::Text,
            context_tokens: self.job.kit.settings.context_tokens,
        });
        self.prompt_hash.clone_from(&prompt.hash);
        let (text, model) = ask(self.job, prompt.system, prompt.user, ReplyForm::Text).await?;
        self.model = model;
        self.last_reply = Some(text.clone());
        Ok(Proposal { suggested_checks: extract_suggested_checks(&text), form: Form::Reply(text) })
    }
}

/// One call: granted before, settled after.
async fn ask(
    job: &Job<'_>,
    system: String,
    user: String,
    form: ReplyForm,
) -> Result<(String, String), Setback> {
    let call = ModelCall {
        role: "coder",
        system,
        // Registered secrets reach no model, whatever file or output they stood in (I5).
        user: job.redactor.clean(&user),
        form,
        deadline: job.kit.settings.model_deadline,
    };
    let funded = job.tending.fund(job.kit.model.worst_case(&call)).await;
    funded.map_err(|why| Setback::new(Reason::BudgetSpent, why))?;
    let step = job.steps.begin(Phase::Strategy);
    let answer = job.kit.model.ask(&call).await;
    let shown = format!("{}\n\n{}", call.system, call.user);
    match answer {
        Ok(reply) => {
            job.tending.spend(&reply.usage);
            let tokens = reply.usage.tokens();
            job.steps.end(
                step,
                format!("{} answered, {tokens} tokens", reply.model),
                format!("{}\n\n=== prompt ===\n{shown}", reply.text),
            );
            if reply.truncated {
                let detail =
                    "the model stopped at its output limit; answer with less, for example smaller edits";
                return Err(Setback::new(Reason::ReplyTruncated, detail));
            }
            Ok((reply.text, reply.model))
        }
        Err(NoReply { error, usage }) => {
            job.tending.spend(&usage);
            job.steps.end(step, error.to_string(), shown);
            let reason = match error {
                ModelError::Refused { .. } => Reason::ModelRefused,
                ModelError::Unavailable { .. } | ModelError::Unreadable { .. } => Reason::ModelUnavailable,
            };
            Err(Setback::new(reason, error))
        }
    }
}

/// The longest report that a result carries, in bytes.
const MAX_REPORT_BYTES: usize = 64 * 1024;

/// Tasks of kind `read` (the code itself) and `analyze` (a model's words about it).
pub async fn report(job: &Job<'_>, base: &Base) -> Result<Ending, Trouble> {
    let task = &job.run.task;
    let context = context::gather(job.kit, job.run, base, job.steps).await;
    let mut result =
        CommitResult { context: context.source.to_owned(), ..outline(job, Reason::Ok, Vec::new()) };
    if task.kind.as_str() == "read" {
        result.notes = context
            .snippets
            .iter()
            .map(|s| format!("{}:{}-{}\n{}", s.path, s.start_line, s.end_line, s.text))
            .map(|note| job.redactor.clean(&note))
            .collect();
        return Ok(Ending::Result(Box::new(result)));
    }
    let prompt = prompt::analyst(&CoderInput {
        goal: &task.goal,
        path: task.path.as_deref(),
        snippets: &context.snippets,
        rules: &context.rules,
        notes: &task.notes,
        failures: &[],
        previous_reply: None,
        form: ReplyStyle::Text,
        context_tokens: job.kit.settings.context_tokens,
    });
    result.prompt_hash = prompt.hash;
    let answer = ask(job, prompt.system, prompt.user, ReplyForm::Text).await;
    let (text, model) = answer.map_err(|setback| Trouble::new(setback.reason, setback.detail))?;
    result.notes = vec![crate::steps::shorten(&job.redactor.clean(&text), MAX_REPORT_BYTES)];
    result.model = model;
    result.attempts = 1;
    result.usage = job.tending.spent();
    Ok(Ending::Result(Box::new(result)))
}
