//! Reads unified diffs: plain ones, git's with extended headers, and what models make of them.

mod crosscheck;
mod header;
mod hunk;

pub(crate) use hunk::is_hunk_header;

use crate::edit::{Ask, FileEdit, Hunk, Kind, NewText, PathName};
use crate::refusal::{Code, Refusal};
use crate::reply::Lines;
use crate::source::Mode;
use header::Header;

/// Tells whether a diff's section starts at this line.
pub(crate) fn opens(lines: &Lines, at: usize) -> bool {
    let line = lines.get(at);
    let next = lines.get(at + 1);
    line.starts_with("diff --git ")
        || line.starts_with("--- ") && (next.starts_with("+++ ") || is_hunk_header(next))
        || line.starts_with("+++ ") && is_hunk_header(next)
        || hunk::is_numbered(line)
        || lines.in_diff_fence(at) && (hunk::is_hunk_header(line) || line.starts_with(['+', '-']))
}

/// Reads one section, from its header to the end of its last hunk; gives the line after it.
pub(crate) fn read(lines: &Lines, start: usize) -> Result<(FileEdit, usize), Refusal> {
    let (header, mut at) = header::read(lines, start)?;
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut drift = 0;
    let (mut trusted, mut exact) = (true, true);
    let mut numbers = None;
    loop {
        let mut next = at;
        while next < lines.len() && lines.get(next).trim().is_empty() && !lines.closes_fence(next) {
            next += 1;
        }
        let headless = hunks.is_empty() && (header.names_file() || lines.in_diff_fence(next));
        let body = headless && lines.get(next).starts_with(['+', '-', ' ']) && !starts_section(lines, next);
        if next >= lines.len() || lines.closes_fence(next) || !(is_hunk_header(lines.get(next)) || body) {
            break;
        }
        let mut read = hunk::read(lines, next, hunks.len() + 1)?;
        if hunks.last().is_some_and(|last| last.lines == read.hunk.lines) && numbers == Some(read.numbers) {
            // Word for word the hunk above: said twice.
            (exact, at) = (false, read.next);
            continue;
        }
        numbers = Some(read.numbers);
        exact = exact && read.is_exact();
        trusted = trusted && read.new_start_agrees(drift);
        drift += read.hunk.growth();
        if !trusted {
            read.hunk.stated = None;
        }
        hunks.push(read.hunk);
        at = read.next;
    }
    if exact && header.is_plain() && !hunks.is_empty() {
        crosscheck::agrees(&(lines.text(start..at) + "\n"), &hunks)?;
    }
    let edit = section(header, hunks)?;
    Ok((edit, at.max(start + 1)))
}

/// Tells whether a header line of another section stands here, and not a changed line that only looks like one.
pub(super) fn starts_section(lines: &Lines, at: usize) -> bool {
    let (line, next) = (lines.get(at), lines.get(at + 1));
    line.starts_with("diff --git ")
        || line.starts_with("--- ")
            && next.starts_with("+++ ")
            && (is_hunk_header(lines.get(at + 2)) || header::name_one_file(line, next))
        || line.starts_with("+++ ") && is_hunk_header(next)
}

fn section(header: Header, hunks: Vec<Hunk>) -> Result<FileEdit, Refusal> {
    let names = header.names()?;
    let shown = names.path.shown();
    let fail = |code, message: &str| Refusal::new(code, message).file(&shown);
    if header.binary {
        return Err(fail(Code::Binary, "the section is a binary patch"));
    }
    let mode =
        header.new_mode.map(|bits| writable(bits).map_err(|refusal| refusal.file(&shown))).transpose()?;
    for bits in [header.old_mode, header.index_mode].into_iter().flatten() {
        writable(bits).map_err(|refusal| refusal.file(&shown))?;
    }
    if hunks.is_empty() && !header.says_something() {
        return Err(fail(Code::Malformed, "the diff has a header but no hunk"));
    }
    let ask = if names.creates {
        Ask::Create(new_text(&hunks).map_err(|refusal| refusal.file(&shown))?)
    } else if names.deletes {
        Ask::Delete(hunks)
    } else if header.rename.is_some() {
        Ask::Rename(hunks)
    } else if header.copy.is_some() {
        Ask::Copy(hunks)
    } else {
        Ask::Edit(hunks)
    };
    Ok(FileEdit { path: names.path, from: names.from, ask, mode })
}

fn writable(bits: u32) -> Result<Mode, Refusal> {
    match Mode::from_bits(bits) {
        Mode::Other(Mode::LINK) => Err(Refusal::new(Code::Symlink, "the section is about a symbolic link")),
        Mode::Other(Mode::SUBMODULE) => {
            Err(Refusal::new(Code::Submodule, "the section is about a submodule"))
        }
        Mode::Other(bits) => Err(Refusal::new(Code::Mode, format!("the mode {bits:o} cannot be set"))),
        mode => Ok(mode),
    }
}

/// Joins the hunks of a new file, which must be new lines throughout.
fn new_text(hunks: &[Hunk]) -> Result<NewText, Refusal> {
    if hunks.len() > 1 {
        return Err(Refusal::new(Code::Malformed, "a new file has more than one hunk"));
    }
    let lines = || hunks.iter().flat_map(|hunk| &hunk.lines);
    if let Some(line) = lines().find(|line| line.kind != Kind::Add && !line.text.is_empty()) {
        return Err(Refusal::new(Code::Malformed, "a new file has lines that are not marked as new")
            .expected(vec![line.text.clone()])
            .hint("start every line of a new file with a plus sign"));
    }
    let mut text = String::new();
    for line in lines() {
        text.push_str(&line.text);
        text.push_str(if line.cr { "\r\n" } else { "\n" });
    }
    if hunks.iter().any(|hunk| hunk.at_end) {
        text.pop();
    }
    Ok(NewText { text, exact_end: true })
}

impl PathName {
    pub(crate) fn shown(&self) -> String {
        match self {
            PathName::Named(path) | PathName::Either(path, _) => path.clone(),
            PathName::Unnamed => String::new(),
        }
    }
}
