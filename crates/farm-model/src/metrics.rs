//! What calls of models come to, for every role of the farm that makes them. Names are those of OpenTelemetry's semantic
//! conventions for generative AI, where it has one.

use std::time::Duration;

use farm_core::result::Usage;
use prometheus::{CounterVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

const OPERATION: &str = "chat";

/// The metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    seconds: HistogramVec,
    tokens: HistogramVec,
    cached_tokens: IntCounterVec,
    cost_usd: CounterVec,
    retries: IntCounterVec,
}

/// Who was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The provider's name in the settings.
    pub(crate) provider: &'a str,
    /// The model, as it was asked for.
    pub(crate) model: &'a str,
}

impl Metrics {
    /// Makes and registers them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let who = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
        let seconds = HistogramVec::new(
            HistogramOpts::new("gen_ai_client_operation_duration_seconds", "Requests to models.")
                .buckets(prometheus::exponential_buckets(0.01, 2.0, 16)?),
            &[&who[..], &["error_type"]].concat(),
        )?;
        let tokens = HistogramVec::new(
            HistogramOpts::new("gen_ai_client_token_usage", "Tokens of one request to a model.")
                .buckets(prometheus::exponential_buckets(1.0, 4.0, 14)?),
            &[&who[..], &["gen_ai_token_type"]].concat(),
        )?;
        let cached_tokens = IntCounterVec::new(
            Opts::new("patchfarm_llm_cached_tokens_total", "Input tokens that came from a provider's cache."),
            &["model"],
        )?;
        let cost_usd = CounterVec::new(
            Opts::new("patchfarm_llm_cost_usd_total", "Money spent on models, in US dollars."),
            &["model"],
        )?;
        let retries = IntCounterVec::new(
            Opts::new("patchfarm_llm_retries_total", "Requests to models that were sent again."),
            &["reason"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(tokens.clone()))?;
        registry.register(Box::new(cached_tokens.clone()))?;
        registry.register(Box::new(cost_usd.clone()))?;
        registry.register(Box::new(retries.clone()))?;
        Ok(Self { seconds, tokens, cached_tokens, cost_usd, retries })
    }

    /// A request ended. `error` is empty for a good answer.
    pub(crate) fn sent(&self, asked: Asked<'_>, error: &str, elapsed: Duration, took: &Usage) {
        let Asked { provider, model } = asked;
        let seconds = self.seconds.with_label_values(&[OPERATION, provider, model, error]);
        seconds.observe(elapsed.as_secs_f64());
        for (kind, tokens) in [("input", took.prompt_tokens), ("output", took.completion_tokens)] {
            let observed = self.tokens.with_label_values(&[OPERATION, provider, model, kind]);
            observed.observe(tokens as f64);
        }
        self.cached_tokens.with_label_values(&[model]).inc_by(took.cached_tokens);
        self.cost_usd.with_label_values(&[model]).inc_by(took.cost_micro_usd as f64 / 1e6);
    }

    /// A request is sent again.
    pub(crate) fn retried(&self, reason: &str) {
        self.retries.with_label_values(&[reason]).inc();
    }
}
