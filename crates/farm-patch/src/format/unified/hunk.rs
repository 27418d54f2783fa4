//! One hunk: by its counts where they are right, else by the shape of its lines.

use super::starts_section;
use crate::edit::{EndNewline, Hunk, Kind, Line};
use crate::refusal::{Code, Refusal};
use crate::reply::Lines;

/// Greater line numbers are nobody's file, and other readers overflow on them.
const MAX_NUMBER: u64 = 1_000_000_000;

/// The numbers of a hunk header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    old_start: u64,
    n_old: u64,
    new_start: u64,
    n_new: u64,
}

/// A hunk and what its surroundings need to know.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) hunk: Hunk,
    pub(super) next: usize,
    pub(super) numbers: Option<Numbers>,
}

impl Read {
    /// Tells whether the start on the new side is the one on the old side moved by the hunks before.
    pub(super) fn new_start_agrees(&self, drift: i64) -> bool {
        self.numbers.is_none_or(|numbers| {
            numbers.n_old == 0
                || numbers.n_new == 0
                || numbers.old_start as i64 + drift == numbers.new_start as i64
        })
    }

    /// Tells whether the hunk is as a program would write it.
    pub(super) fn is_exact(&self) -> bool {
        self.numbers.is_some() && !self.hunk.counts_wrong && !self.hunk.lines.iter().any(|line| line.bare)
    }
}

/// Tells whether a line opens a hunk, with numbers or without.
pub(crate) fn is_hunk_header(line: &str) -> bool {
    line.trim_end() == "@@" || line.starts_with("@@ ")
}

/// Tells whether a line opens a hunk and has numbers.
pub(super) fn is_numbered(line: &str) -> bool {
    line.strip_prefix("@@ -").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Reads the hunk that starts at this line, with its header or without one.
pub(super) fn read(lines: &Lines, start: usize, number: usize) -> Result<Read, Refusal> {
    let header = lines.get(start).trim_end();
    if !is_hunk_header(header) {
        let (body, next) = by_shape(lines, start);
        return Ok(finish(body, number, next, None, false));
    }
    let numbers = if is_numbered(header) { numbers(header)? } else { None };
    if let Some(numbers) = numbers
        && let Some((body, next)) = by_counts(lines, start + 1, numbers)
    {
        return Ok(finish(body, number, next, Some(numbers), false));
    }
    let (body, next) = by_shape(lines, start + 1);
    if body.lines.is_empty() {
        return Err(Refusal::new(Code::Malformed, "a hunk has no lines").hunk(number));
    }
    if lines.closes_fence(next) && numbers.is_some() && looks_cut(lines, next + 1) {
        return Err(Refusal::new(
            Code::AmbiguousReply,
            "a fence ends the hunk, but its lines seem to go on behind it",
        )
        .hunk(number)
        .hint("put the diff in a fence that is longer than any inside it"));
    }
    let mut read = finish(body, number, next, numbers, numbers.is_some());
    match cut(lines, next, &read) {
        Cut::Surely => {
            return Err(Refusal::new(Code::Truncated, "the reply ends inside a hunk").hunk(number));
        }
        Cut::Perhaps => read.hunk.may_be_cut = true,
        Cut::No => {}
    }
    if numbers.is_none() {
        read.hunk.anchors = anchors(header);
    }
    Ok(read)
}

/// Whether a hunk goes on behind the end of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    No,
    /// Its header promises a few lines more, which may be a slip as well.
    Perhaps,
    Surely,
}

/// Judges a hunk whose header has no right counts, by what stands behind it and by how much is missing.
fn cut(lines: &Lines, next: usize, read: &Read) -> Cut {
    // What lacks a change and the context below it lacks that much on both sides.
    const CONTEXT: u64 = 3;
    if next < lines.len() || !lines.ends_openly() {
        return Cut::No;
    }
    let Some(numbers) = read.numbers else {
        return if lines.in_fence(next - 1) { Cut::Surely } else { Cut::No };
    };
    let missing_old = numbers.n_old.saturating_sub(read.hunk.before().count() as u64);
    let missing_new = numbers.n_new.saturating_sub(read.hunk.after().count() as u64);
    let much = missing_old.min(missing_new) >= CONTEXT && missing_old.max(missing_new) > CONTEXT;
    match missing_old.max(missing_new) {
        0 => Cut::No,
        _ if much || lines.in_fence(next - 1) => Cut::Surely,
        _ => Cut::Perhaps,
    }
}

/// Reads `@@ -a,b +c,d @@`; `None` where that is not its form.
fn numbers(header: &str) -> Result<Option<Numbers>, Refusal> {
    let mut words = header.trim_start_matches('@').split_whitespace();
    let mut range = |sign: char| -> Option<(&str, &str)> {
        let text = words.next()?.strip_prefix(sign)?;
        Some(text.split_once(',').unwrap_or((text, "1")))
    };
    let (Some((old_start, n_old)), Some((new_start, n_new))) = (range('-'), range('+')) else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number <= MAX_NUMBER);
    match (number(old_start), number(n_old), number(new_start), number(n_new)) {
        (Some(old_start), Some(n_old), Some(new_start), Some(n_new)) => {
            Ok(Some(Numbers { old_start, n_old, new_start, n_new }))
        }
        _ => Err(Refusal::new(Code::Malformed, "a hunk header has numbers that are no line numbers")
            .expected(vec![header.to_owned()])),
    }
}

/// Takes the text of a header without numbers as the line that stands above the hunk.
fn anchors(header: &str) -> Vec<String> {
    let text = header.trim_matches(|c: char| c == '@' || c.is_whitespace());
    let says_nothing =
        !text.contains(char::is_alphabetic) || text.starts_with("...") || text.starts_with('-');
    if says_nothing { Vec::new() } else { vec![text.to_owned()] }
}

#[derive(Debug, Default)]
struct Body {
    lines: Vec<Line>,
    old_ends: bool,
    new_ends: bool,
}

impl Body {
    /// Takes a line of the hunk; the marker of a missing newline belongs to the line above it.
    fn take(&mut self, raw: &str) {
        if raw.starts_with("\\ ") {
            match self.lines.last().map(|line| line.kind) {
                Some(Kind::Drop) => self.old_ends = true,
                Some(Kind::Add) => self.new_ends = true,
                _ => (self.old_ends, self.new_ends) = (true, true),
            }
            return;
        }
        let line = match raw.as_bytes().first() {
            Some(b'+') => Line::new(Kind::Add, &raw[1..]),
            Some(b'-') => Line::new(Kind::Drop, &raw[1..]),
            Some(b' ') => Line::new(Kind::Keep, &raw[1..]),
            _ => Line { bare: !raw.trim_end().is_empty(), ..Line::new(Kind::Keep, raw) },
        };
        self.lines.push(line);
    }
}

/// Reads as many lines as the header says, if that ends where the hunk visibly ends.
fn by_counts(lines: &Lines, start: usize, numbers: Numbers) -> Option<(Body, usize)> {
    let mut body = Body::default();
    let (mut old_left, mut new_left) = (numbers.n_old, numbers.n_new);
    let mut at = start;
    while old_left > 0 || new_left > 0 {
        if at >= lines.len() || lines.closes_fence(at) {
            return None;
        }
        let raw = lines.get(at);
        if is_hunk_header(raw) || starts_section(lines, at) {
            return None;
        }
        body.take(raw);
        if !raw.starts_with("\\ ") {
            let kind = body.lines.last()?.kind;
            if kind != Kind::Add {
                old_left = old_left.checked_sub(1)?;
            }
            if kind != Kind::Drop {
                new_left = new_left.checked_sub(1)?;
            }
        }
        at += 1;
    }
    while lines.get(at).starts_with("\\ ") {
        body.take(lines.get(at));
        at += 1;
    }
    ends(lines, at).then_some((body, at))
}

/// Tells whether nothing that reads like a hunk's line follows.
fn ends(lines: &Lines, at: usize) -> bool {
    let blank =
        |idx: usize| idx < lines.len() && lines.get(idx).trim_end().is_empty() && !lines.closes_fence(idx);
    let next = (at..).find(|idx| !blank(*idx)).unwrap_or(at);
    if next >= lines.len() || lines.closes_fence(next) {
        return true;
    }
    let raw = lines.get(next);
    let goes_on =
        raw.starts_with(['+', '-', ' ']) || lines.in_fence(next) && next == at && !raw.starts_with("Index: ");
    is_signature(lines, next)
        || is_hunk_header(raw)
        || starts_section(lines, next)
        || raw.starts_with("--- ") && lines.get(next + 1).starts_with("+++ ")
        || !goes_on
}

/// Tells whether here ends a mail that git made: two dashes, then git's version.
fn is_signature(lines: &Lines, at: usize) -> bool {
    lines.get(at).trim_end() == "--" && lines.get(at + 1).starts_with(|c: char| c.is_ascii_digit())
}

/// Reads lines for as long as they can belong to the hunk.
fn by_shape(lines: &Lines, start: usize) -> (Body, usize) {
    let mut body = Body::default();
    let mut at = start;
    while at < lines.len() {
        let raw = lines.get(at);
        let over = lines.closes_fence(at)
            || is_hunk_header(raw)
            || starts_section(lines, at)
            || is_signature(lines, at)
            || raw.starts_with("*** End Patch");
        let prose = !lines.in_fence(at) && !raw.is_empty() && !raw.starts_with(['+', '-', ' ', '\\', '\t']);
        if over || prose {
            break;
        }
        body.take(raw);
        at += 1;
    }
    // Empty lines at the end part the hunk from what follows.
    let n_empty =
        (start..at).rev().take_while(|line| lines.get(*line).trim_end_matches('\r').is_empty()).count();
    body.lines.truncate(body.lines.len().saturating_sub(n_empty));
    (body, at)
}

fn looks_cut(lines: &Lines, at: usize) -> bool {
    let next = (at..lines.len()).find(|idx| !lines.get(*idx).trim_end().is_empty());
    next.is_some_and(|idx| lines.get(idx).starts_with(['+', '-', ' ', '\t']) && !starts_section(lines, idx))
}

fn finish(body: Body, number: usize, next: usize, numbers: Option<Numbers>, counts_wrong: bool) -> Read {
    let end = match (body.old_ends, body.new_ends) {
        (true, false) => EndNewline::Add,
        (false, true) => EndNewline::Remove,
        _ => EndNewline::Keep,
    };
    let stated = numbers.and_then(|numbers| {
        let start = if numbers.n_old == 0 { numbers.old_start } else { numbers.old_start.saturating_sub(1) };
        usize::try_from(start).ok()
    });
    let mut hunk = Hunk {
        number,
        lines: body.lines,
        stated,
        counts_wrong,
        sure_context: numbers.is_some() && !counts_wrong,
        at_end: body.old_ends || body.new_ends,
        end,
        ..Hunk::default()
    };
    if let Some(numbers) = numbers.filter(|numbers| hunk.after().count() as u64 == numbers.n_new) {
        hunk.n_hidden_new = hunk.before().count().saturating_sub(numbers.n_old as usize);
    }
    Read { hunk, next, numbers }
}
