//! The scripted model over HTTP.

use std::time::{Duration, Instant};

use farm_demo::model_server::script::{Answer, Rule, Script};
use farm_demo::model_server::{ModelServer, UNMATCHED};
use serde_json::{Value, json};

async fn serve(rules: Vec<Rule>, latency: Duration) -> ModelServer {
    ModelServer::start(Script { rules }, latency).await.unwrap()
}

async fn ask(server: &ModelServer, user: &str) -> reqwest::Response {
    let body = json!({"model": "coder-7b", "messages": [
        {"role": "system", "content": "You write patches."},
        {"role": "user", "content": [{"type": "text", "text": user}]},
    ]});
    reqwest::Client::new()
        .post(format!("{}/chat/completions", server.url()))
        .bearer_auth("key-1")
        .json(&body)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_completion_has_the_shape_of_the_api() {
    let answer = Answer { prompt_tokens: Some(1200), cached_tokens: 1000, ..Answer::text("```diff\n```") };
    let server = serve(vec![Rule::new("k", "rename it", vec![answer])], Duration::ZERO).await;
    let reply: Value = ask(&server, "please rename it").await.json().await.unwrap();
    assert_eq!(reply["choices"][0]["message"], json!({"role": "assistant", "content": "```diff\n```"}));
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["model"], "coder-7b");
    assert_eq!(
        reply["usage"],
        json!({"prompt_tokens": 1200, "completion_tokens": 3, "total_tokens": 1203,
            "prompt_tokens_details": {"cached_tokens": 1000}})
    );
    let models: Value = reqwest::get(format!("{}/models", server.url())).await.unwrap().json().await.unwrap();
    assert_eq!(models["data"][0]["id"], "replay");
}

#[tokio::test]
async fn errors_carry_their_status_and_headers_and_calls_are_kept() {
    let slow = Answer {
        headers: [("retry-after".to_owned(), "2".to_owned())].into(),
        ..Answer::error(429, "slow down")
    };
    let torn = Answer { body: Some("{\"choi".to_owned()), ..Answer::default() };
    let rule = Rule::new("k", "goal", vec![slow, Answer::error(500, "oops"), torn, Answer::text("done")]);
    let server = serve(vec![rule], Duration::ZERO).await;

    let limited = ask(&server, "goal").await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    let error: Value = limited.json().await.unwrap();
    assert_eq!(error["error"]["message"], "slow down");
    assert_eq!(ask(&server, "goal").await.status(), 500);
    let torn = ask(&server, "goal").await;
    assert_eq!((torn.status().as_u16(), torn.text().await.unwrap()), (200, "{\"choi".to_owned()));
    for _ in 0..2 {
        let reply: Value = ask(&server, "goal").await.json().await.unwrap();
        assert_eq!(reply["choices"][0]["message"]["content"], "done");
    }
    assert_eq!(ask(&server, "something else").await.status(), 400);

    assert_eq!(server.calls(), [("k".to_owned(), 5), (UNMATCHED.to_owned(), 1)].into());
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    assert_eq!(requests[0].authorization.as_deref(), Some("Bearer key-1"));
    assert_eq!(requests[0].text_of("system"), "You write patches.");
    assert_eq!(requests[5].text_of("user"), "something else");
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    let server = serve(vec![], Duration::ZERO).await;
    for body in ["{", "{}", r#"{"messages":[],"stream":true}"#] {
        let url = format!("{}/chat/completions", server.url());
        let status = reqwest::Client::new().post(url).body(body).send().await.unwrap().status();
        assert_eq!(status, 400, "{body}");
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_hundred_calls_wait_side_by_side() {
    let quick = Answer { delay_ms: Some(0), ..Answer::text("q") };
    let rules =
        vec![Rule::new("quick", "quick", vec![quick]), Rule::new("k", "goal", vec![Answer::text("s")])];
    let server = serve(rules, Duration::from_secs(1)).await;
    let client = reqwest::Client::new();
    let body = json!({"messages": [{"role": "user", "content": "goal ".repeat(4000)}]});
    let start = Instant::now();
    let calls: Vec<_> = (0..100)
        .map(|_| client.post(format!("{}/chat/completions", server.url())).json(&body).send())
        .map(tokio::spawn)
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // One after another they would take 100 s; the bound is wide because other suites share the machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(server.calls()["k"], 100);
    assert_eq!(ask(&server, "quick").await.status(), 200);
}

#[tokio::test]
async fn a_test_can_wait_for_a_call() {
    let server = serve(vec![Rule::new("k", "goal", vec![Answer::text("s")])], Duration::from_secs(60)).await;
    let asking = async {
        for _ in 0..2 {
            let url = format!("{}/chat/completions", server.url());
            let body = json!({"messages": [{"role": "user", "content": "goal"}]});
            // The answer is a minute away; the call alone counts.
            let call =
                reqwest::Client::new().post(url).json(&body).timeout(Duration::from_millis(200)).send();
            assert!(call.await.unwrap_err().is_timeout());
        }
    };
    tokio::join!(server.until_asked("k", 2), asking);
    server.until_asked("k", 1).await;
    assert_eq!(server.calls()["k"], 2);
}
