//! What is read from replies beside their edits, which farm-patch reads.

use farm_core::port::ReplyForm;
use serde_json::{Value, json};

/// Commands that are kept, and characters of each.
const MAX_CHECKS: usize = 10;
const MAX_CHECK_CHARS: usize = 200;

/// Objects that are looked for in a text before it counts as prose.
const MAX_STARTS: usize = 64;

/// The form of a coder's reply in JSON.
pub(crate) fn coder_form() -> ReplyForm {
    let text = || json!({"type": "string"});
    let object = |properties: Value| {
        // Servers that enforce a schema want every field required and no other.
        let required: Vec<&String> =
            properties.as_object().into_iter().flat_map(|fields| fields.keys()).collect();
        let required = json!(required);
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let list = |items: Value| json!({"type": "array", "items": items});
    let schema = object(json!({
        "edits": list(object(json!({"path": text(), "search": text(), "replace": text()}))),
        "files": list(object(json!({"path": text(), "content": text()}))),
        "reasoning": text(),
        "testCommands": list(text()),
    }));
    ReplyForm::Json { name: "edits", schema }
}

/// The commands that a reply suggests as proof. People see them; nothing runs them.
pub fn extract_suggested_checks(reply: &str) -> Vec<String> {
    const FIELD: &str = "testCommands";
    let Some(value) = json_with(FIELD, reply) else { return Vec::new() };
    let commands = match &value[FIELD] {
        Value::String(command) => vec![command.as_str()],
        Value::Array(commands) => commands.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    commands
        .into_iter()
        .map(|command| {
            let line = command.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
            line.take(MAX_CHECK_CHARS).collect::<String>()
        })
        .filter(|command| !command.is_empty())
        .take(MAX_CHECKS)
        .collect()
}

/// The first JSON object of a reply that has `field`, bare or between fences or prose.
pub(crate) fn json_with(field: &str, reply: &str) -> Option<Value> {
    reply.match_indices('{').take(MAX_STARTS).find_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&reply[start..]).into_iter::<Value>();
        values.next()?.ok().filter(|value| value.get(field).is_some())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_read_from_json_in_any_dress() {
        for (reply, expect) in [
            (r#"{"edits":[],"testCommands":["cargo test","  "]}"#, vec!["cargo test"]),
            ("Sure {so}: {}\n```json\n{\"testCommands\": \"a\\nb\"}\n```\nDone {}.", vec!["a b"]),
            (r#"{"testCommands": [1, {"x": 2}]}"#, vec![]),
            ("no json", vec![]),
            ("{\"testCommands\": [\"cut", vec![]),
        ] {
            assert_eq!(extract_suggested_checks(reply), expect, "{reply}");
        }
        let many = json!({"testCommands": vec!["x".repeat(1_000); 50]}).to_string();
        let found = extract_suggested_checks(&many);
        assert_eq!((found.len(), found[0].len()), (MAX_CHECKS, MAX_CHECK_CHARS));
    }

    #[test]
    fn the_schema_is_one_that_strict_servers_take() {
        fn check(schema: &Value) {
            if schema["type"] == "object" {
                assert_eq!(schema["additionalProperties"], false);
                let fields: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
                assert_eq!(schema["required"], json!(fields));
                assert!(!fields.is_empty());
                schema["properties"].as_object().unwrap().values().for_each(check);
            }
            if schema["type"] == "array" {
                check(&schema["items"]);
            }
        }
        let ReplyForm::Json { schema, .. } = coder_form() else { panic!("expected json") };
        check(&schema);
        assert_eq!(schema["properties"]["edits"]["items"]["properties"]["search"], json!({"type": "string"}));
    }

    proptest! {
        #[test]
        fn no_reply_panics(reply in any::<String>(), json_like in "[{}\\[\\]\":,a0-9testCommands\\\\ \n]{0,200}") {
            extract_suggested_checks(&reply);
            extract_suggested_checks(&json_like);
        }
    }
}
