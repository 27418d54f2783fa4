//! What is tried again, what is not, and what an error says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farm_core::port::{Model, ModelCall, ModelError, NoReply};
use farm_core::redact::Redactor;
use farm_model::settings::Api;
use farm_model::{Client, Keys, Metrics};
use serde_json::json;

use crate::server::{Say, Server};
use crate::support::{KEY, call, client, json_form, settings};

/// What a counter or a histogram has counted, by the values of one label.
fn counts(registry: &prometheus::Registry, name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for metric in registry.gather().iter().filter(|family| family.name() == name).flat_map(|f| f.get_metric())
    {
        let value = metric.get_label().iter().find(|pair| pair.name() == label).unwrap().value();
        let n = metric.get_histogram().get_sample_count() + metric.get_counter().get_value() as u64;
        *counts.entry(value.to_owned()).or_default() += n;
    }
    counts
}

fn error(status: u16, code: &str) -> Say {
    Say::json(status, &json!({"error": {"message": "so it is", "type": "t", "code": code}}))
}

#[tokio::test]
async fn every_status_is_retried_or_not() {
    let cases = [
        (408, "", true),
        (425, "", true),
        (429, "rate_limit_exceeded", true),
        (500, "", true),
        (502, "", true),
        (503, "", true),
        (504, "", true),
        (529, "overloaded_error", true),
        (301, "", false),
        (400, "", false),
        (401, "", false),
        (402, "", false),
        (403, "", false),
        (404, "", false),
        (413, "", false),
        (422, "", false),
        (429, "insufficient_quota", false),
        (429, "billing_hard_limit_reached", false),
    ];
    let good =
        json!({"choices": [{"message": {"content": "done"}}], "content": [{"type": "text", "text": "done"}]});
    for api in [Api::OpenAi, Api::Anthropic] {
        let mut script = Vec::new();
        for (status, code, retried) in cases {
            script.push(error(status, code));
            script.extend(retried.then(|| Say::json(200, &good)));
        }
        let n_calls = script.len();
        let server = Server::start(script).await;
        let (model, waits) = client(&settings(api, &server));
        for (status, code, retried) in cases {
            let found = model.ask(&call()).await;
            if retried {
                let reply = found.unwrap();
                assert_eq!((reply.text.as_str(), reply.usage.calls), ("done", 2), "{status} {code}");
                assert_eq!(waits.take(), [500], "{status} {code}");
            } else {
                let Err(NoReply { error: ModelError::Refused { status: shown, detail }, .. }) = found else {
                    panic!("{status}: {found:?}")
                };
                assert_eq!((shown, waits.take()), (status, vec![]), "{code}");
                assert!(detail == "so it is" || status == 301 && detail.contains("base-url"), "{detail}");
            }
        }
        assert_eq!(server.asked().len(), n_calls);
    }
}

#[tokio::test]
async fn tries_end_and_waits_grow() {
    let server = Server::start(vec![error(503, ""); 9]).await;
    let (model, waits) = client(&settings(Api::OpenAi, &server));
    let error = model.ask(&call()).await.unwrap_err().error;
    assert_eq!(error, ModelError::Unavailable { calls: 5, detail: "status 503: so it is".to_owned() });
    assert_eq!(waits.take(), [500, 1_000, 2_000, 4_000]);
}

#[tokio::test]
async fn retry_after_is_the_least_wait_and_the_deadline_the_most() {
    let later = |value: &str| Say::with(429, &[("retry-after", value)], b"slow down");
    for (value, expect_ms) in
        [("3", 3_500), ("0", 500), ("Sun, 06 Nov 1994 08:49:37 GMT", 7_500), ("whenever", 500)]
    {
        let server = Server::start(vec![later(value), Say::reply("done")]).await;
        let (model, waits) = client(&settings(Api::OpenAi, &server));
        model.ask(&call()).await.unwrap();
        assert_eq!(waits.take(), [expect_ms], "{value}");
    }
    let server = Server::start(vec![later("3600"), Say::reply("done")]).await;
    let (model, waits) = client(&settings(Api::OpenAi, &server));
    let error = model.ask(&call()).await.unwrap_err().error;
    let ModelError::Unavailable { calls: 1, detail } = &error else { panic!("{error:?}") };
    assert!(detail.starts_with("status 429: slow down; the next try is 3600500 ms away"), "{detail}");
    assert!(waits.take().is_empty());
}

#[tokio::test]
async fn no_time_left_means_no_call() {
    let server = Server::start(vec![Say::reply("done")]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let error = model.ask(&ModelCall { deadline: Duration::ZERO, ..call() }).await.unwrap_err().error;
    let ModelError::Unavailable { calls: 0, .. } = error else { panic!("{error:?}") };
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_hangs_trickles_or_breaks_is_tried_again() {
    let ms = Duration::from_millis;
    let good = || Say::reply("done");
    for (name, say, call_timeout, idle_timeout, label) in [
        ("hang", Say::Nothing, ms(100), ms(9_000), "timeout"),
        ("slow cut", good().cut(5).slowly(ms(5)), ms(9_000), ms(9_000), "cut"),
        ("trickle", good().slowly(ms(40)), ms(200), ms(9_000), "timeout"),
        ("cut", good().cut(5), ms(9_000), ms(9_000), "cut"),
        ("no head", Say::Bytes(b"HTTP/1.1 200".to_vec()), ms(9_000), ms(9_000), "cut"),
        ("no http", Say::Bytes(b"SSH-2.0-x\r\n\r\n".to_vec()), ms(9_000), ms(9_000), "cut"),
    ] {
        let server = Server::start(vec![say, good()]).await;
        let mut settings = settings(Api::OpenAi, &server);
        let provider = settings.providers.get_mut("here").unwrap();
        (provider.call_timeout, provider.idle_timeout) = (call_timeout, idle_timeout);
        let (model, _) = client(&settings);
        let registry = prometheus::Registry::new();
        let model = model.with_metrics(Metrics::new(&registry).unwrap());
        let reply = model.ask(&call()).await.unwrap();
        let counts = |name: &str, label: &str| counts(&registry, name, label);
        let requests = counts("gen_ai_client_operation_duration_seconds", "error_type");
        assert_eq!(requests, BTreeMap::from([(label.to_owned(), 1), (String::new(), 1)]), "{name}");
        let retries = counts("patchfarm_llm_retries_total", "reason");
        assert_eq!(retries, BTreeMap::from([(label.to_owned(), 1)]), "{name}");
        // The lost call may have been paid for; it is charged by its size.
        assert!(reply.usage.calls == 2 && reply.usage.prompt_tokens > 100, "{name}: {:?}", reply.usage);
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_after_the_idle_time() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec();
    let server =
        Server::start(vec![Say::Slowly([head, b"xxxxxxxxxx".to_vec()].concat(), Duration::from_millis(30))])
            .await;
    let mut settings = settings(Api::OpenAi, &server);
    let provider = settings.providers.get_mut("here").unwrap();
    (provider.idle_timeout, provider.tries) = (Duration::from_millis(10), 1);
    let (model, _) = client(&settings);
    let error = model.ask(&call()).await.unwrap_err().error;
    let detail = "the next piece took longer than 10 ms".to_owned();
    assert_eq!(error, ModelError::Unavailable { calls: 1, detail });
}

#[tokio::test]
async fn the_deadline_ends_a_call_that_hangs() {
    let server = Server::start(vec![Say::Nothing; 5]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let started = Instant::now();
    let error =
        model.ask(&ModelCall { deadline: Duration::from_millis(150), ..call() }).await.unwrap_err().error;
    let ModelError::Unavailable { calls: 1, detail } = &error else { panic!("{error:?}") };
    assert!(detail.starts_with("the whole call took longer than"), "{detail}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_closed_port_is_tried_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(vec![]).await;
    let mut settings = settings(Api::OpenAi, &server);
    let provider = settings.providers.get_mut("here").unwrap();
    provider.base_url = Some(format!("http://{}/v1", closed.local_addr().unwrap()));
    drop(closed);
    let (model, waits) = client(&settings);
    let error = model.ask(&call()).await.unwrap_err().error;
    let ModelError::Unavailable { calls: 5, detail } = &error else { panic!("{error:?}") };
    assert!(detail.starts_with("no connection:"), "{detail}");
    assert_eq!(waits.take().len(), 4);
}

#[tokio::test]
async fn what_is_not_the_protocol_is_told_and_not_tried_again() {
    let html = Say::with(200, &[("content-type", "text/html")], b"<html>Sign in</html>");
    let events = Say::with(200, &[("content-type", "text/event-stream")], b"data: {}\n\n");
    let huge = Say::with(200, &[], &[b' '; 5_000]);
    for (say, expect) in [
        (html, "found \"text/html\""),
        (events, "found \"text/event-stream\""),
        (Say::with(200, &[], b"{\"choices\": [{\"mess"), "expected json"),
        (Say::with(200, &[], b""), "expected json"),
        (Say::with(200, &[], b"\xff\xfe"), "expected json"),
        (Say::json(200, &json!({"error": {"message": "no credits"}})), "no credits"),
        (Say::json(200, &json!({"choices": []})), "expected choices[0]"),
        (huge, "expected at most 4096 bytes"),
    ] {
        let server = Server::start(vec![say, Say::reply("done")]).await;
        let mut settings = settings(Api::OpenAi, &server);
        settings.providers.get_mut("here").unwrap().max_body_bytes = 4_096;
        let (model, _) = client(&settings);
        let error = model.ask(&call()).await.unwrap_err().error;
        let ModelError::Unreadable { detail } = &error else { panic!("{expect}: {error:?}") };
        assert!(detail.contains(expect), "{detail}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_key_is_in_no_error_and_no_debug_form() {
    let echo = format!("bad key {KEY} and farm-secret {}", "x".repeat(10_000));
    for say in [
        Say::with(401, &[], echo.as_bytes()),
        Say::json(401, &json!({"error": {"message": echo}})),
        Say::with(503, &[], echo.as_bytes()),
        Say::with(200, &[("content-type", KEY)], echo.as_bytes()),
        Say::json(200, &json!({"error": echo})),
        Say::json(200, &json!({"choices": [{"message": {"content": null, "refusal": echo}}]})),
        // The cut at 500 characters goes through the key.
        Say::with(401, &[], format!("{}{KEY}", "x".repeat(490)).as_bytes()),
    ] {
        let server = Server::start(vec![say; 5]).await;
        let settings = settings(Api::OpenAi, &server);
        let (model, _) = client(&settings);
        let error = model.ask(&call()).await.unwrap_err().error;
        let shown = format!("{error} {error:?} {model:?} {settings:?}");
        assert!(!shown.contains("hunter") && !shown.contains("farm-secret"), "{shown}");
        assert!(error.to_string().len() < 700, "{error}");
    }
}

#[tokio::test]
async fn a_redirect_carries_prompt_and_key_nowhere() {
    let elsewhere = Server::start(vec![Say::reply("stolen")]).await;
    let to = format!("{}/chat/completions", elsewhere.base_url);
    let server = Server::start(vec![Say::with(307, &[("location", &to)], b"")]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let error = model.ask(&call()).await.unwrap_err().error;
    assert!(matches!(error, ModelError::Refused { status: 307, .. }), "{error:?}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn no_more_calls_at_once_than_set() {
    let server = Server::start(vec![Say::reply("done").slowly(Duration::from_millis(10)); 6]).await;
    let mut settings = settings(Api::OpenAi, &server);
    settings.max_concurrent = 2;
    let model = Arc::new(Client::new(&settings, &Keys::new(), Redactor::default()).unwrap());
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let model = Arc::clone(&model);
            tokio::spawn(async move { model.ask(&ModelCall { form: json_form(), ..call() }).await })
        })
        .collect();
    for reply in calls {
        assert_eq!(reply.await.unwrap().unwrap().text, "done");
    }
    assert!(server.most_open() <= 2, "{}", server.most_open());
    assert!(!server.asked()[0].headers.contains_key("authorization"), "no key, no header");
}
