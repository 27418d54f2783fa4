//! The last rung: outer context lines that the file does not have are set aside, if enough is left to know the place by.
//!
//! A line that is set aside must be nowhere in the file, or the hunk may mean another place; and it must be context for sure, because it
//! could be a new line that lost its `+`.

use super::fit::Spot;
use super::nearest::alike;
use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::refusal::Refusal;
use crate::text::is_weak;

/// How many context lines may be set aside.
const MAX_ASIDE: usize = 4;

/// Finds the places of the hunk with the fewest outer context lines set aside.
pub(super) fn layouts(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Vec<Vec<Spot>>, Refusal> {
    let lead = hunk.lines.iter().take_while(|line| line.kind == Kind::Keep).count();
    let trail = hunk.lines.iter().rev().take_while(|line| line.kind == Kind::Keep).count();
    if lead == hunk.lines.len() {
        return Ok(Vec::new());
    }
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    // The line next to a change stays: without it nobody knows on which side of the missing line the change goes.
    let (max_lead, max_trail) = (lead.saturating_sub(1), trail.saturating_sub(1));

    for n_aside in 1..=(max_lead + max_trail).min(MAX_ASIDE) {
        let mut found: Vec<Vec<Spot>> = Vec::new();
        for n_top in n_aside.saturating_sub(max_trail)..=n_aside.min(max_lead) {
            let rest = n_top..before.len() - (n_aside - n_top);
            if !tells_the_place(&before[rest.clone()]) {
                continue;
            }
            for start in view.candidates(&keys[rest.clone()], budget)? {
                budget.spend(rest.len())?;
                let stands = before[rest.clone()]
                    .iter()
                    .zip(&view.lines[start..])
                    .all(|(line, have)| line.text.trim_end() == have.trim_end());
                if stands && may_go(hunk, before, &rest, start, view) {
                    let spots: Vec<Spot> = (0..before.len())
                        .map(|idx| {
                            if rest.contains(&idx) { Spot::At(start + idx - rest.start) } else { Spot::Aside }
                        })
                        .collect();
                    found.push(spots);
                }
                if found.len() > 3 {
                    break;
                }
            }
        }
        if !found.is_empty() {
            found.dedup();
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Tells whether enough is left: two telling lines, or one long one.
fn tells_the_place(rest: &[&Line]) -> bool {
    let telling: Vec<usize> = rest
        .iter()
        .filter(|line| !is_weak(&line.text))
        .map(|line| line.text.trim().chars().count())
        .collect();
    telling.len() >= 2 || telling.iter().any(|length| *length >= 12)
}

/// Tells whether the lines that were set aside are misquoted ones, and nothing else.
fn may_go(hunk: &Hunk, before: &[&Line], rest: &std::ops::Range<usize>, start: usize, view: &View) -> bool {
    let aside = || (0..before.len()).filter(|idx| !rest.contains(idx));
    // Brackets and blank lines alone are no misquotation.
    aside().any(|idx| !is_weak(&before[idx].text))
        && aside().all(|idx| {
            let text = &before[idx].text;
            let nowhere = is_weak(text) || view.key(text).is_none();
            let have = (start + idx).checked_sub(rest.start).and_then(|at| view.lines.get(at));
            nowhere && (hunk.sure_context || have.is_some_and(|have| alike(text.trim(), have.trim())))
        })
}
