//! The port's one implementation: a role's question, sent until it is answered, refused, or out of time.

mod desk;
mod outcome;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use farm_core::port::{Model, ModelCall, ModelError, ModelReply, NoReply, ReplyForm};
use farm_core::redact::Redactor;
use farm_core::result::Usage;
use farm_core::task::Budget;
use tokio::sync::Semaphore;

use crate::metrics::{Asked, Metrics};
use crate::retry::{self, Pace, SystemPace};
use crate::settings::{Keys, Role, Settings, SettingsError};
use crate::wire::{Manners, Reading, Tokens};
use desk::Desk;
use outcome::{Judged, Outcome};
use words::Words;

/// Asks the model that stands behind a role.
pub struct Client {
    desks: BTreeMap<&'static str, Arc<Desk>>,
    places: Semaphore,
    words: Words,
    pace: Arc<dyn Pace>,
    metrics: Option<Metrics>,
}

/// What one call has come to so far.
struct Progress {
    started: Instant,
    deadline: Duration,
    usage: Usage,
}

impl Client {
    /// Makes a client, and opens what the settings name. `redactor` knows the farm's secrets; `keys` need not be among them.
    pub fn new(settings: &Settings, keys: &Keys, redactor: Redactor) -> Result<Self, SettingsError> {
        settings.check()?;
        let mut desks = BTreeMap::new();
        let coder = Arc::new(Desk::new("coder", &settings.roles.coder, settings, keys)?);
        for (name, role) in [("planner", &settings.roles.planner), ("reviewer", &settings.roles.reviewer)] {
            let desk = match role {
                Some(role) => Arc::new(Desk::new(name, role, settings, keys)?),
                None => Arc::clone(&coder),
            };
            desks.insert(name, desk);
        }
        desks.insert("coder", coder);
        Ok(Self {
            desks,
            places: Semaphore::new(settings.max_concurrent),
            words: Words::new(redactor, keys),
            pace: Arc::new(SystemPace),
            metrics: None,
        })
    }

    /// Waits and draws chances by `pace`.
    pub fn with_pace(mut self, pace: Arc<dyn Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// Counts every request in `metrics`.
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The settings that serve the role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.desks.get(name).map(|desk| &desk.role)
    }
}

#[async_trait]
impl Model for Client {
    async fn ask(&self, call: &ModelCall) -> Result<ModelReply, NoReply> {
        let mut progress =
            Progress { started: Instant::now(), deadline: call.deadline, usage: Usage::default() };
        let Some(desk) = self.desks.get(call.role) else {
            let detail = format!("no role is called {}; known are coder, planner and reviewer", call.role);
            return Err(NoReply { error: ModelError::Refused { status: 0, detail }, usage: progress.usage });
        };
        let call = ModelCall {
            system: self.words.clean(&call.system),
            user: self.words.clean(&call.user),
            ..call.clone()
        };
        let reading = self.read(desk, &call, &mut progress).await;
        let reading = reading.map_err(|error| NoReply { error, usage: progress.usage })?;
        self.record(desk, &call, &reading, &progress.usage);
        Ok(ModelReply {
            text: reading.text,
            model: reading.model.unwrap_or_else(|| desk.role.model.clone()),
            usage: progress.usage,
            truncated: reading.truncated,
        })
    }

    fn worst_case(&self, call: &ModelCall) -> Budget {
        let Some(desk) = self.desks.get(call.role) else {
            return Budget { tokens: 0, cost_micro_usd: 0 };
        };
        // Nothing that people write has fewer than two bytes a token for long; a prompt may all be written to a cache.
        let prompt = bytes_of(call).div_ceil(2) as u64;
        let output = desk.role.max_output_tokens;
        let fresh = Tokens { fresh: prompt, output, ..Tokens::default() };
        let written = Tokens { cache_write: prompt, output, ..Tokens::default() };
        let costs = [fresh, written].map(|tokens| tokens.usage(&desk.role.prices).cost_micro_usd);
        Budget { tokens: prompt.saturating_add(output), cost_micro_usd: costs[0].max(costs[1]) }
    }
}

impl Client {
    /// Sends until there is a reading.
    async fn read(
        &self,
        desk: &Desk,
        call: &ModelCall,
        progress: &mut Progress,
    ) -> Result<Reading, ModelError> {
        let mut n_failed = 0;
        let mut last = "the deadline passed before the first call".to_owned();
        loop {
            let Some(outcome) = self.send(desk, call, desk.manners(), progress).await else {
                return Err(progress.unavailable(last));
            };
            let (reason, detail, retry_after) = match outcome {
                Outcome::Replied(reading) => return Ok(reading),
                Outcome::Failed(error) => return Err(error),
                Outcome::StepDown(manners) => {
                    desk.learn(manners);
                    continue;
                }
                Outcome::Later { reason, detail, retry_after } => (reason, detail, retry_after),
            };
            last = detail;
            n_failed += 1;
            if n_failed >= desk.tries {
                return Err(progress.unavailable(last));
            }
            let wait = retry::wait(n_failed, retry_after.as_deref(), &*self.pace);
            if wait >= progress.left() {
                let [wait, left] = [wait, progress.left()].map(|duration| duration.as_millis());
                last.push_str(&format!("; the next try is {wait} ms away, the call ends in {left} ms"));
                return Err(progress.unavailable(last));
            }
            tracing::warn!(provider = desk.provider_name, n_failed, ?wait, "model call is retried");
            if let Some(metrics) = &self.metrics {
                metrics.retried(reason);
            }
            self.pace.wait(wait).await;
        }
    }

    /// Sends one request; `None` if there is no time left for it.
    async fn send(
        &self,
        desk: &Desk,
        call: &ModelCall,
        manners: Manners,
        progress: &mut Progress,
    ) -> Option<Outcome> {
        let body = desk.body(call, manners);
        // A place is held while a request is under way, not between tries.
        let place = tokio::time::timeout(progress.left(), self.places.acquire()).await.ok()?;
        let limit = Some(progress.left()).filter(|left| !left.is_zero())?;
        let sent_at = Instant::now();
        let answer = desk.transport.send(call.role, &body, limit).await;
        let elapsed = sent_at.elapsed();
        drop(place);

        let Judged { outcome, tokens, error } = match answer {
            Ok(answer) => Judged::answer(&answer, desk, call, manners, &self.words),
            Err(fault) => Judged::fault(&fault, desk.transport.guess_lost(&body, &fault), &self.words),
        };
        let took = Usage { calls: 1, ..tokens.usage(&desk.role.prices) };
        progress.usage.add(&took);
        if let Some(metrics) = &self.metrics {
            let asked = Asked { provider: &desk.provider_name, model: &desk.role.model };
            metrics.sent(asked, error, elapsed, &took);
        }
        Some(outcome)
    }

    fn record(&self, desk: &Desk, call: &ModelCall, reading: &Reading, usage: &Usage) {
        let Some(recorder) = &desk.recorder else { return };
        let prompt = format!("{}\n\n{}", call.system, call.user);
        let reply = self.words.clean(&reading.text);
        if let Err(error) = recorder.write(call.role, &prompt, &reply, usage, reading.truncated) {
            tracing::warn!(provider = desk.provider_name, %error, "model exchange is not recorded");
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.desks.iter().map(|(name, desk)| (name, &desk.role))).finish()
    }
}

impl Progress {
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.started.elapsed())
    }

    fn unavailable(&self, detail: String) -> ModelError {
        ModelError::Unavailable { calls: u32::try_from(self.usage.calls).unwrap_or(u32::MAX), detail }
    }
}

/// What a provider counts as the prompt.
fn bytes_of(call: &ModelCall) -> usize {
    let schema_len = match &call.form {
        ReplyForm::Text => 0,
        ReplyForm::Json { schema, .. } => schema.to_string().len(),
    };
    call.system.len() + call.user.len() + schema_len
}
