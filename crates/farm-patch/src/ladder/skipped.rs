//! The rung for skipped lines: the file has blank or comment lines that the reply left out between the lines it names.

use super::fit::Spot;
use super::nearest::alike;
use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::refusal::Refusal;
use crate::text::is_weak;

/// How many lines in a row the reply may have left out.
const MAX_SKIPPED: usize = 30;

/// Finds all windows where the hunk's lines stand in order with nothing but blank and comment lines between.
pub(super) fn layouts(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Vec<Vec<Spot>>, Refusal> {
    let n_telling = before.iter().filter(|line| !is_weak(&line.text)).count();
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    if n_telling < 2 || keys.contains(&None) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for &start in view.lines_like(keys[0]) {
        budget.spend(before.len())?;
        if let Some(spots) = lay(hunk, before, view, start as usize)
            && unequivocal(hunk, &spots, view)
        {
            found.push(spots);
        }
        if found.len() > 3 {
            break;
        }
    }
    Ok(found)
}

fn lay(hunk: &Hunk, before: &[&Line], view: &View, start: usize) -> Option<Vec<Spot>> {
    let is_new =
        |text: &str| hunk.lines.iter().any(|line| line.kind == Kind::Add && line.text.trim() == text.trim());
    let mut spots = Vec::with_capacity(before.len());
    let mut at = start;
    for line in before {
        let limit = at + MAX_SKIPPED;
        while view.lines.get(at)?.trim_end() != line.text.trim_end() {
            let have = &view.lines[at];
            if spots.is_empty() || at >= limit || !may_be_skipped(have) || is_new(have) {
                return None;
            }
            at += 1;
        }
        spots.push(Spot::At(at));
        at += 1;
    }
    Some(spots)
}

/// Tells whether a line is blank or a comment.
fn may_be_skipped(line: &str) -> bool {
    let text = line.trim();
    let hash =
        text.strip_prefix('#').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '#', '!']));
    let star = text == "*" || text.starts_with("* ") || text.starts_with("*/");
    text.is_empty()
        || hash
        || star
        || ["//", "/*", "-- ", "<!--", ";;", "% "].iter().any(|mark| text.starts_with(mark))
}

/// Refuses a place where skipped lines stand at a change in such a way that it could mean two things.
fn unequivocal(hunk: &Hunk, spots: &[Spot], view: &View) -> bool {
    let mut above: Option<(&Line, usize)> = None;
    let is_like_skipped = |line: &Line| line.kind == Kind::Drop && may_be_skipped(&line.text);
    let old_lines = hunk.lines.iter().enumerate().filter(|(_, line)| line.kind != Kind::Add);
    for ((idx, line), spot) in old_lines.zip(spots) {
        let Spot::At(at) = *spot else {
            return false;
        };
        if let Some((other, line_above)) = above
            && at > line_above + 1
        {
            // Are skipped lines between two dropped ones dropped too? Do new lines stand above or below them?
            let n_added = hunk.lines[..idx].iter().rev().take_while(|line| line.kind == Kind::Add).count();
            let in_place =
                other.kind == Kind::Drop && line.kind == Kind::Keep && replaces(&hunk.lines[..idx], n_added);
            let both_drop = other.kind == Kind::Drop && line.kind == Kind::Drop;
            // A skipped line like the one above it could as well be that one, which matters beside a change.
            let twin = view.lines[line_above + 1..at].iter().any(|have| have.trim() == other.text.trim());
            if twin && !amid_context(&hunk.lines, idx) {
                return false;
            }
            if both_drop || is_like_skipped(other) || is_like_skipped(line) || n_added > 0 && !in_place {
                return false;
            }
        }
        above = Some((line, at));
    }
    true
}

/// Tells whether the nearest lines that cannot be skipped, above and below this point of the hunk, are context, with no change before them.
fn amid_context(lines: &[Line], point: usize) -> bool {
    let stays = |line: &&Line| line.kind != Kind::Keep || !may_be_skipped(&line.text);
    let is_context = |line: Option<&Line>| line.is_none_or(|line| line.kind == Kind::Keep);
    is_context(lines[..point].iter().rev().find(stays)) && is_context(lines[point..].iter().find(stays))
}

/// Tells whether the last lines are dropped ones and as many new ones that read much like them.
fn replaces(lines: &[Line], n_added: usize) -> bool {
    let (rest, added) = lines.split_at(lines.len() - n_added);
    let n_dropped = rest.iter().rev().take_while(|line| line.kind == Kind::Drop).count();
    let dropped = &rest[rest.len() - n_dropped..];
    n_dropped == n_added
        && dropped
            .iter()
            .zip(added)
            .all(|(old, new)| old.text != new.text && alike(old.text.trim(), new.text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_code() {
        for line in ["", "  // x", "# x", "#", "/* x", " * x", " */", "-- x", "<!-- x -->"] {
            assert!(may_be_skipped(line), "{line}");
        }
        for line in ["#include <a>", "#[derive(Debug)]", "*p = 1;", "--x;", "x // y", "#define A"] {
            assert!(!may_be_skipped(line), "{line}");
        }
    }
}
