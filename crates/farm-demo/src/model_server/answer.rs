//! The HTTP side of the scripted model: the shapes that OpenAI's API reference gives for chat completions and models.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::script::Answer;
use super::{Asked, Shared, UNMATCHED};

/// Characters that count as one token where the script gives no figure.
const CHARS_PER_TOKEN: usize = 4;

pub(super) async fn models() -> Json<Value> {
    Json(json!({"object": "list", "data": [
        {"id": "replay", "object": "model", "created": 0, "owned_by": "patchfarm"}
    ]}))
}

pub(super) async fn completions(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {error}")),
    };
    if !body["messages"].is_array() {
        return refusal(StatusCode::BAD_REQUEST, "messages must be an array");
    }
    if body["stream"] == json!(true) {
        return refusal(StatusCode::BAD_REQUEST, "stream is not supported");
    }
    let prompt = text_of(&body, "user");
    let rule = shared.script.rule_for(&prompt);
    let before = shared.record(Asked {
        key: rule.map_or(UNMATCHED, |rule| &rule.key).to_owned(),
        authorization: headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
        body: body.clone(),
    });
    let Some(answer) = rule.and_then(|rule| rule.answer(before)) else {
        return refusal(StatusCode::BAD_REQUEST, "no rule of the script fits this prompt");
    };
    tokio::time::sleep(answer.delay_ms.map_or(shared.latency, Duration::from_millis)).await;
    respond(answer, &body, before)
}

/// The text of all messages of `role`; content may be a string or a list of parts.
pub(super) fn text_of(body: &Value, role: &str) -> String {
    let mut texts = Vec::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        if message["role"] != role {
            continue;
        }
        match &message["content"] {
            Value::String(text) => texts.push(text.as_str()),
            Value::Array(parts) => texts.extend(parts.iter().filter_map(|part| part["text"].as_str())),
            _ => {}
        }
    }
    texts.join("\n")
}

fn respond(answer: &Answer, asked: &Value, before: u64) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match &answer.body {
        Some(body) => {
            let mut response = (status, Body::from(body.clone())).into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        None if status == StatusCode::OK => Json(completion(answer, asked, before)).into_response(),
        None => refusal(status, &answer.text),
    };
    for (name, value) in &answer.headers {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().insert(name, value);
            }
            _ => tracing::warn!(name, value, "model script: no HTTP header"),
        }
    }
    response
}

fn completion(answer: &Answer, asked: &Value, before: u64) -> Value {
    let estimate = |text: &str| text.chars().count().div_ceil(CHARS_PER_TOKEN) as u64;
    let prompt_tokens = answer.prompt_tokens.unwrap_or_else(|| {
        ["system", "user", "assistant"].iter().map(|role| estimate(&text_of(asked, role))).sum()
    });
    let completion_tokens = answer.completion_tokens.unwrap_or_else(|| estimate(&answer.text));
    json!({
        "id": format!("chatcmpl-{before}"),
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"].as_str().unwrap_or("replay"),
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": answer.finish_reason,
        }],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        },
    })
}

/// An error in the shape that clients of the API read.
fn refusal(status: StatusCode, message: &str) -> Response {
    let kind = match status.as_u16() {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, Json(error)).into_response()
}
