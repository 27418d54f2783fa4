//! Why a reply is refused, in a form that programs can count and the next attempt can learn from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reply that is not applied, and nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Which hunk or block of that file, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hunk: Option<usize>,
    /// The lines that the reply says are there.
    pub expected: Vec<String>,
    /// What the file has instead, with line numbers: the nearest candidate, or all of the equal ones.
    pub found: Vec<String>,
    pub hint: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $hint:literal,)*) => {
        /// The closed list of reasons; the names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// Gives the stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// Says what usually helps.
            pub fn hint(self) -> &'static str {
                match self { $(Code::$name => $hint,)* }
            }
        }
    };
}

codes! {
    NoEdit = "no_edit": "answer with an edit in one of the formats that the instructions name",
    Malformed = "malformed": "write the edit again in full, following its format exactly",
    Truncated = "truncated": "the reply ends inside an edit; write the whole edit again, shorter if need be",
    AmbiguousReply = "ambiguous_reply": "give one edit in one format, in a form that can be read in only one way",
    NoPath = "no_path": "name the file, with its path from the repository's root",
    PathInvalid = "path_invalid": "use a plain relative path from the repository's root, with forward slashes",
    PathMismatch = "path_mismatch": "name the same file in every header of a section",
    CaseCollision = "case_collision": "two paths differ only in case; use one spelling",
    Conflict = "conflict": "give every file one section, and change every line once",
    NoSuchFile = "no_such_file": "check the path; to make a new file, use the format's form for new files",
    FileExists = "file_exists": "the file is there already; change it instead of creating it",
    Symlink = "symlink": "links cannot be changed, nor files reached through one",
    Submodule = "submodule": "submodules cannot be changed",
    Mode = "mode": "only the modes 100644 and 100755 can be set",
    Binary = "binary": "only text files can be changed",
    Encoding = "encoding": "the file is not UTF-8; keep the changed lines to plain ASCII",
    NoMatch = "no_match": "copy the lines to be replaced from the file as they are, with some lines around them",
    Ambiguous = "ambiguous": "add lines around the change until only one place fits",
    Overlap = "overlap": "join edits of the same lines into one",
    NoChange = "no_change": "the edit leaves the file as it is; say what should be different",
    Placeholder = "placeholder": "write out every line; nothing is filled in for a placeholder",
    LeakedMarker = "leaked_marker": "the new text holds markers of an edit format; leave them out",
    ConflictMarker = "conflict_marker": "the new text holds merge conflict markers; resolve them",
    Fragment = "fragment": "give the whole file, or change the lines in question by a diff",
    TooLarge = "too_large": "make a smaller edit",
    TooComplex = "too_complex": "add distinctive lines around every change, or make fewer changes at once",
    Disagreement = "disagreement": "two readers understood the diff differently; write it again, with exact headers",
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            file: None,
            hunk: None,
            expected: Vec::new(),
            found: Vec::new(),
            hint: code.hint().to_owned(),
        }
    }

    pub(crate) fn file(mut self, path: &str) -> Refusal {
        self.file.get_or_insert_with(|| path.to_owned());
        self
    }

    pub(crate) fn hunk(mut self, number: usize) -> Refusal {
        self.hunk.get_or_insert(number);
        self
    }

    pub(crate) fn expected(mut self, lines: Vec<String>) -> Refusal {
        self.expected = lines;
        self
    }

    pub(crate) fn found(mut self, lines: Vec<String>) -> Refusal {
        self.found = lines;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = hint.into();
        self
    }

    /// Tells the whole story in plain text, fit to be given to the model with the next attempt.
    pub fn describe(&self) -> String {
        let mut text = format!("refused ({}): {}\n", self.code.as_str(), self.message);
        match (&self.file, self.hunk) {
            (Some(file), Some(hunk)) => text += &format!("in {file}, edit {hunk}\n"),
            (Some(file), None) => text += &format!("in {file}\n"),
            _ => {}
        }
        for (title, lines) in [("the edit expects", &self.expected), ("the file has", &self.found)] {
            if !lines.is_empty() {
                text += &format!("{title}:\n");
                for line in lines {
                    text += &format!("  {line}\n");
                }
            }
        }
        text + &format!("hint: {}\n", self.hint)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if let Some(hunk) = self.hunk {
            write!(f, "edit {hunk}: ")?;
        }
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_and_as_str_agree() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_description_holds_everything() {
        let refusal = Refusal::new(Code::NoMatch, "no such lines")
            .file("a.rs")
            .hunk(2)
            .expected(vec!["x".into()])
            .found(vec!["7 | y".into()]);
        let text = refusal.describe();
        for part in ["no_match", "a.rs, edit 2", "  x\n", "  7 | y\n", "hint: copy"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
