//! Questions over HTTP, with a limit on everything that a server can spend of ours.

use std::net::IpAddr;
use std::time::Duration;

use farm_core::redact::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::time::timeout;

use super::{Answer, Fault};
use crate::settings::{Api, Provider, SettingsError};
use crate::wire::anthropic;

/// A provider's address and how long we wait for it.
pub(crate) struct Http {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    call_timeout: Duration,
    idle_timeout: Duration,
    max_body_bytes: usize,
}

impl Http {
    pub(crate) fn new(name: &str, provider: &Provider, key: Option<&Secret>) -> Result<Self, SettingsError> {
        let url = url(name, provider)?;
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("patchfarm/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(provider.connect_timeout)
            // A redirect would carry prompt and key to where the operator did not send them.
            .redirect(Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| SettingsError::NoHttp { provider: name.to_owned(), detail: chain(&error) })?;
        Ok(Self {
            client,
            url,
            headers: headers(name, provider.api, key)?,
            call_timeout: provider.call_timeout,
            idle_timeout: provider.idle_timeout,
            max_body_bytes: provider.max_body_bytes,
        })
    }

    pub(crate) async fn send(&self, body: &Value, limit: Duration) -> Result<Answer, Fault> {
        let limit = limit.min(self.call_timeout);
        timeout(limit, self.exchange(body))
            .await
            .unwrap_or(Err(Fault::Timeout { phase: "the whole call", after: limit }))
    }

    async fn exchange(&self, body: &Value) -> Result<Answer, Fault> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).json(body);
        let response = request.send().await.map_err(|error| {
            if error.is_connect() { Fault::Connect(chain(&error)) } else { Fault::Cut(chain(&error)) }
        })?;
        let header = |name: HeaderName| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER),
            content_type: header(CONTENT_TYPE).unwrap_or_default(),
            body: self.read(response).await?,
        })
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let piece = timeout(self.idle_timeout, response.chunk())
                .await
                .map_err(|_| Fault::Timeout { phase: "the next piece", after: self.idle_timeout })?
                .map_err(|error| Fault::Cut(chain(&error)))?;
            let Some(piece) = piece else { return Ok(body) };
            if body.len() + piece.len() > self.max_body_bytes {
                return Err(Fault::TooLarge { max_bytes: self.max_body_bytes });
            }
            body.extend_from_slice(&piece);
        }
    }
}

fn url(name: &str, provider: &Provider) -> Result<Url, SettingsError> {
    let text = provider.base_url.as_deref().unwrap_or(provider.api.default_base_url());
    let bad = |expected: &'static str, found: &str| SettingsError::BadValue {
        setting: format!("base-url of provider {name}"),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let mut url = Url::parse(text).map_err(|error| bad("a url", &error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("an http or https url", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // What was found is not repeated: it holds a password.
        return Err(bad("without credentials (use api-key)", "a user name or password"));
    }
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&match provider.api {
        Api::OpenAi => format!("{base}/chat/completions"),
        // The usual variable for this base stops before the version, ours need not.
        Api::Anthropic if base.ends_with("/v1") => format!("{base}/messages"),
        Api::Anthropic => format!("{base}/v1/messages"),
    });
    Ok(url)
}

fn headers(name: &str, api: Api, key: Option<&Secret>) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    if api == Api::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
    }
    if let Some(key) = key {
        let key = key.reveal().trim();
        let (header, text) = match api {
            Api::OpenAi => (AUTHORIZATION, format!("Bearer {key}")),
            Api::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
        };
        let bad_key = || SettingsError::BadKey { provider: name.to_owned() };
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad_key());
        }
        let mut value = HeaderValue::try_from(text).map_err(|_| bad_key())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// A model server on this machine is never behind the proxy that the environment names.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error and its causes in one line; reqwest keeps what matters in the causes. The URL is ours to know, not to print.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    if text.is_empty() { "no cause given".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(api: Api, base_url: &str) -> Provider {
        Provider { base_url: Some(base_url.to_owned()), ..Provider::new(api) }
    }

    #[test]
    fn urls_are_made_from_usual_bases() {
        for (provider, expect) in [
            (Provider::new(Api::OpenAi), "https://api.openai.com/v1/chat/completions"),
            (Provider::new(Api::Anthropic), "https://api.anthropic.com/v1/messages"),
            (at(Api::OpenAi, "http://localhost:11434/v1/"), "http://localhost:11434/v1/chat/completions"),
            (at(Api::Anthropic, "https://gateway.test/a"), "https://gateway.test/a/v1/messages"),
        ] {
            assert_eq!(url("p", &provider).unwrap().as_str(), expect);
        }
    }

    #[test]
    fn bad_bases_and_keys_are_refused_without_repeating_secrets() {
        for base in ["localhost:80", "ftp://a/v1", "/v1", "http://user:hunter22@a/v1"] {
            let error = url("p", &at(Api::OpenAi, base)).unwrap_err().to_string();
            assert!(error.contains("base-url of provider p") && !error.contains("hunter22"), "{error}");
        }
        for key in ["", "hunter22 hunter33", "hunter22\nx", "hünter"] {
            let error = headers("p", Api::OpenAi, Some(&Secret::new(key))).unwrap_err().to_string();
            assert!(!error.contains("hunter"), "{error}");
        }
        let headers = headers("p", Api::OpenAi, Some(&Secret::new("hunter22\n"))).unwrap();
        assert_eq!(headers[AUTHORIZATION], "Bearer hunter22");
        assert!(!format!("{headers:?}").contains("hunter22"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (base, expect) in [
            ("http://localhost:1", true),
            ("http://127.3.2.1", true),
            ("http://[::1]:1", true),
            ("http://localhost.test", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(base).unwrap()), expect, "{base}");
        }
    }
}
