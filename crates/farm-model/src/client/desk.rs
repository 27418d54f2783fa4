//! A role with what it takes to serve it.

use std::sync::{Mutex, PoisonError};

use farm_core::port::ModelCall;
use serde_json::Value;

use crate::replay::{Recorder, Script};
use crate::settings::{Api, Keys, Role, Settings, SettingsError, Via};
use crate::transport::{Http, Transport};
use crate::wire::{Manners, Question};

/// Where questions to a role are dealt with.
pub(super) struct Desk {
    pub(super) role: Role,
    pub(super) provider_name: String,
    pub(super) api: Api,
    pub(super) tries: u32,
    pub(super) transport: Transport,
    pub(super) recorder: Option<Recorder>,
    /// What this model's server has not refused so far.
    manners: Mutex<Manners>,
}

impl Desk {
    pub(super) fn new(
        name: &'static str,
        role: &Role,
        settings: &Settings,
        keys: &Keys,
    ) -> Result<Self, SettingsError> {
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

    pub(super) fn body(&self, call: &ModelCall, manners: Manners) -> Value {
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

    pub(super) fn manners(&self) -> Manners {
        *self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a refusal beside those that other calls have met meanwhile.
    pub(super) fn learn(&self, less: Manners) {
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
