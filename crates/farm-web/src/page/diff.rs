//! A patch as lines: each says with a sign of its own what it is, and whether it holds what a reader would not see.

use crate::api::diff::Patch;
use crate::api::error::ApiError;
use crate::html::{Html, is_hidden, put};

/// What a line of a unified diff is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Begins a file.
    File,
    /// Tells of the file.
    Head,
    /// Begins a hunk.
    Hunk,
    Added,
    Removed,
    Same,
    /// Tells that the line before has no newline.
    Note,
}

impl Line {
    fn class(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Head | Self::Note => "head",
            Self::Hunk => "hunk",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Same => "same",
        }
    }
}

/// Follows the hunks by their line counts: within one, `--- a` is a removed line and no header.
#[derive(Default)]
struct Reader {
    old: u64,
    new: u64,
}

impl Reader {
    fn read(&mut self, line: &str) -> Line {
        if self.old > 0 || self.new > 0 {
            return match line.as_bytes().first() {
                Some(b'+') => {
                    self.new = self.new.saturating_sub(1);
                    Line::Added
                }
                Some(b'-') => {
                    self.old = self.old.saturating_sub(1);
                    Line::Removed
                }
                Some(b'\\') => Line::Note,
                _ => {
                    self.old = self.old.saturating_sub(1);
                    self.new = self.new.saturating_sub(1);
                    Line::Same
                }
            };
        }
        if let Some((old, new)) = counts(line) {
            (self.old, self.new) = (old, new);
            return Line::Hunk;
        }
        if line.starts_with("diff --git ") {
            Line::File
        } else if line.starts_with('\\') {
            Line::Note
        } else {
            Line::Head
        }
    }
}

/// The numbers of lines of `@@ -a,b +c,d @@`; a number that is left out is 1.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (ranges, _) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let count = |range: &str| match range.split_once(',') {
        Some((_, count)) => count.parse().ok(),
        None => Some(1),
    };
    Some((count(old)?, count(new)?))
}

/// A patch, or why it cannot be shown.
pub(super) fn put_patch(out: &mut Html, patch: &Result<Patch, ApiError>) {
    match patch {
        Ok(patch) => put_diff(out, &patch.text, patch.is_cut),
        Err(error) => {
            put!(out; "<p role=\"alert\">It cannot be shown: " (error.message) "</p>");
        }
    }
}

fn put_diff(out: &mut Html, text: &str, is_cut: bool) {
    if text.is_empty() {
        out.raw("<p>It changes nothing.</p>");
        return;
    }
    let hidden = text.lines().filter(|line| line.chars().any(is_hidden)).count();
    if hidden > 0 {
        put!(out; r#"<p role="alert" class="warning">⚠ "# (hidden)
            " lines hold control, invisible or direction-changing characters; they are written out as \\u{…} and "
            "the lines are marked ⚠.</p>");
    }
    out.raw(r#"<div class="diff" tabindex="0" role="region" aria-label="Patch">"#);
    let mut reader = Reader::default();
    for line in text.lines() {
        let kind = reader.read(line);
        put!(out; r#"<div class=""# (kind.class()));
        if line.chars().any(is_hidden) {
            put!(out; r#" warning">⚠ "# (line) "</div>");
        } else {
            put!(out; r#"">"# (line) "</div>");
        }
    }
    out.raw("</div>");
    if is_cut {
        out.raw("<p>The rest is too long to be shown here.</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_their_hunk_says() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ fn\n--- old\n+++ new\n same\n\
                    \\ No newline at end of file\ndiff --git a/y b/y\n";
        let mut reader = Reader::default();
        let kinds: Vec<Line> = text.lines().map(|line| reader.read(line)).collect();
        use Line::{Added, File, Head, Hunk, Note, Removed, Same};
        assert_eq!(kinds, [File, Head, Head, Hunk, Removed, Added, Same, Note, File]);
    }

    #[test]
    fn hunks_may_leave_out_their_counts() {
        for (line, found) in [
            ("@@ -1 +1 @@", Some((1, 1))),
            ("@@ -0,0 +1,12 @@ fn main", Some((0, 12))),
            ("@@ x @@", None),
            ("@@ -1,x +1 @@", None),
        ] {
            assert_eq!(counts(line), found, "{line}");
        }
    }

    #[test]
    fn hidden_characters_are_written_out_and_marked() {
        let mut out = Html::default();
        put_diff(&mut out, "@@ -0,0 +1,2 @@\n+a\u{202e}b<script>\n+plain\n", false);
        let html = out.into_string();
        assert!(html.contains(r#"<div class="added warning">⚠ +a\u{202e}b&lt;script&gt;</div>"#), "{html}");
        assert!(html.contains(r#"<div class="added">+plain</div>"#), "{html}");
        assert!(html.contains(">⚠ 1 lines hold"), "{html}");
    }
}
