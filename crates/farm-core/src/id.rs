//! Names of things: each is checked once, where it enters, and is safe to print, store and put in a ref name from then on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest task or change id, in bytes.
pub const MAX_ID_LEN: usize = 63;

/// An id that does not fit its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match {grammar}, found {found:?}")]
pub struct InvalidId {
    /// Which kind of id was expected.
    pub what: &'static str,
    /// The grammar, as a reader would write it.
    pub grammar: &'static str,
    /// What was found, shortened and escaped by its `Debug` form.
    pub found: String,
}

impl InvalidId {
    fn new(what: &'static str, grammar: &'static str, found: &str) -> Self {
        Self { what, grammar, found: found.chars().take(80).collect() }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $grammar:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` against the grammar.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if $check(&text) { Ok(Self(text)) } else { Err(InvalidId::new($what, $grammar, &text)) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Names a task. It becomes the branch `agt/<task_id>`, hence the narrow grammar; `change-…` would collide with the
    /// branches of changes and is refused.
    TaskId, "task id", "[a-z0-9][a-z0-9-]{0,62}, not beginning with change-", is_task_id
);
text_id!(
    /// Names a change; its integrated tree is pushed as `agt/change-<id>`.
    ChangeId, "change id", "[a-z0-9][a-z0-9-]{0,62}", is_slug
);
text_id!(
    /// Names a registered repository, for people: `payments`, `team/payments`.
    RepoName, "repository name", "[A-Za-z0-9][A-Za-z0-9._/-]{0,127}, without .. or //", is_repo_name
);
text_id!(
    /// A git object id in lower-case hexadecimal, SHA-1 or SHA-256.
    Oid, "object id", "40 or 64 digits of [0-9a-f]", is_oid
);

impl TaskId {
    /// The branch that this task pushes, without `refs/heads/`.
    pub fn branch(&self) -> String {
        format!("{BRANCH_PREFIX}{self}")
    }
}

impl ChangeId {
    /// The branch of the integrated change, without `refs/heads/`.
    pub fn branch(&self) -> String {
        format!("{BRANCH_PREFIX}change-{self}")
    }
}

/// Every branch that the farm writes or deletes begins with this.
pub const BRANCH_PREFIX: &str = "agt/";

/// A fencing token: a run of a task, or a lease, is worth nothing once a larger one was given out (I3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

impl Token {
    /// The next token after `last`: never falls, and stays above what a lost store gave out, since that was bounded by the
    /// clock of its day.
    pub fn next(last: Token, now_ms: u64) -> Token {
        Token(last.0.saturating_add(1).max(now_ms))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= MAX_ID_LEN
        && bytes.first().is_some_and(alnum)
        && bytes.iter().all(|b| alnum(b) || *b == b'-')
}

fn is_task_id(text: &str) -> bool {
    is_slug(text) && !text.starts_with("change-")
}

fn is_repo_name(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
        && !text.contains("..")
        && !text.contains("//")
        && !text.ends_with('/')
}

fn is_oid(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_that_could_hurt_a_ref_name_are_refused() {
        for good in ["a", "0", "fix-1", &"x".repeat(63)] {
            assert!(TaskId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "../x",
            "a/b",
            "A",
            "a\n",
            "a b",
            "é",
            "change-1",
            "a.lock",
            &"x".repeat(64),
            &"x".repeat(300),
        ] {
            assert!(TaskId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repository_names_stay_inside_their_folder() {
        for good in ["payments", "Team/pay.ments-2"] {
            assert!(RepoName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/x", "a/../b", "a//b", "a/", "a b", "-a", ".x"] {
            assert!(RepoName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_id_cannot_be_deserialized() {
        assert!(serde_json::from_str::<TaskId>("\"../x\"").is_err());
    }

    #[test]
    fn tokens_rise_even_when_the_clock_falls() {
        let first = Token::next(Token(0), 1_000);
        assert_eq!(first, Token(1_000));
        assert_eq!(Token::next(first, 10), Token(1_001));
    }
}
