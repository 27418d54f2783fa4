//! The port's one implementation: a role's question, sent until it is answered, refused, or out of time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use farm_core::port::{Model, ModelCall, ModelError, ModelReply, ReplyForm};
use farm_core::redact::Redactor;
use farm_core::result::Usage;
use farm_core::task::Budget;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::replay::{Recorder, Script};
use crate::retry::{self, Pace, SystemPace, Verdict};
use crate::settings::{Api, Keys, Role, Settings, SettingsError, Via};
use crate::transport::{Answer, Fault, Http, Transport};
use crate::wire::{Complaint, Manners, Question, Reading, Tokens};

/// Characters of a service's own words that an error repeats.
const MAX_DETAIL_CHARS: usize = 500;

/// Asks the model that stands behind a role.
pub struct Client {
    desks: BTreeMap<&'static str, Arc<Desk>>,
    places: Semaphore,
    /// The farm's secrets, and the providers' keys.
    redactors: [Redactor; 2],
    pace: Arc<dyn Pace>,
    observer: Option<Observer>,
}

/// Told of every request sent, for metrics.
pub type Observer = Arc<dyn Fn(&Sent<'_>) + Send + Sync>;

/// One request that was sent, and how it ended.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The provider's name in the settings.
    pub provider: &'a str,
    /// The model that was asked.
    pub model: &'a str,
    /// `ok`, `refused`, `unreadable`, `stepped_down`, `rate_limited`, `server_error`, `connect`, `timeout` or `cut`.
    pub outcome: &'static str,
    /// From sending to the last byte.
    pub elapsed: Duration,
    /// What it took, as far as is known.
    pub usage: Usage,
}

/// A role with what it takes to serve it.
struct Desk {
    role: Role,
    provider_name: String,
    api: Api,
    tries: u32,
    transport: Transport,
    recorder: Option<Recorder>,
    /// What this model's server has not refused so far.
    manners: Mutex<Manners>,
}

/// What one request came to.
enum Outcome {
    Replied(Reading),
    /// The server does not know what was asked for; ask for less.
    StepDown(Manners),
    Later {
        detail: String,
        retry_after: Option<String>,
        label: &'static str,
    },
    Failed(ModelError),
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
            places: Semaphore::new(settings.max_concurrent.min(Semaphore::MAX_PERMITS)),
            redactors: [redactor, Redactor::new(keys.values())],
            pace: Arc::new(SystemPace),
            observer: None,
        })
    }

    /// Waits and draws chances by `pace`.
    pub fn with_pace(mut self, pace: Arc<dyn Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// Tells `observer` of every request sent.
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The settings that serve the role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.desks.get(name).map(|desk| &desk.role)
    }
}

#[async_trait]
impl Model for Client {
    async fn ask(&self, call: &ModelCall) -> Result<ModelReply, ModelError> {
        let desk = self.desks.get(call.role).ok_or_else(|| ModelError::Refused {
            status: 0,
            detail: format!("no role is called {}; known are coder, planner and reviewer", call.role),
        })?;
        let call =
            ModelCall { system: self.clean(&call.system), user: self.clean(&call.user), ..call.clone() };
        self.ask_until(desk, &call, Instant::now()).await
    }

    fn worst_case(&self, call: &ModelCall) -> Budget {
        let Some(desk) = self.desks.get(call.role) else {
            return Budget { tokens: 0, cost_micro_usd: 0 };
        };
        // Nothing that people write has fewer than two bytes a token for long; a prompt may all be written to a cache.
        let bytes = call.system.len() + call.user.len() + schema_len(call);
        let prompt = bytes.div_ceil(2) as u64;
        let output = desk.role.max_output_tokens;
        let costs = [
            Tokens { fresh: prompt, output, ..Tokens::default() },
            Tokens { cache_write: prompt, output, ..Tokens::default() },
        ]
        .map(|tokens| tokens.usage(&desk.role.prices).cost_micro_usd);
        Budget { tokens: prompt.saturating_add(output), cost_micro_usd: costs[0].max(costs[1]) }
    }
}

impl Client {
    async fn ask_until(
        &self,
        desk: &Desk,
        call: &ModelCall,
        started: Instant,
    ) -> Result<ModelReply, ModelError> {
        let mut usage = Usage::default();
        let mut n_failed = 0;
        let mut last = "the deadline passed before the first call".to_owned();
        loop {
            let manners = desk.manners();
            let body = desk.body(call, manners);
            let Some(outcome) = self.send(desk, call, &body, manners, started, &mut usage).await else {
                return Err(self.unavailable(&usage, &last));
            };
            match outcome {
                Outcome::Replied(reading) => return self.replied(desk, call, reading, usage),
                Outcome::StepDown(manners) => desk.learn(manners),
                Outcome::Failed(error) => return Err(error),
                Outcome::Later { detail, retry_after, label } => {
                    last = detail;
                    n_failed += 1;
                    if n_failed >= desk.tries {
                        return Err(self.unavailable(&usage, &last));
                    }
                    let wait = retry::wait(n_failed, retry_after.as_deref(), &*self.pace);
                    let left = call.deadline.saturating_sub(started.elapsed());
                    if wait >= left {
                        let [wait, left] = [wait, left].map(|duration| duration.as_millis());
                        let last =
                            format!("{last}; the next try is {wait} ms away, the call ends in {left} ms");
                        return Err(self.unavailable(&usage, &last));
                    }
                    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(
                        provider = desk.provider_name,
                        label,
                        n_failed,
                        wait_ms,
                        "model call is retried"
                    );
                    self.pace.wait(wait).await;
                }
            }
        }
    }

    /// Sends one request; `None` if there is no time left for it.
    async fn send(
        &self,
        desk: &Desk,
        call: &ModelCall,
        body: &Value,
        manners: Manners,
        started: Instant,
        usage: &mut Usage,
    ) -> Option<Outcome> {
        let left = || Some(call.deadline.saturating_sub(started.elapsed())).filter(|left| !left.is_zero());
        // A place is held while a request is under way, not between tries.
        let place = tokio::time::timeout(left()?, self.places.acquire()).await.ok()?;
        let limit = left()?;
        let sent_at = Instant::now();
        let answer = desk.transport.send(call.role, body, limit).await;
        let elapsed = sent_at.elapsed();
        drop(place);

        let (outcome, tokens, label) = match answer {
            Ok(answer) => self.judge(desk, call, answer, manners),
            Err(fault) => {
                let lost = desk.transport.guess_lost(body, &fault);
                let (outcome, label) = self.judge_fault(fault);
                (outcome, lost, label)
            }
        };
        let mut took = tokens.usage(&desk.role.prices);
        took.calls = 1;
        usage.add(&took);
        if let Some(observer) = &self.observer {
            observer(&Sent {
                provider: &desk.provider_name,
                model: &desk.role.model,
                outcome: label,
                elapsed,
                usage: took,
            });
        }
        Some(outcome)
    }

    /// Reads an answer: what it means, what it took, and its label.
    fn judge(
        &self,
        desk: &Desk,
        call: &ModelCall,
        answer: Answer,
        manners: Manners,
    ) -> (Outcome, Tokens, &'static str) {
        if (200..300).contains(&answer.status) {
            return self.judge_reply(desk, call, &answer);
        }
        let complaint = Complaint::read(&answer.body);
        if matches!(answer.status, 400 | 422)
            && let Some(less) = manners.without_what_is_refused(&complaint, &call.form)
        {
            return (Outcome::StepDown(less), Tokens::default(), "stepped_down");
        }
        let status = answer.status;
        let mut detail = self.shown(&complaint.message);
        match retry::verdict(status, &complaint) {
            Verdict::Later => {
                let label = if status == 429 { "rate_limited" } else { "server_error" };
                let detail = format!("status {status}: {detail}");
                (Outcome::Later { detail, retry_after: answer.retry_after, label }, Tokens::default(), label)
            }
            Verdict::Never => {
                if (300..400).contains(&status) {
                    detail =
                        "it redirects, which is not followed; set base-url to where it really is".to_owned();
                }
                (Outcome::Failed(ModelError::Refused { status, detail }), Tokens::default(), "refused")
            }
        }
    }

    fn judge_reply(&self, desk: &Desk, call: &ModelCall, answer: &Answer) -> (Outcome, Tokens, &'static str) {
        let guess =
            |reply_bytes| Tokens::guess(call.system.len() + call.user.len() + schema_len(call), reply_bytes);
        let read = serde_json::from_slice::<Value>(&answer.body).map_err(|error| {
            let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
            format!("expected json, found {:?} ({error}): {start}", answer.content_type)
        });
        match read.and_then(|value| desk.api.read(&value)) {
            Ok(reading) => {
                let tokens = reading.tokens.unwrap_or_else(|| guess(reading.text.len()));
                match &reading.refused {
                    Some(words) => {
                        let error = ModelError::Refused { status: 0, detail: self.shown(words) };
                        (Outcome::Failed(error), tokens, "refused")
                    }
                    None => (Outcome::Replied(reading), tokens, "ok"),
                }
            }
            Err(detail) => {
                let error = ModelError::Unreadable { detail: self.shown(&detail) };
                (Outcome::Failed(error), guess(answer.body.len()), "unreadable")
            }
        }
    }

    fn judge_fault(&self, fault: Fault) -> (Outcome, &'static str) {
        let detail = self.shown(&fault.to_string());
        let label = match fault {
            Fault::Connect(_) => "connect",
            Fault::Timeout { .. } => "timeout",
            Fault::Cut(_) => "cut",
            Fault::TooLarge { .. } => {
                return (Outcome::Failed(ModelError::Unreadable { detail }), "unreadable");
            }
        };
        (Outcome::Later { detail, retry_after: None, label }, label)
    }

    fn replied(
        &self,
        desk: &Desk,
        call: &ModelCall,
        reading: Reading,
        usage: Usage,
    ) -> Result<ModelReply, ModelError> {
        if let Some(recorder) = &desk.recorder {
            let prompt = format!("{}\n\n{}", call.system, call.user);
            let reply = self.clean(&reading.text);
            if let Err(error) = recorder.write(call.role, &prompt, &reply, &usage, reading.truncated) {
                tracing::warn!(provider = desk.provider_name, %error, "model exchange is not recorded");
            }
        }
        Ok(ModelReply {
            text: reading.text,
            model: reading.model.unwrap_or_else(|| desk.role.model.clone()),
            usage,
            truncated: reading.truncated,
        })
    }

    fn unavailable(&self, usage: &Usage, detail: &str) -> ModelError {
        ModelError::Unavailable {
            calls: u32::try_from(usage.calls).unwrap_or(u32::MAX),
            detail: detail.to_owned(),
        }
    }

    /// `text` without registered secrets.
    fn clean(&self, text: &str) -> String {
        self.redactors.iter().fold(text.to_owned(), |text, redactor| redactor.clean(&text))
    }

    /// Foreign words as an error may repeat them. Cleaned before they are cut: half a secret would not be found.
    fn shown(&self, text: &str) -> String {
        let clean = self.clean(text);
        let line = clean.chars().map(|c| if c.is_control() { ' ' } else { c });
        line.take(MAX_DETAIL_CHARS).collect::<String>().trim().to_owned()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.desks.iter().map(|(name, desk)| (name, &desk.role))).finish()
    }
}

impl Desk {
    fn new(name: &'static str, role: &Role, settings: &Settings, keys: &Keys) -> Result<Self, SettingsError> {
        let provider =
            settings.providers.get(&role.provider).ok_or_else(|| SettingsError::UnknownProvider {
                role: name,
                provider: role.provider.clone(),
                known: settings.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            })?;
        let key = keys.get(&role.provider);
        let (transport, api) = match &provider.via {
            Via::Http => (Transport::Http(Http::new(&role.provider, provider, key)?), provider.api),
            // What has no server speaks chat completions, whatever the provider would have spoken.
            Via::Mock => (Transport::Mock, Api::OpenAi),
            Via::Replay { file } => (Transport::Replay(Script::open(file)?), Api::OpenAi),
        };
        let recorder =
            provider.record.as_deref().map(|file| Recorder::open(&role.provider, file)).transpose()?;
        let manners =
            Manners { structured: provider.structured, temperature: true, limit: provider.output_limit() };
        Ok(Self {
            role: role.clone(),
            provider_name: role.provider.clone(),
            api,
            tries: provider.tries,
            transport,
            recorder,
            manners: Mutex::new(manners),
        })
    }

    fn body(&self, call: &ModelCall, manners: Manners) -> Value {
        let question = Question {
            model: &self.role.model,
            temperature: self.role.temperature,
            max_output_tokens: self.role.max_output_tokens,
            system: &call.system,
            user: &call.user,
            form: &call.form,
        };
        self.api.body(&question, manners)
    }

    fn manners(&self) -> Manners {
        *self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a refusal beside those that other calls have met meanwhile.
    fn learn(&self, less: Manners) {
        let mut manners = self.manners.lock().unwrap_or_else(PoisonError::into_inner);
        *manners = manners.and(less);
        tracing::info!(
            provider = self.provider_name,
            model = self.role.model,
            ?manners,
            "model server knows less"
        );
    }
}

fn schema_len(call: &ModelCall) -> usize {
    match &call.form {
        ReplyForm::Text => 0,
        ReplyForm::Json { schema, .. } => schema.to_string().len(),
    }
}
