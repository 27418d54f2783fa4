//! Stepping down from what a server does not know.

use farm_core::port::{Model, ModelCall, ModelError};
use farm_model::settings::{Api, Structured};
use serde_json::{Value, json};

use crate::server::{Say, Server};
use crate::support::{call, client, json_form, settings};

fn refusal(message: &str) -> Say {
    Say::json(400, &json!({"error": {"message": message, "type": "invalid_request_error"}}))
}

fn forms(server: &Server) -> Vec<Value> {
    server.asked().iter().map(|asked| asked.body["response_format"]["type"].clone()).collect()
}

#[tokio::test]
async fn a_form_that_is_refused_is_never_asked_for_again() {
    let server = Server::start(vec![
        refusal("'response_format.type' must be text or json_object"),
        Say::json(422, &json!({"detail": "response_format is unknown"})),
        Say::reply("{}"),
        Say::reply("{}"),
        Say::reply("words"),
    ])
    .await;
    let (model, waits) = client(&settings(Api::OpenAi, &server));
    let json_call = ModelCall { form: json_form(), ..call() };
    assert_eq!(model.ask(&json_call).await.unwrap().usage.calls, 3);
    assert_eq!(model.ask(&json_call).await.unwrap().usage.calls, 1);
    model.ask(&call()).await.unwrap();
    assert_eq!(
        forms(&server),
        [json!("json_schema"), json!("json_object"), Value::Null, Value::Null, Value::Null]
    );
    assert!(waits.take().is_empty(), "stepping down is no failure");
}

#[tokio::test]
async fn the_setting_is_the_first_step() {
    for (structured, expect) in [
        (Structured::JsonSchema, json!("json_schema")),
        (Structured::JsonObject, json!("json_object")),
        (Structured::Plain, Value::Null),
    ] {
        let server = Server::start(vec![Say::reply("{}")]).await;
        let mut settings = settings(Api::OpenAi, &server);
        settings.providers.get_mut("here").unwrap().structured = structured;
        let (model, _) = client(&settings);
        model.ask(&ModelCall { form: json_form(), ..call() }).await.unwrap();
        assert_eq!(forms(&server), [expect]);
    }
}

#[tokio::test]
async fn a_tool_that_is_refused_is_left_out() {
    let good = json!({"content": [{"type": "text", "text": "{}"}]});
    let server = Server::start(vec![
        refusal("tool_choice: forced tools are not supported with this model"),
        Say::json(200, &good),
    ])
    .await;
    let (model, _) = client(&settings(Api::Anthropic, &server));
    model.ask(&ModelCall { form: json_form(), ..call() }).await.unwrap();
    assert!(server.asked()[0].body["tools"].is_array());
    assert!(server.asked()[1].body["tools"].is_null());
}

#[tokio::test]
async fn a_model_that_takes_no_temperature_or_another_limit_is_asked_without() {
    let server = Server::start(vec![
        refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        refusal("Unsupported value: 'temperature' does not support 0.1 with this model."),
        Say::reply("done"),
        Say::reply("done"),
    ])
    .await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    model.ask(&call()).await.unwrap();
    model.ask(&call()).await.unwrap();
    let bodies: Vec<Value> = server.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!((&bodies[0]["max_tokens"], &bodies[0]["temperature"]), (&json!(8192), &json!(0.1)));
    for body in &bodies[2..] {
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&Value::Null, &Value::Null));
        assert_eq!(body["max_completion_tokens"], 8192);
    }
}

#[tokio::test]
async fn a_refusal_of_something_else_stays_a_refusal() {
    for form in [call().form, json_form()] {
        let server = Server::start(vec![refusal("maximum context length is 8192 tokens")]).await;
        let (model, _) = client(&settings(Api::OpenAi, &server));
        let error = model.ask(&ModelCall { form, ..call() }).await.unwrap_err().error;
        let detail = "maximum context length is 8192 tokens".to_owned();
        assert_eq!(error, ModelError::Refused { status: 400, detail });
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_left_alone() {
    let server = Server::start(vec![refusal("temperature response_format max_completion_tokens"); 20]).await;
    let (model, _) = client(&settings(Api::OpenAi, &server));
    let error = model.ask(&ModelCall { form: json_form(), ..call() }).await.unwrap_err().error;
    assert!(matches!(error, ModelError::Refused { status: 400, .. }), "{error:?}");
    assert_eq!(server.asked().len(), 5, "four steps down and the last word");
}
