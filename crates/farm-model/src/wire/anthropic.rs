//! Anthropic's messages.

use farm_core::port::ReplyForm;
use serde_json::{Value, json};

use super::{Manners, Question, Reading, Tokens, count};
use crate::settings::Structured;

/// The version of the protocol that is spoken.
pub(crate) const VERSION: &str = "2023-06-01";

pub(crate) fn body(question: &Question<'_>, manners: Manners) -> Value {
    let mut body = json!({
        "model": question.model,
        "max_tokens": question.max_output_tokens,
        "messages": [{"role": "user", "content": question.user}],
    });
    if !question.system.is_empty() {
        body["system"] =
            json!([{"type": "text", "text": question.system, "cache_control": {"type": "ephemeral"}}]);
    }
    if manners.temperature {
        body["temperature"] = json!(question.temperature);
    }
    // A tool that must be called is the one way to a schema that every model of this protocol has.
    if let (ReplyForm::Json { name, schema }, Structured::JsonSchema) = (question.form, manners.structured) {
        body["tools"] = json!([{"name": name, "description": "Gives the reply.", "input_schema": schema}]);
        body["tool_choice"] = json!({"type": "tool", "name": name});
    }
    body
}

pub(crate) fn read(answer: &Value) -> Result<Reading, String> {
    let Some(blocks) = answer["content"].as_array() else {
        let found = &answer["error"];
        return Err(format!(
            "expected a list in content, found {}",
            if found.is_null() { answer } else { found }
        ));
    };
    let stop = answer["stop_reason"].as_str().unwrap_or_default();
    // A tool's input is the reply in its schema; what is said around it is not.
    let tool =
        blocks.iter().find(|block| block["type"] == "tool_use").map(|block| block["input"].to_string());
    let said = || blocks.iter().filter_map(|block| block["text"].as_str()).collect::<String>();
    Ok(Reading {
        text: tool.unwrap_or_else(said),
        model: answer["model"].as_str().map(str::to_owned),
        tokens: tokens(&answer["usage"]),
        truncated: stop == "max_tokens" || stop == "model_context_window_exceeded",
        refused: (stop == "refusal").then(|| "the model refuses to answer".to_owned()),
    })
}

fn tokens(usage: &Value) -> Option<Tokens> {
    Some(Tokens {
        fresh: count(usage, "input_tokens")?,
        cache_read: count(usage, "cache_read_input_tokens").unwrap_or(0),
        cache_write: count(usage, "cache_creation_input_tokens").unwrap_or(0),
        output: count(usage, "output_tokens").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_every_shape() {
        for (answer, text, truncated) in [
            (json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab", false),
            (
                json!({"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}]}),
                "a",
                false,
            ),
            (
                json!({"content": [{"type": "text", "text": "a"}, {"type": "tool_use", "input": {"k": 1}}]}),
                r#"{"k":1}"#,
                false,
            ),
            (json!({"content": [], "stop_reason": "max_tokens"}), "", true),
        ] {
            let reading = read(&answer).unwrap();
            assert_eq!((reading.text.as_str(), reading.truncated), (text, truncated), "{answer}");
        }
        assert!(read(&json!({"content": [], "stop_reason": "refusal"})).unwrap().refused.is_some());
        assert!(read(&json!({"error": "x"})).unwrap_err().contains("found \"x\""));
    }
}
