//! Chat completions, as OpenAI defines them and vLLM, Ollama and llama.cpp serve them.

use farm_core::port::ReplyForm;
use serde_json::{Value, json};

use super::{Manners, Question, Reading, Tokens, count};
use crate::settings::{OutputLimit, Structured};

pub(crate) fn body(question: &Question<'_>, manners: Manners) -> Value {
    let mut messages = Vec::new();
    if !question.system.is_empty() {
        messages.push(json!({"role": "system", "content": question.system}));
    }
    messages.push(json!({"role": "user", "content": question.user}));
    let mut body = json!({"model": question.model, "messages": messages, "stream": false});
    match manners.limit {
        OutputLimit::MaxCompletionTokens => {
            body["max_completion_tokens"] = json!(question.max_output_tokens);
        }
        OutputLimit::MaxTokens => body["max_tokens"] = json!(question.max_output_tokens),
    }
    if manners.temperature {
        body["temperature"] = json!(question.temperature);
    }
    if let ReplyForm::Json { name, schema } = question.form {
        match manners.structured {
            Structured::JsonSchema => {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": {"name": name, "strict": true, "schema": schema},
                });
            }
            Structured::JsonObject => body["response_format"] = json!({"type": "json_object"}),
            Structured::Plain => {}
        }
    }
    body
}

pub(crate) fn read(answer: &Value) -> Result<Reading, String> {
    let Some(choice) = answer["choices"].get(0) else {
        let found = &answer["error"];
        return Err(format!("expected choices[0], found {}", if found.is_null() { answer } else { found }));
    };
    let message = &choice["message"];
    let finish = choice["finish_reason"].as_str().unwrap_or_default();
    let truncated = finish == "length" || finish == "max_tokens";
    let text = content(&message["content"]);
    let refused = match message["refusal"].as_str() {
        Some(words) if text.is_none() => Some(words.to_owned()),
        _ if finish == "content_filter" => Some("the content filter stopped the reply".to_owned()),
        _ => None,
    };
    // A model that thinks may use up its limit before the first word: then there is no content, and that is no fault.
    if text.is_none() && refused.is_none() && !truncated {
        return Err(format!("expected choices[0].message.content to be text, found {}", message["content"]));
    }
    Ok(Reading {
        text: without_thoughts(text.unwrap_or_default()),
        model: answer["model"].as_str().map(str::to_owned),
        tokens: tokens(&answer["usage"]),
        truncated,
        refused,
    })
}

fn content(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
    }
}

/// Drops the thoughts that local servers leave at the head of a reply: edits in them are not meant.
fn without_thoughts(text: String) -> String {
    match text.trim_start().strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, reply)) => reply.trim_start().to_owned(),
        None => text,
    }
}

fn tokens(usage: &Value) -> Option<Tokens> {
    let prompt = count(usage, "prompt_tokens")?;
    let cached = count(&usage["prompt_tokens_details"], "cached_tokens").unwrap_or(0).min(prompt);
    let output = count(usage, "completion_tokens").unwrap_or(0);
    Some(Tokens { fresh: prompt - cached, cache_read: cached, cache_write: 0, output })
}

/// The texts of all messages of a request: what scripted answers are chosen by.
pub(crate) fn prompt_of(body: &Value) -> String {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<&str> = messages.iter().filter_map(|message| message["content"].as_str()).collect();
    texts.join("\n\n")
}

/// An answer as a server would give it, for transports without a server.
pub(crate) fn answer(model: &str, text: &str, tokens: Option<Tokens>, truncated: bool) -> Value {
    let mut answer = json!({
        "object": "chat.completion",
        "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": if truncated { "length" } else { "stop" },
        }],
    });
    if let Some(tokens) = tokens {
        answer["usage"] = json!({
            "prompt_tokens": tokens.fresh + tokens.cache_read,
            "completion_tokens": tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        });
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_every_shape() {
        let reading = |text: &str, truncated| {
            Ok(Reading { text: text.to_owned(), model: None, tokens: None, truncated, refused: None })
        };
        let choice = |choice: Value| json!({"choices": [choice]});
        for (answer, expect) in [
            (choice(json!({"message": {"content": "a"}, "finish_reason": "stop"})), reading("a", false)),
            (choice(json!({"message": {"content": "a"}, "finish_reason": "length"})), reading("a", true)),
            (choice(json!({"message": {"content": null}, "finish_reason": "length"})), reading("", true)),
            (choice(json!({"message": {"content": [{"type": "text", "text": "a"}]}})), reading("a", false)),
            (choice(json!({"message": {"content": "<think>no</think>\n\nyes"}})), reading("yes", false)),
            (choice(json!({"message": {"content": "<think>no end"}})), reading("<think>no end", false)),
            (
                choice(json!({"message": {"content": null}, "finish_reason": "tool_calls"})),
                Err("expected choices[0].message.content to be text, found null".to_owned()),
            ),
            (
                json!({"error": {"message": "m"}}),
                Err(r#"expected choices[0], found {"message":"m"}"#.to_owned()),
            ),
            (json!([1]), Err("expected choices[0], found [1]".to_owned())),
        ] {
            assert_eq!(read(&answer), expect, "{answer}");
        }
        let refusal = read(&choice(json!({"message": {"content": null, "refusal": "I will not"}}))).unwrap();
        assert_eq!(refusal.refused.as_deref(), Some("I will not"));
    }
}
