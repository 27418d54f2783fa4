//! Finds the edits in a reply: fences and prose around them, several formats side by side.
//!
//! Formats that mark their own beginning and end are taken wherever they stand, in a fence or out of one; a fence matters only where a
//! format needs it: to end a diff, or to hold a whole file.

use crate::edit::FileEdit;
use crate::format::{begin_patch, blocks, json, unified, whole};
use crate::refusal::{Code, Refusal};
use crate::source::Source;

/// A reply as lines, with the fences that enclose them.
pub(crate) struct Lines<'a> {
    lines: Vec<&'a str>,
    /// For each line what fence it stands in or is.
    fences: Vec<Fence>,
    /// The base, which knows whether a bare word is a file.
    pub(crate) source: &'a dyn Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Outside,
    Opens,
    /// Inside the fence that opened at this line.
    Inside(usize),
    /// The whole text is a diff.
    Diff,
    Closes,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(reply: &'a str, source: &'a dyn Source) -> Lines<'a> {
        let mut lines: Vec<&str> = reply.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        // A reply that has carriage returns throughout got them on its way here.
        if lines.iter().all(|line| line.ends_with('\r')) {
            lines.iter_mut().for_each(|line| *line = line.strip_suffix('\r').unwrap_or(line));
        }
        let fences = fences(&lines);
        Lines { lines, fences, source }
    }

    /// Takes all lines as the text of one diff fence.
    fn into_diff(mut self) -> Lines<'a> {
        self.fences.fill(Fence::Diff);
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Gives the lines of a range as one text.
    pub(crate) fn text(&self, range: std::ops::Range<usize>) -> String {
        self.lines.get(range).unwrap_or_default().join("\n")
    }

    /// Gives a line, or nothing behind the end.
    pub(crate) fn get(&self, at: usize) -> &'a str {
        self.lines.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn in_fence(&self, at: usize) -> bool {
        matches!(self.fences.get(at), Some(Fence::Inside(_) | Fence::Diff))
    }

    /// Tells whether the line stands in the fence that opens at `open`.
    fn is_inside(&self, at: usize, open: usize) -> bool {
        self.fences.get(at) == Some(&Fence::Inside(open))
    }

    pub(crate) fn closes_fence(&self, at: usize) -> bool {
        self.fences.get(at) == Some(&Fence::Closes)
    }

    /// Tells whether the end of the text is merely the end of what was sent: it is no value that another format holds.
    pub(crate) fn ends_openly(&self) -> bool {
        self.fences.last() != Some(&Fence::Diff)
    }

    pub(crate) fn opens_fence(&self, at: usize) -> bool {
        self.fences.get(at) == Some(&Fence::Opens)
    }

    /// Tells whether the line stands in a fence that says it holds a diff.
    pub(crate) fn in_diff_fence(&self, at: usize) -> bool {
        let open = match self.fences.get(at) {
            Some(Fence::Inside(open)) => open,
            Some(Fence::Diff) => return true,
            _ => return false,
        };
        let info = self.lines[*open].trim_start().trim_start_matches(['`', '~']).trim();
        matches!(info.split_whitespace().next(), Some("diff" | "udiff" | "patch"))
    }
}

/// Splits a line that may open or close a fence: its mark, how often, and what follows.
pub(crate) fn fence_mark(line: &str) -> Option<(char, usize, &str)> {
    let indented = line.len() - line.trim_start_matches(' ').len();
    let text = &line[indented..];
    let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~') && indented <= 3)?;
    let rest = text.trim_start_matches(mark);
    let length = text.len() - rest.len();
    (length >= 3 && !(mark == '`' && rest.contains('`'))).then_some((mark, length, rest.trim()))
}

/// Finds the fences. A mark that is a context line of a diff, by the space before it, is none: it stands below a hunk's header, or deeper
/// than the mark that it would close.
fn fences(lines: &[&str]) -> Vec<Fence> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut fences = vec![Fence::Outside; lines.len()];
    let mut open: Option<(usize, char, usize)> = None;
    let mut in_hunk = false;
    for (at, line) in lines.iter().enumerate() {
        in_hunk =
            line.starts_with("@@") || in_hunk && (line.is_empty() || line.starts_with([' ', '+', '-', '\\']));
        let is_context = in_hunk && line.starts_with(' ');
        fences[at] = match (open, fence_mark(line)) {
            (None, Some((mark, length, _))) if !is_context => {
                open = Some((at, mark, length));
                Fence::Opens
            }
            (None, _) => Fence::Outside,
            (Some((start, mark, length)), Some((same, at_least, "")))
                if same == mark && at_least >= length && indent(line) <= indent(lines[start]) =>
            {
                open = None;
                Fence::Closes
            }
            (Some((start, ..)), _) => Fence::Inside(start),
        };
    }
    fences
}

/// Reads every edit of a reply, in its order.
pub(crate) fn read(reply: &str, source: &dyn Source) -> Result<Vec<FileEdit>, Refusal> {
    if let Some(edits) = json::whole_reply(reply, source)? {
        return Ok(edits);
    }
    read_lines(reply, Lines::new(reply, source))
}

/// Reads the edits of a text that a format holds in a string: a diff without fences, or any other reply.
pub(crate) fn read_text(text: &str, source: &dyn Source) -> Result<Vec<FileEdit>, Refusal> {
    let plain = Lines::new(text, source);
    let first = (0..plain.len()).find(|at| !plain.get(*at).trim().is_empty()).unwrap_or(0);
    // What begins like a diff is one: the fences in it are context lines of a document.
    let is_diff = unified::opens(&plain, first)
        || (0..plain.len()).all(|at| plain.fences[at] == Fence::Outside && !blocks::opens(plain.get(at)));
    read_lines(text, if is_diff { plain.into_diff() } else { plain })
}

fn read_lines(reply: &str, lines: Lines) -> Result<Vec<FileEdit>, Refusal> {
    let mut edits = Vec::new();
    let mut at = after_thoughts(&lines);
    let mut json_tries = 0;
    let mut unclaimed: Vec<usize> = Vec::new();
    while at < lines.len() {
        let (start, n_edits) = (at, edits.len());
        if begin_patch::opens(&lines, at) {
            let (read, next) = begin_patch::read(&lines, at)?;
            edits.extend(read);
            at = next;
        } else if blocks::opens(lines.get(at)) {
            let (edit, next) = blocks::read(&lines, at, edits.last())?;
            edits.push(edit);
            at = next;
        } else if unified::opens(&lines, at) {
            let (edit, next) = unified::read(&lines, at)?;
            edits.push(edit);
            at = next;
        } else if lines.get(at).trim_start().starts_with(['{', '[']) && json_tries < 64 {
            json_tries += 1;
            let (read, next) = json::embedded(reply, &lines, at)?;
            edits.extend(read);
            at = next;
        } else if lines.opens_fence(at)
            && whole::names_file(&lines, at).is_some()
            && !holds_edit(&lines, at + 1)
        {
            let (edit, next) = whole::read(&lines, at)?;
            edits.push(edit);
            at = next;
        } else {
            if lines.opens_fence(at) {
                unclaimed.push(at);
            }
            at += 1;
        }
        if edits.len() > n_edits && unclaimed.last().is_some_and(|open| lines.is_inside(start, *open)) {
            unclaimed.pop();
        }
    }
    if edits.is_empty() {
        return Err(Refusal::new(Code::NoEdit, "the reply holds no edit in a known format"));
    }
    whole::all_claimed(&lines, &unclaimed, &edits)?;
    Ok(edits)
}

/// Skips the thoughts that a reasoning model puts before its answer.
fn after_thoughts(lines: &Lines) -> usize {
    let first = (0..lines.len()).find(|at| !lines.get(*at).trim().is_empty()).unwrap_or(0);
    for (open, close) in [("<think>", "</think>"), ("<thinking>", "</thinking>")] {
        if lines.get(first).trim_start().starts_with(open) {
            return (first..lines.len()).find(|at| lines.get(*at).contains(close)).map_or(first, |at| at + 1);
        }
    }
    0
}

/// Tells whether the text of a fence is an edit in a format of its own.
fn holds_edit(lines: &Lines, start: usize) -> bool {
    let first = (start..lines.len()).find(|at| !lines.get(*at).trim().is_empty()).unwrap_or(start);
    begin_patch::opens(lines, first)
        || (first..first + 3).any(|at| blocks::opens(lines.get(at)))
        || unified::opens(lines, first)
}
