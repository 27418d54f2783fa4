//! What the engine answers: the new contents of every file that the reply changes, and how each hunk was placed.

use serde::{Deserialize, Serialize};

use crate::source::Mode;

/// What a reply comes to at the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied(Patch),
    /// Everything that the reply asks for is there already; the paths it speaks of, sorted.
    Unchanged(Vec<String>),
}

/// All changes of one reply, sorted by path; never a part of them (I4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    pub files: Vec<FileChange>,
}

/// The change of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    pub path: String,
    /// Where a renamed or copied file came from; a rename removes that path.
    pub from: Option<String>,
    pub op: Op,
    /// The whole new content; `None` when the file is deleted.
    pub content: Option<Vec<u8>>,
    pub mode: Mode,
    pub hunks: Vec<Placed>,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Add,
    Modify,
    Delete,
    Rename,
    Copy,
    /// Only the mode changes.
    Mode,
}

/// Where one hunk went, and what had to be forgiven to find the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub tier: Tier,
    /// Lines between the place that the reply stated and the one that was found; 0 where it stated none.
    pub offset: i64,
    /// The first line of the place, counted from 1 in the base.
    pub line: usize,
}

/// The rungs of the ladder in their order: the strictest that leaves exactly one place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Already,
    Exact,
    Moved,
    Counts,
    TrailingSpace,
    LostSpace,
    Tabs,
    Indent,
    Punctuation,
    ForgottenPlus,
    Skipped,
    Elided,
    Shortened,
}

impl Tier {
    /// Gives the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Already => "already",
            Tier::Exact => "exact",
            Tier::Moved => "moved",
            Tier::Counts => "counts",
            Tier::TrailingSpace => "trailing_space",
            Tier::LostSpace => "lost_space",
            Tier::Tabs => "tabs",
            Tier::Indent => "indent",
            Tier::Punctuation => "punctuation",
            Tier::ForgottenPlus => "forgotten_plus",
            Tier::Skipped => "skipped",
            Tier::Elided => "elided",
            Tier::Shortened => "shortened",
        }
    }

    /// Says in words what was forgiven.
    pub fn explain(self) -> &'static str {
        match self {
            Tier::Already => "the file already reads as asked",
            Tier::Exact => "matches exactly where the reply says, or in one place only",
            Tier::Moved => "matches exactly, but not at the stated line",
            Tier::Counts => "the line counts in the hunk header were wrong; the lines themselves match",
            Tier::TrailingSpace => "matches but for white space at line ends",
            Tier::LostSpace => "context lines had lost their leading space",
            Tier::Tabs => "matches once tabs and spaces of the indentation are exchanged",
            Tier::Indent => "matches with the whole hunk indented differently",
            Tier::Punctuation => "matches but for typographic punctuation",
            Tier::ForgottenPlus => "new lines had been written as context",
            Tier::Skipped => "the reply skipped blank or comment lines of the file",
            Tier::Elided => "the reply stands for unchanged lines with an ellipsis",
            Tier::Shortened => "matches once outer context lines are set aside",
        }
    }
}

impl FileChange {
    /// Gives the loosest tier of the file's hunks; `Exact` where there is none, as in a deletion.
    pub fn tier(&self) -> Tier {
        self.hunks.iter().map(|hunk| hunk.tier).max().unwrap_or(Tier::Exact)
    }

    /// Gives the greatest distance of a hunk from its stated line.
    pub fn offset(&self) -> i64 {
        self.hunks.iter().map(|hunk| hunk.offset).max_by_key(|offset| offset.abs()).unwrap_or(0)
    }
}

impl Op {
    /// Gives the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Add => "add",
            Op::Modify => "modify",
            Op::Delete => "delete",
            Op::Rename => "rename",
            Op::Copy => "copy",
            Op::Mode => "mode",
        }
    }
}
