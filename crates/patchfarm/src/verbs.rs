//! The verbs of people, each a short conversation with control, Kafka or a repository.

pub(crate) mod change;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod patch;
pub(crate) mod repo;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod topics;

use serde_json::Value;

use crate::failure::Outcome;
use crate::output::{Form, plain, say, table};

/// A list, in the form that was asked for: of each item the fields at these paths, as columns.
pub(crate) fn print_list(form: Form, items: &[Value], columns: &[(&str, &str)]) -> Outcome {
    match form {
        Form::Json => say(&serde_json::to_string_pretty(items)?),
        Form::Jsonl => {
            for item in items {
                say(&item.to_string());
            }
        }
        Form::Table => {
            let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
            let rows: Vec<Vec<String>> = items
                .iter()
                .map(|item| columns.iter().map(|(_, path)| plain(&cell(item, path))).collect())
                .collect();
            say(&table(&heads, &rows));
        }
    }
    Ok(())
}

/// One thing, in the form that was asked for; for people, one line a field.
pub(crate) fn print_one(form: Form, item: &Value) -> Outcome {
    match form {
        Form::Json => say(&serde_json::to_string_pretty(item)?),
        Form::Jsonl => say(&item.to_string()),
        Form::Table => {
            let fields = item.as_object().into_iter().flatten();
            for (name, value) in fields.filter(|(_, value)| !is_empty(value)) {
                say(&format!("{name}: {}", plain(&shown(value))));
            }
        }
    }
    Ok(())
}

/// The field at a path such as `result.status`, as text.
fn cell(item: &Value, path: &str) -> String {
    let found = path.split('.').fold(item, |value, name| &value[name]);
    if is_empty(found) { "-".to_owned() } else { shown(found) }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("code").and_then(Value::as_str) {
            Some(code) => code.to_owned(),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `?a=1&b=2` of those that are there; values are percent-encoded.
pub(crate) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", encode(value))))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// Percent-encodes a part of an address.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let parameters = [("a", Some("x y/é".to_owned())), ("b", None), ("c", Some("1".to_owned()))];
        assert_eq!(query(&parameters), "?a=x%20y%2F%C3%A9&c=1");
        assert_eq!(query(&[("a", None)]), "");
    }

    #[test]
    fn cells_show_codes_and_gaps() {
        let item = serde_json::json!({ "reason": { "code": "ok", "text": "t" }, "result": { "n": 3 } });
        assert_eq!(cell(&item, "reason"), "ok");
        assert_eq!(cell(&item, "result.n"), "3");
        assert_eq!(cell(&item, "result.m"), "-");
    }
}
