//! Reads whole files: a fence with the file's path in its title or on the line above.
//!
//! A fence under a sentence that mentions a file is an illustration, so only a line that is nothing but a path names one.

use std::collections::HashSet;

use crate::edit::{Ask, FileEdit, NewText, PathName};
use crate::refusal::{Code, Refusal};
use crate::reply::{Lines, fence_mark};

use super::name::{lone_word, mentioned, path_in_title, path_words};

/// Gives the path that the fence opening at this line stands under.
pub(crate) fn names_file(lines: &Lines, fence: usize) -> Option<String> {
    let (_, _, info) = fence_mark(lines.get(fence))?;
    path_in_title(info, lines.source).or_else(|| path_words(line_above(lines, fence, 2)?, lines.source))
}

/// Reads the file in the fence that opens at this line.
pub(crate) fn read(lines: &Lines, fence: usize) -> Result<(FileEdit, usize), Refusal> {
    let path = names_file(lines, fence).unwrap_or_default();
    let fail = |code, why: &str| Err(Refusal::new(code, why).file(&path));
    let Some(close) =
        (fence + 1..lines.len()).find(|at| !lines.in_fence(*at)).filter(|at| lines.closes_fence(*at))
    else {
        return fail(Code::Truncated, "the fence of a file is not closed");
    };
    let inner = |at: usize| fence_mark(lines.get(at));
    let length = inner(fence).map_or(0, |(_, length, _)| length);
    let nested = (fence + 1..close)
        .any(|at| inner(at).is_some_and(|(_, at_least, info)| at_least >= length && !info.is_empty()));
    let is_document = [".md", ".markdown", ".mdx", ".rst"].iter().any(|suffix| path.ends_with(suffix));
    let more_follow = is_document && (close + 1..lines.len()).any(|at| inner(at).is_some());
    if nested || more_follow && names_file_after(lines, close).is_none() {
        return Err(Refusal::new(Code::AmbiguousReply, "the file holds fences as long as the one around it")
            .file(&path)
            .hint("put the file in a fence that is longer than any inside it"));
    }
    let text = (fence + 1..close).map(|at| format!("{}\n", lines.get(at))).collect();
    let ask = Ask::Write(NewText { text, exact_end: false });
    Ok((FileEdit { path: PathName::Named(path), from: None, ask, mode: None }, close + 1))
}

/// Gives the path of the next fence, if it has one.
fn names_file_after(lines: &Lines, close: usize) -> Option<String> {
    let next = (close + 1..lines.len()).find(|at| fence_mark(lines.get(*at)).is_some())?;
    names_file(lines, next)
}

/// Gives the nearest line of text above a fence, unless another fence ends there.
fn line_above<'a>(lines: &Lines<'a>, fence: usize, far: usize) -> Option<&'a str> {
    let above = (0..fence).rev().take(far).find(|at| !lines.get(*at).trim().is_empty())?;
    (!lines.closes_fence(above)).then(|| lines.get(above))
}

/// Refuses a fence that nothing claims beside whole files, where it may be one of them (I4).
pub(crate) fn all_claimed(lines: &Lines, unclaimed: &[usize], edits: &[FileEdit]) -> Result<(), Refusal> {
    if !edits.iter().any(|edit| matches!(edit.ask, Ask::Write(_))) {
        return Ok(());
    }
    let claimed: HashSet<String> = edits.iter().map(|edit| edit.path.shown()).collect();
    match unclaimed.iter().find(|fence| !is_illustration(lines, **fence, &claimed)) {
        Some(fence) => Err(Refusal::new(
            Code::AmbiguousReply,
            format!(
                "the fence in line {} stands beside whole files and does not say which file it is",
                fence + 1
            ),
        )
        .hint("put the path of the file on a line of its own above every fence")),
        None => Ok(()),
    }
}

/// Tells whether a fence shows commands, or stands under prose that speaks of no other file than the claimed ones.
fn is_illustration(lines: &Lines, fence: usize, claimed: &HashSet<String>) -> bool {
    const COMMANDS: [&str; 7] = ["sh", "bash", "shell", "zsh", "console", "powershell", "output"];
    let above = line_above(lines, fence, 3);
    if above.is_some_and(|line| lone_word(line).is_some()) {
        return false;
    }
    let info = fence_mark(lines.get(fence)).map_or("", |(_, _, info)| info);
    COMMANDS.contains(&info)
        || above.is_some_and(|line| mentioned(line, lines.source).all(|path| claimed.contains(path)))
}
