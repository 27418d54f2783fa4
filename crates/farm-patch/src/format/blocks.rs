//! Reads search/replace blocks: a text to be found between two markers, and its replacement.

use crate::edit::{Ask, FileEdit, Hunk, NewText, PathName};
use crate::refusal::{Code, Refusal};
use crate::reply::{Lines, fence_mark};

use super::name::{lone_word, mentioned, path_in_title, path_words};

/// Tells whether a line opens a block.
pub(crate) fn opens(line: &str) -> bool {
    marker(line, ['<', '-'], &["SEARCH", "ORIGINAL"])
}

fn closes(line: &str) -> bool {
    marker(line, ['>', '+'], &["REPLACE", "UPDATED"])
}

fn divides(line: &str) -> bool {
    let line = line.trim_end();
    (5..=9).contains(&line.len()) && line.bytes().all(|byte| byte == b'=')
}

/// Tells whether a line is five to nine of one of the signs and one of the words.
fn marker(line: &str, signs: [char; 2], words: &[&str]) -> bool {
    signs.iter().any(|sign| {
        let rest = line.trim_start_matches(*sign);
        let word = rest.trim_end().trim_end_matches(['<', '>']).trim();
        (5..=9).contains(&(line.len() - rest.len())) && words.contains(&word)
    })
}

/// Reads the block that opens at this line; `previous` is the edit read before it.
pub(crate) fn read(
    lines: &Lines,
    start: usize,
    previous: Option<&FileEdit>,
) -> Result<(FileEdit, usize), Refusal> {
    let path = path_above(lines, start, previous)?;
    let fail = |code, why: &str| Err(Refusal::new(code, why).file(&path.shown()));
    let mut divider = None;
    let mut at = start + 1;
    loop {
        let line = lines.get(at);
        if at >= lines.len() {
            return fail(Code::Truncated, "a search/replace block has no end marker");
        } else if opens(line) {
            return fail(Code::Malformed, "a search/replace block starts inside another");
        } else if closes(line) {
            break;
        } else if divides(line) && divider.replace(at).is_some() {
            return fail(Code::AmbiguousReply, "a search/replace block has two dividers");
        }
        at += 1;
    }
    let Some(divider) = divider else {
        return fail(Code::Malformed, "a search/replace block has no divider");
    };
    let search: Vec<&str> = (start + 1..divider).map(|line| lines.get(line)).collect();
    let replace: Vec<&str> = (divider + 1..at).map(|line| lines.get(line)).collect();
    let ask = if search.iter().all(|line| line.trim().is_empty()) {
        let text = replace.iter().map(|line| format!("{line}\n")).collect();
        Ask::Create(NewText { text, exact_end: false })
    } else {
        Ask::Edit(vec![Hunk::replace(1, &search, &replace)])
    };
    Ok((FileEdit { path, from: None, ask, mode: None }, at + 1))
}

/// Finds the file's name above a block: the nearest line of text, or the block before if nothing stands between.
fn path_above(lines: &Lines, start: usize, previous: Option<&FileEdit>) -> Result<PathName, Refusal> {
    const FAR: usize = 12;
    let mut prose: Vec<&str> = Vec::new();
    for at in (start.saturating_sub(FAR)..start).rev() {
        let line = lines.get(at);
        if closes(line) {
            break;
        }
        if let Some((_, _, info)) = fence_mark(line) {
            if let Some(path) = path_in_title(info, lines.source) {
                return Ok(PathName::Named(path));
            }
            continue;
        }
        if let Some(path) = path_words(line, lines.source) {
            return Ok(PathName::Named(path));
        }
        prose.push(line);
    }
    let nearest = prose.iter().find(|line| !line.trim().is_empty());
    if let Some(word) = nearest.and_then(|line| lone_word(line)) {
        return Err(unclear(vec![word.to_owned()]));
    }
    let inherited = previous.map_or(PathName::Unnamed, |edit| edit.path.clone());
    let mentions: Vec<&str> = prose.iter().flat_map(|line| mentioned(line, lines.source)).collect();
    match &inherited {
        PathName::Named(path) if mentions.iter().any(|mention| mention != path) => {
            Err(unclear(mentions.into_iter().map(str::to_owned).collect()))
        }
        _ => Ok(inherited),
    }
}

fn unclear(mentions: Vec<String>) -> Refusal {
    Refusal::new(Code::AmbiguousReply, "a search/replace block does not say which file it is for")
        .found(mentions)
        .hint("put the path of the file on a line of its own above every block")
}
