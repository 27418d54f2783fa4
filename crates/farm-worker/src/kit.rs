//! What all runs of a worker share.

use std::sync::Arc;
use std::time::Duration;

use farm_core::port::{Clock, Context, Model, ResultSink, Tasks};
use farm_core::reason::Reason;
use farm_core::redact::{Redactor, Secret};
use farm_core::service::{Denied, Run};
use farm_git::credentials::Credentials;
use farm_git::exports::Exports;
use farm_git::mirror::Mirrors;
use farm_sandbox::Sandbox;

use crate::checks::BaseResults;
use crate::metrics::Metrics;

/// Everything that a run needs and does not own.
pub struct Kit {
    /// Control.
    pub tasks: Arc<dyn Tasks>,
    /// Where results go.
    pub sink: Arc<dyn ResultSink>,
    /// The wall clock, for timelines.
    pub clock: Arc<dyn Clock>,
    /// Answers prompts.
    pub model: Arc<dyn Model>,
    /// The context service, if there is one.
    pub rag: Option<Arc<dyn Context>>,
    /// The worker's own search.
    pub local_search: Arc<dyn Context>,
    /// One bare mirror a remote.
    pub mirrors: Mirrors,
    /// Shared read-only trees.
    pub exports: Exports,
    /// Where commands run.
    pub sandbox: Sandbox,
    /// What checks showed on base trees.
    pub base_results: BaseResults,
    /// Finds secrets.
    pub credentials: Credentials,
    /// Secrets that belong to no repository: the model's key, control's token.
    pub secrets: Vec<Secret>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the operator chose.
    pub settings: Settings,
}

/// What the operator chose for runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names this worker.
    pub name: String,
    /// How often a lease is renewed.
    pub heartbeat: Duration,
    /// How long a run may take, unless its task says otherwise.
    pub deadline: Duration,
    /// Attempts beyond the first, unless the task says otherwise.
    pub max_retries: u32,
    /// How long the context service may take.
    pub context_timeout: Duration,
    /// What the context may fill, in tokens of about four bytes.
    pub context_tokens: usize,
    /// How long one model call may take, its retries included.
    pub model_deadline: Duration,
    /// The least pause before a run that nobody is to blame for is tried again.
    pub give_back_delay: Duration,
    /// Identifies the prepared dependencies that checks see; part of the key of base results.
    pub environment: String,
}

impl Kit {
    /// Knows every secret that may come near this run.
    pub fn redactor(&self, run: &Run) -> Arc<Redactor> {
        let references = run.repository.credential.as_deref();
        Arc::new(self.credentials.redactor(references, self.secrets.iter().cloned()))
    }
}

/// Why a run stops short: a reason, whose class says what follows, and what to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason.
    pub reason: Reason,
    /// In words.
    pub detail: String,
}

impl Trouble {
    /// Both parts.
    pub fn new(reason: Reason, detail: impl std::fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

impl From<Denied> for Trouble {
    fn from(denied: Denied) -> Self {
        Self { reason: denied.reason, detail: denied.detail }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.detail)
    }
}
