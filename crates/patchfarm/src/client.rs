//! Speaks to control's API, for the verbs of people.

use std::time::Duration;

use farm_core::redact::Secret;
use serde_json::Value;

use crate::failure::{Failure, Outcome, exit};
use crate::program::Program;

/// A client of one farm.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<Secret>,
}

impl Client {
    /// Of the farm that the settings name.
    pub(crate) fn new(program: &Program) -> Outcome<Self> {
        Self::at(program.settings.text("url"), program.token())
    }

    /// Of the farm at this address.
    pub(crate) fn at(url: &str, token: Option<Secret>) -> Outcome<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(60))
            // Control is named by the person at the terminal; no proxy stands before it.
            .no_proxy()
            .build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Value> {
        self.send(self.http.get(self.address(path))).await
    }

    /// Reads text.
    pub(crate) async fn get_text(&self, path: &str) -> Outcome<String> {
        let response = self.respond(self.http.get(self.address(path))).await?;
        Ok(response.text().await?)
    }

    /// Writes.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.send(self.http.post(self.address(path)).json(body)).await
    }

    /// Removes.
    pub(crate) async fn delete(&self, path: &str) -> Outcome<Value> {
        self.send(self.http.delete(self.address(path))).await
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Outcome<Value> {
        let bytes = self.respond(request).await?.bytes().await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    async fn respond(&self, request: reqwest::RequestBuilder) -> Outcome<reqwest::Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            let message = format!(
                "control does not answer at {}: {error}; set PATCHFARM_URL, or start one with `patchfarm up`",
                self.url
            );
            Failure::new(exit::FAILURE, message)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let hint = Some(word("hint")).filter(|hint| !hint.is_empty()).map(|hint| format!("; {hint}"));
        let message = format!("{status} {}: {}{}", word("code"), word("message"), hint.unwrap_or_default());
        let code = if status.is_client_error() { exit::REFUSED } else { exit::FAILURE };
        Err(Failure::new(code, message))
    }
}
