//! What the scripted model answers to what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Rules, tried in order; the first that fits answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Script {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Which calls, and what they get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// What its calls are counted under; several rules may share one.
    pub key: String,
    /// Texts that must all stand in the user's messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Texts of which none may stand there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// The first call of the key gets the first, the next the next, and all further ones the last.
    pub answers: Vec<Answer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answer {
    /// The HTTP status; anything but 200 makes `text` the message of an error.
    pub status: u16,
    /// The model's reply.
    pub text: String,
    /// Sent in place of a completion, as it stands.
    pub body: Option<String>,
    /// Milliseconds before the answer; the server's latency when absent.
    pub delay_ms: Option<u64>,
    /// Further headers, such as `retry-after`.
    pub headers: BTreeMap<String, String>,
    /// Why the model stopped: `stop`, or `length` at its output limit.
    pub finish_reason: String,
    /// Tokens of the prompt; estimated when absent.
    pub prompt_tokens: Option<u64>,
    /// Of those, from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens of the reply; estimated when absent.
    pub completion_tokens: Option<u64>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            text: String::new(),
            body: None,
            delay_ms: None,
            headers: BTreeMap::new(),
            finish_reason: "stop".to_owned(),
            prompt_tokens: None,
            cached_tokens: 0,
            completion_tokens: None,
        }
    }
}

impl Answer {
    /// A reply.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// An error of this status.
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        Self { status, text: message.into(), ..Self::default() }
    }
}

impl Rule {
    /// A rule that answers each call whose user's messages hold `text`.
    pub fn new(key: impl Into<String>, text: impl Into<String>, answers: Vec<Answer>) -> Self {
        Self { key: key.into(), contains: vec![text.into()], lacks: Vec::new(), answers }
    }

    fn fits(&self, prompt: &str) -> bool {
        self.contains.iter().all(|text| prompt.contains(text.as_str()))
            && !self.lacks.iter().any(|text| prompt.contains(text.as_str()))
    }
}

/// A script that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("model script {path} cannot be read: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is not a script.
    #[error("model script, line {line}: expected rules as JSON: {source}")]
    NoRule {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A rule that has nothing to say.
    #[error("model script: rule {key:?} has no answers, give it at least one")]
    NoAnswers {
        /// Which rule.
        key: String,
    },
}

impl Script {
    /// Reads a file: one JSON object with `rules`, or, if its name ends in `.jsonl`, one rule a line.
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScriptError::Unreadable { path: path.to_owned(), source })?;
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            Self::from_jsonl(&text)
        } else {
            Self::from_json(&text)
        }
    }

    /// Reads `{"rules": […]}`.
    pub fn from_json(text: &str) -> Result<Self, ScriptError> {
        let script: Self = serde_json::from_str(text)
            .map_err(|source| ScriptError::NoRule { line: source.line(), source })?;
        script.checked()
    }

    /// Reads one rule a line; empty lines are skipped.
    pub fn from_jsonl(text: &str) -> Result<Self, ScriptError> {
        let mut rules = Vec::new();
        for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let rule =
                serde_json::from_str(line).map_err(|source| ScriptError::NoRule { line: idx + 1, source })?;
            rules.push(rule);
        }
        Self { rules }.checked()
    }

    fn checked(self) -> Result<Self, ScriptError> {
        match self.rules.iter().find(|rule| rule.answers.is_empty()) {
            Some(rule) => Err(ScriptError::NoAnswers { key: rule.key.clone() }),
            None => Ok(self),
        }
    }

    /// The rule for a prompt.
    pub(super) fn rule_for(&self, prompt: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(prompt))
    }
}

impl Rule {
    /// The answer to a call that `before` calls of its key preceded.
    pub(super) fn answer(&self, before: u64) -> Option<&Answer> {
        let last = self.answers.len().checked_sub(1)?;
        self.answers.get(usize::try_from(before).unwrap_or(last).min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_answers() {
        let failures = "# SELF-CHECK FAILURES";
        let script = Script {
            rules: vec![
                Rule { contains: vec!["fix a".into(), failures.into()], ..rule("again") },
                Rule { contains: vec!["fix a".into()], lacks: vec!["never".into()], ..rule("first") },
                rule("rest"),
            ],
        };
        for (prompt, key) in [
            ("fix a", "first"),
            ("please fix a\n# SELF-CHECK FAILURES\n…", "again"),
            ("fix a, or never", "rest"),
            ("", "rest"),
        ] {
            assert_eq!(script.rule_for(prompt).unwrap().key, key, "{prompt:?}");
        }
    }

    #[test]
    fn answers_follow_each_other_and_the_last_stays() {
        let rule = Rule::new("k", "x", vec![Answer::error(429, "slow"), Answer::text("b")]);
        assert_eq!(rule.answer(0).unwrap().status, 429);
        for before in [1, 2, u64::MAX] {
            assert_eq!(rule.answer(before).unwrap().text, "b");
        }
    }

    #[test]
    fn both_file_forms_read_alike_and_say_where_they_are_wrong() {
        let line = r#"{"key":"a","contains":["x"],"answers":[{"text":"t","delay-ms":5,"headers":{"retry-after":"1"}}]}"#;
        let lines = Script::from_jsonl(&format!("\n{line}\n{line}\n")).unwrap();
        let whole = Script::from_json(&format!("{{\"rules\":[{line},{line}]}}")).unwrap();
        assert_eq!(lines, whole);
        assert_eq!(lines.rules[0].answers[0].delay_ms, Some(5));

        let wrong = Script::from_jsonl(&format!("{line}\n{{\"kye\":1}}")).unwrap_err().to_string();
        assert!(wrong.contains("line 2") && wrong.contains("kye"), "{wrong}");
        let silent = Script::from_jsonl(r#"{"key":"a","answers":[]}"#).unwrap_err().to_string();
        assert!(silent.contains("no answers"), "{silent}");
    }

    fn rule(key: &str) -> Rule {
        Rule { key: key.into(), answers: vec![Answer::text(key)], ..Rule::default() }
    }
}
