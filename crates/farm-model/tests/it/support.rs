//! Clients for tests: time that does not pass, and chances that are even.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use farm_core::port::{ModelCall, ReplyForm, Snippet};
use farm_core::redact::{Redactor, Secret};
use farm_model::retry::Pace;
use farm_model::settings::{Api, Prices, Provider};
use farm_model::{Client, Keys, Settings};
use farm_patch::{File, Limits, Mode, Outcome, Request, Source};
use serde_json::json;

use crate::server::Server;

pub(crate) const KEY: &str = "sk-hunter22-hunter33";

/// Writes down waits instead of waiting.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<u64>>);

impl Waits {
    /// Milliseconds, in order, since the last look.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Pace for Waits {
    fn now_ms(&self) -> u64 {
        784_111_770_000
    }
    async fn wait(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration.as_millis() as u64);
    }
    fn chance(&self) -> f64 {
        0.5
    }
}

/// One provider at `server`, whose tokens cost 1, 0.1, 1.25 and 2 micro-dollars.
pub(crate) fn settings(api: Api, server: &Server) -> Settings {
    let provider = Provider { base_url: Some(server.base_url.clone()), ..Provider::new(api) };
    let mut settings = Settings::single("here", provider, "model");
    settings.roles.coder.prices =
        Prices { input: 1_000_000, cached_input: Some(100_000), cache_write: None, output: 2_000_000 };
    settings
}

pub(crate) fn client(settings: &Settings) -> (Client, Arc<Waits>) {
    let keys = Keys::from([("here".to_owned(), Secret::new(KEY))]);
    let farm = Redactor::new(&[Secret::new("farm-secret")]);
    let waits = Arc::new(Waits::default());
    let client = Client::new(settings, &keys, farm).unwrap().with_pace(Arc::clone(&waits) as Arc<dyn Pace>);
    (client, waits)
}

pub(crate) fn call() -> ModelCall {
    ModelCall {
        role: "coder",
        system: "be good".to_owned(),
        user: "fix it".to_owned(),
        form: ReplyForm::Text,
        deadline: Duration::from_secs(100),
    }
}

pub(crate) fn json_form() -> ReplyForm {
    ReplyForm::Json { name: "edits", schema: json!({"type": "object"}) }
}

/// What the patch engine makes of a reply to a prompt that showed these whole files: paths and new contents.
pub(crate) fn patched(reply: &str, shown: &[Snippet]) -> Vec<(String, String)> {
    struct Shown<'a>(&'a [Snippet]);
    impl Source for Shown<'_> {
        fn read(&self, path: &str) -> Option<File> {
            let snippet = self.0.iter().find(|snippet| snippet.path == path)?;
            Some(File { content: snippet.text.clone().into_bytes(), mode: Mode::Regular })
        }
    }
    let request = Request { reply, path: None, limits: Limits::default() };
    let Outcome::Applied(patch) = farm_patch::apply(&request, &Shown(shown)).unwrap() else {
        panic!("expected a change")
    };
    let text = |content: Option<Vec<u8>>| String::from_utf8(content.unwrap()).unwrap();
    patch.files.into_iter().map(|file| (file.path, text(file.content))).collect()
}
