//! Replies from a file: `replay:FILE` reads it, `record = "FILE"` writes it.
//!
//! One JSON object a line:
//!
//! ```json
//! {"match": {"role": "coder", "contains": ["TASK GOAL:\nfix add"], "attempt": 1}, "reply": "…",
//!  "usage": {"prompt_tokens": 900, "cached_tokens": 0, "completion_tokens": 80}, "delay_ms": 300, "once": true, "truncated": false}
//! ```
//!
//! The first line that fits answers. A line fits if its role is the call's, all of `contains` stand in the prompt (system part
//! and user part), and the prompt is that of its attempt; what is absent fits everything. `reply` is the text, or any other
//! JSON, which is then written out. A line with `once` answers once in a process. No line: the call is refused, and the error
//! says what was asked.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farm_core::result::Usage;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::prompt;
use crate::settings::SettingsError;
use crate::wire::Tokens;

/// The lines of a file.
pub(crate) struct Script {
    file: String,
    lines: Vec<(Line, AtomicBool)>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    #[serde(default)]
    r#match: Match,
    reply: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
    #[serde(default, skip_serializing_if = "is_default")]
    delay_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    once: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) truncated: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Match {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contains: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

/// Tokens as chat completions count them: those from the cache are part of the prompt's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Counts {
    prompt_tokens: u64,
    cached_tokens: u64,
    completion_tokens: u64,
}

impl Script {
    pub(crate) fn open(file: &Path) -> Result<Self, SettingsError> {
        let bad = |detail: String| SettingsError::BadReplay { file: file.display().to_string(), detail };
        let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        let mut lines = Vec::new();
        for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line =
                serde_json::from_str(line).map_err(|error| bad(format!("line {}: {error}", idx + 1)))?;
            lines.push((line, AtomicBool::new(false)));
        }
        if lines.is_empty() {
            return Err(bad("expected at least one line, found none".to_owned()));
        }
        Ok(Self { file: file.display().to_string(), lines })
    }

    /// The line that answers; one that answers once is used up.
    pub(crate) fn take(&self, role: &str, prompt: &str) -> Option<&Line> {
        let attempt = prompt::attempt_of(prompt);
        let fits = |line: &Line| {
            line.r#match.role.as_deref().is_none_or(|wanted| wanted == role)
                && line.r#match.attempt.is_none_or(|wanted| wanted == attempt)
                && line.r#match.contains.iter().all(|wanted| prompt.contains(wanted.as_str()))
        };
        self.lines
            .iter()
            .find(|(line, used)| fits(line) && !(line.once && used.swap(true, Ordering::Relaxed)))
            .map(|(line, _)| line)
    }

    /// The error body for a question that no line fits.
    pub(crate) fn nothing_fits(&self, role: &str, prompt: &str) -> Value {
        let asked: String = prompt::goal_of(prompt).unwrap_or(prompt).chars().take(200).collect();
        let attempt = prompt::attempt_of(prompt);
        let message = format!(
            "{} has no line for role {role}, attempt {attempt}, asked {asked:?}; add one or widen a match",
            self.file
        );
        json!({"error": {"message": message, "code": "no_line_fits"}})
    }
}

impl Line {
    pub(crate) fn text(&self) -> String {
        match &self.reply {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn tokens(&self) -> Option<Tokens> {
        self.usage.map(|usage| Tokens {
            fresh: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            cache_read: usage.cached_tokens,
            cache_write: 0,
            output: usage.completion_tokens,
        })
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// Appends exchanges to a file.
pub(crate) struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    pub(crate) fn open(name: &str, file: &Path) -> Result<Self, SettingsError> {
        let file = OpenOptions::new().create(true).append(true).open(file).map_err(|error| {
            SettingsError::BadValue {
                setting: format!("record of provider {name}"),
                expected: "a file that can be written".to_owned(),
                found: error.to_string(),
            }
        })?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes one exchange, as a line that answers the same goal in the same role and attempt.
    pub(crate) fn write(
        &self,
        role: &str,
        prompt: &str,
        reply: &str,
        usage: &Usage,
        truncated: bool,
    ) -> std::io::Result<()> {
        let asked = prompt::goal_of(prompt).unwrap_or(prompt);
        let line = Line {
            r#match: Match {
                role: Some(role.to_owned()),
                contains: vec![asked.to_owned()],
                attempt: Some(prompt::attempt_of(prompt)),
            },
            reply: Value::String(reply.to_owned()),
            usage: Some(Counts {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                completion_tokens: usage.completion_tokens,
            }),
            delay_ms: 0,
            once: false,
            truncated,
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        // One write a line, so that several processes may share the file.
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
