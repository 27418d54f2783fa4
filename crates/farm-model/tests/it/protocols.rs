//! What is sent and what is read, for each protocol.

use farm_core::port::{Model, ModelCall, ModelError};
use farm_core::result::Usage;
use farm_model::settings::{Api, OutputLimit};
use serde_json::json;

use crate::server::{Say, Server};
use crate::support::{KEY, call, client, json_form, settings};

#[tokio::test]
async fn chat_completions() {
    let server = Server::start(vec![Say::reply("done"), Say::reply("done")]).await;
    let mut settings = settings(Api::OpenAi, &server);
    let (model, _) = client(&settings);
    let reply = model.ask(&call()).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.model.as_str(), reply.truncated), ("done", "model-2026", false));
    // 40 fresh, 60 cached at a tenth, 20 out at the double.
    let usage =
        Usage { calls: 1, prompt_tokens: 100, cached_tokens: 60, completion_tokens: 20, cost_micro_usd: 86 };
    assert_eq!(reply.usage, usage);

    settings.providers.get_mut("here").unwrap().output_limit = Some(OutputLimit::MaxCompletionTokens);
    settings.roles.coder.temperature = 0.5;
    let (model, _) = client(&settings);
    model.ask(&ModelCall { form: json_form(), ..call() }).await.unwrap();

    let [first, second] = &server.asked()[..] else { panic!("expected two requests") };
    assert_eq!(first.path, "/v1/chat/completions");
    assert_eq!(first.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(first.headers["content-type"], "application/json");
    let messages = json!([{"role": "system", "content": "be good"}, {"role": "user", "content": "fix it"}]);
    assert_eq!(
        first.body,
        json!({
            "model": "model", "messages": messages, "stream": false, "temperature": 0.1, "max_tokens": 8192,
        })
    );
    assert_eq!(
        second.body,
        json!({
            "model": "model", "messages": messages, "stream": false, "temperature": 0.5, "max_completion_tokens": 8192,
            "response_format": {
                "type": "json_schema", "json_schema": {"name": "edits", "strict": true, "schema": {"type": "object"}},
            },
        })
    );
}

#[tokio::test]
async fn messages() {
    let usage = json!({
        "input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 40, "output_tokens": 5,
    });
    let text = json!({"type": "text", "text": "done"});
    let tool = json!({"type": "tool_use", "name": "edits", "input": {"edits": []}});
    let server = Server::start(vec![
        Say::json(
            200,
            &json!({"model": "model-2026", "content": [text], "stop_reason": "end_turn", "usage": usage}),
        ),
        Say::json(200, &json!({"content": [text, tool], "stop_reason": "max_tokens", "usage": usage})),
    ])
    .await;
    let (model, _) = client(&settings(Api::Anthropic, &server));
    let reply = model.ask(&call()).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.model.as_str(), reply.truncated), ("done", "model-2026", false));
    // 10 fresh, 100 read at a tenth, 40 written at five quarters, 5 out at the double.
    let usage =
        Usage { calls: 1, prompt_tokens: 150, cached_tokens: 100, completion_tokens: 5, cost_micro_usd: 80 };
    assert_eq!(reply.usage, usage);
    let reply = model.ask(&ModelCall { form: json_form(), ..call() }).await.unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.model.as_str(), reply.truncated),
        (r#"{"edits":[]}"#, "model", true)
    );

    let [first, second] = &server.asked()[..] else { panic!("expected two requests") };
    assert_eq!(first.path, "/v1/messages");
    assert_eq!(first.headers["x-api-key"], KEY);
    assert_eq!(first.headers["anthropic-version"], "2023-06-01");
    assert!(!first.headers.contains_key("authorization"));
    let mut body = json!({
        "model": "model", "max_tokens": 8192, "temperature": 0.1,
        "system": [{"type": "text", "text": "be good", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "fix it"}],
    });
    assert_eq!(first.body, body);
    body["tools"] =
        json!([{"name": "edits", "description": "Gives the reply.", "input_schema": {"type": "object"}}]);
    body["tool_choice"] = json!({"type": "tool", "name": "edits"});
    assert_eq!(second.body, body);
}

#[tokio::test]
async fn a_server_that_does_not_count_is_counted_for() {
    let answer = json!({"choices": [{"message": {"content": "12345678"}, "finish_reason": "length"}]});
    let server = Server::start(vec![Say::json(200, &answer)]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let reply = model.ask(&call()).await.unwrap();
    // 13 bytes asked, 8 answered.
    let usage =
        Usage { calls: 1, prompt_tokens: 4, cached_tokens: 0, completion_tokens: 2, cost_micro_usd: 8 };
    assert_eq!((reply.usage, reply.truncated), (usage, true));
}

#[tokio::test]
async fn absurd_counts_are_cut_and_can_be_summed() {
    let usage = json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX});
    let answer = json!({"choices": [{"message": {"content": "a"}}], "usage": usage});
    let server = Server::start(vec![Say::json(200, &answer); 2]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let mut sum = model.ask(&call()).await.unwrap().usage;
    sum.add(&model.ask(&call()).await.unwrap().usage);
    assert_eq!(sum.calls, 2);
}

#[tokio::test]
async fn secrets_never_leave_in_a_prompt() {
    let server = Server::start(vec![Say::reply("done")]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let user = format!("the key is {KEY}, the other farm-secret");
    model.ask(&ModelCall { user, system: "farm-secret".to_owned(), ..call() }).await.unwrap();
    let messages = &server.asked()[0].body["messages"];
    assert_eq!(messages[0]["content"], "[redacted]");
    assert_eq!(messages[1]["content"], "the key is [redacted], the other [redacted]");
}

#[tokio::test]
async fn a_refusal_is_an_error_and_an_unknown_role_too() {
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "I will not"}}]});
    let server = Server::start(vec![Say::json(200, &refusal)]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let expect = ModelError::Refused { status: 0, detail: "I will not".to_owned() };
    assert_eq!(model.ask(&call()).await.unwrap_err().error, expect);
    let error = model.ask(&ModelCall { role: "poet", ..call() }).await.unwrap_err().error;
    assert!(error.to_string().contains("no role is called poet"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_worst_case_is_above_what_a_call_takes() {
    let server = Server::start(vec![]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let worst = model.worst_case(&call());
    // 13 bytes asked are at most 7 tokens, written to a cache; 8192 come back.
    assert_eq!((worst.tokens, worst.cost_micro_usd), (8_199, 9 + 16_384));
    let with_schema = model.worst_case(&ModelCall { form: json_form(), ..call() });
    assert!(with_schema.tokens > worst.tokens);
}
