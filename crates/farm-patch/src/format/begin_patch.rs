//! Reads the `*** Begin Patch` format: files to add, delete, update and move, with hunks that have no numbers.

use crate::edit::{Ask, FileEdit, Hunk, Kind, Line, NewText, PathName};
use crate::refusal::{Code, Refusal};
use crate::reply::Lines;

use super::unified::is_hunk_header;

const SECTIONS: [&str; 3] = ["*** Add File:", "*** Delete File:", "*** Update File:"];

/// Tells whether a patch starts here, or a section whose opening line was forgotten.
pub(crate) fn opens(lines: &Lines, at: usize) -> bool {
    is_mark(lines.get(at), "*** Begin Patch") || section(lines.get(at)).is_some()
}

/// Tells whether a line is this mark, with or without closing stars.
fn is_mark(line: &str, mark: &str) -> bool {
    line.trim().trim_end_matches('*').trim_end() == mark
}

fn section(line: &str) -> Option<(&'static str, &str)> {
    SECTIONS.iter().find_map(|start| line.strip_prefix(start).map(|path| (*start, path.trim())))
}

/// Reads all sections up to the end mark; gives the line after it.
pub(crate) fn read(lines: &Lines, start: usize) -> Result<(Vec<FileEdit>, usize), Refusal> {
    let mut edits = Vec::new();
    let mut at = start + usize::from(section(lines.get(start)).is_none());
    loop {
        let line = lines.get(at);
        if is_mark(line, "*** End Patch") {
            at += 1;
            break;
        } else if at >= lines.len() {
            return Err(Refusal::new(Code::Truncated, "the patch has no end mark"));
        } else if lines.closes_fence(at) {
            let goes_on = (at..lines.len())
                .map(|at| lines.get(at))
                .find(|line| is_mark(line, "*** End Patch") || is_mark(line, "*** Begin Patch"));
            if goes_on.is_some_and(|line| is_mark(line, "*** End Patch")) {
                return Err(Refusal::new(Code::AmbiguousReply, "a fence ends the patch before its end mark")
                    .hint("put the patch in a fence that is longer than any inside it"));
            }
            break;
        } else if let Some((kind, path)) = section(line) {
            let (edit, next) = file(lines, at + 1, kind, path)?;
            edits.push(edit);
            at = next;
        } else if line.trim().is_empty() {
            at += 1;
        } else {
            return Err(Refusal::new(Code::Malformed, "a line of the patch belongs to no file")
                .expected(vec![line.to_owned()]));
        }
    }
    if edits.is_empty() {
        return Err(Refusal::new(Code::NoEdit, "the patch names no file"));
    }
    Ok((edits, at))
}

/// Tells whether the body of a section is over.
fn is_over(lines: &Lines, at: usize) -> bool {
    let line = lines.get(at);
    at >= lines.len() || is_mark(line, "*** End Patch") || section(line).is_some() || lines.closes_fence(at)
}

fn file(lines: &Lines, start: usize, kind: &str, path: &str) -> Result<(FileEdit, usize), Refusal> {
    let end = (start..).find(|at| is_over(lines, *at)).unwrap_or(start);
    let named = |path: &str| PathName::Named(path.to_owned());
    let edit = |path, from, ask| FileEdit { path, from, ask, mode: None };
    let body = start..end;
    let made = match kind {
        "*** Add File:" => edit(named(path), None, Ask::Create(new_file(lines, body, path)?)),
        "*** Delete File:" => match body.clone().find(|at| !lines.get(*at).trim().is_empty()) {
            Some(at) => {
                return Err(Refusal::new(Code::Malformed, "a deletion has lines below it")
                    .file(path)
                    .expected(vec![lines.get(at).to_owned()]));
            }
            None => edit(named(path), None, Ask::Delete(Vec::new())),
        },
        _ => match lines.get(start).strip_prefix("*** Move to:").filter(|_| start < end) {
            Some(target) => {
                let hunks = hunks(lines, start + 1..end, path)?;
                edit(named(target.trim()), Some(path.to_owned()), Ask::Rename(hunks))
            }
            None => match hunks(lines, body, path)? {
                hunks if hunks.is_empty() => {
                    return Err(Refusal::new(Code::Malformed, "an update has no hunk").file(path));
                }
                hunks => edit(named(path), None, Ask::Edit(hunks)),
            },
        },
    };
    Ok((made, end))
}

fn new_file(lines: &Lines, body: std::ops::Range<usize>, path: &str) -> Result<NewText, Refusal> {
    let last =
        body.clone().rev().find(|at| !lines.get(*at).trim().is_empty()).map_or(body.start, |at| at + 1);
    let mut text = String::new();
    for at in body.start..last {
        let line = lines.get(at);
        match line.strip_prefix('+') {
            Some(new) => text.push_str(new),
            None if line.is_empty() => {}
            None => {
                return Err(Refusal::new(Code::Malformed, "a new file has lines that are not marked as new")
                    .file(path)
                    .expected(vec![line.to_owned()])
                    .hint("start every line of a new file with a plus sign"));
            }
        }
        text.push('\n');
    }
    Ok(NewText { text, exact_end: false })
}

fn hunks(lines: &Lines, body: std::ops::Range<usize>, path: &str) -> Result<Vec<Hunk>, Refusal> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut hunk = Hunk { number: 1, ..Hunk::default() };
    let finish = |end: usize, hunk: &mut Hunk, hunks: &mut Vec<Hunk>| {
        // Empty lines at the end part the hunk from what follows.
        let n_empty = (0..end).rev().take_while(|at| lines.get(*at).is_empty()).count();
        hunk.lines.truncate(hunk.lines.len().saturating_sub(n_empty));
        if !hunk.lines.is_empty() {
            hunks.push(std::mem::take(hunk));
        }
        hunk.number = hunks.len() + 1;
    };
    let end = body.end;
    for at in body {
        let line = lines.get(at);
        if is_mark(line, "*** End of File") {
            hunk.at_end = true;
        } else if is_hunk_header(line) {
            if !hunk.lines.is_empty() {
                finish(at, &mut hunk, &mut hunks);
            }
            let anchor = line.trim_matches(|c: char| c == '@' || c.is_whitespace());
            if anchor.contains(char::is_alphabetic) && !anchor.starts_with('-') {
                hunk.anchors.push(anchor.to_owned());
            }
        } else {
            hunk.lines.push(match line.as_bytes().first() {
                Some(b'+') => Line::new(Kind::Add, &line[1..]),
                Some(b'-') => Line::new(Kind::Drop, &line[1..]),
                Some(b' ') => Line::new(Kind::Keep, &line[1..]),
                _ => Line { bare: !line.is_empty(), ..Line::new(Kind::Keep, line) },
            });
        }
    }
    if !hunk.anchors.is_empty() && hunk.lines.is_empty() {
        return Err(Refusal::new(Code::Malformed, "a hunk has no lines").file(path).hunk(hunk.number));
    }
    finish(end, &mut hunk, &mut hunks);
    Ok(hunks)
}
