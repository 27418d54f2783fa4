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
            && unequivocal(hunk, &spots, &latest(before, &spots, view))
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
    let is_new = |text: &str| {
        let same = |line: &Line| line.kind == Kind::Add && line.text.trim() == text.trim();
        !is_weak(text) && hunk.lines.iter().any(same)
    };
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

/// Moves every line as far down as it can stand above the next: where that is elsewhere, equal lines leave a choice.
fn latest(before: &[&Line], spots: &[Spot], view: &View) -> Vec<Spot> {
    let mut late = spots.to_vec();
    for idx in (0..spots.len().saturating_sub(1)).rev() {
        let (Spot::At(early), Spot::At(below)) = (spots[idx], late[idx + 1]) else { continue };
        let same = |at: &usize| view.lines[*at].trim_end() == before[idx].text.trim_end();
        late[idx] = Spot::At((early..below).rev().find(same).unwrap_or(early));
    }
    late
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

/// Accepts a place where no skipped line makes it doubtful what is dropped, and where new lines go.
fn unequivocal(hunk: &Hunk, spots: &[Spot], late: &[Spot]) -> bool {
    let mut above: Option<(&Line, usize, bool)> = None;
    let old_lines = hunk.lines.iter().enumerate().filter(|(_, line)| line.kind != Kind::Add);
    for ((idx, line), (spot, late)) in old_lines.zip(spots.iter().zip(late)) {
        let Spot::At(at) = *spot else {
            return false;
        };
        let is_fixed = spot == late;
        let n_added = hunk.lines[..idx].iter().rev().take_while(|line| line.kind == Kind::Add).count();
        if !is_fixed && (line.kind == Kind::Drop || n_added > 0) {
            return false;
        }
        if let Some((other, line_above, other_is_fixed)) = above {
            // Are skipped lines between two dropped ones dropped too? Do new lines stand above or below them?
            let skips = at > line_above + 1;
            let both_drop = other.kind == Kind::Drop && line.kind == Kind::Drop;
            let in_place =
                other.kind == Kind::Drop && line.kind == Kind::Keep && replaces(&hunk.lines[..idx], n_added);
            if skips && both_drop || (skips || !other_is_fixed) && n_added > 0 && !in_place {
                return false;
            }
        }
        above = Some((line, at, is_fixed));
    }
    true
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
