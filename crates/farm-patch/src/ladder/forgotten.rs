//! The rung for a forgotten `+`: lines written as context that the file does not have are new lines.
//!
//! Such a line could also be a misquoted line of the file. Inside a hunk the two differ: next to a misquoted line the file has one line more
//! than the rest of the hunk. At the edge of a hunk they do not, so there the rung holds only at the edge of the file.

use super::fit::Spot;
use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, Key, View};
use crate::refusal::Refusal;
use crate::text::is_weak;

/// How many weak lines in a row may be old or new.
const MAX_WEAK: usize = 8;

/// What a line of the before side may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A line of the file.
    Old,
    /// No line of the file is like it.
    New,
    /// A blank line or a bracket beside a new one: either.
    Either,
}

/// Finds all windows of the file that the hunk's old lines fill without a gap.
pub(super) fn layouts(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Vec<Vec<Spot>>, Refusal> {
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let Some(roles) = roles(hunk, before, &keys) else {
        return Ok(Vec::new());
    };
    let pivot = (0..before.len())
        .filter(|idx| roles[*idx] == Role::Old)
        .min_by_key(|idx| (view.lines_like(keys[*idx]).len(), *idx));
    let Some(pivot) = pivot else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for &at in view.lines_like(keys[pivot]) {
        budget.spend(before.len())?;
        let Some(spots) = window(before, &roles, view, pivot, at as usize) else {
            continue;
        };
        if edges_hold(&spots, view) {
            found.push(spots);
        }
        if found.len() > 3 {
            break;
        }
    }
    Ok(found)
}

/// Sorts the lines, if enough of the hunk is left to know its place by.
fn roles(hunk: &Hunk, before: &[&Line], keys: &[Key]) -> Option<Vec<Role>> {
    let mut roles: Vec<Role> = before
        .iter()
        .zip(keys)
        .map(|(line, key)| if line.kind == Kind::Keep && key.is_none() { Role::New } else { Role::Old })
        .collect();
    let n_new = roles.iter().filter(|role| **role == Role::New).count();
    // A hunk without any mark is believed only if its counts say how many marks are missing.
    let states_change = hunk.lines.iter().any(|line| line.kind != Kind::Keep) || hunk.n_hidden_new == n_new;
    if hunk.sure_context || !states_change || n_new == 0 {
        return None;
    }
    // A weak line that touches a new one, perhaps over other weak ones, may be new as well.
    for order in [(0..roles.len()).collect::<Vec<_>>(), (0..roles.len()).rev().collect()] {
        let mut beside_new = false;
        for idx in order {
            let weak = before[idx].kind == Kind::Keep && is_weak(&before[idx].text);
            if roles[idx] == Role::Old && weak && beside_new {
                roles[idx] = Role::Either;
            }
            beside_new = roles[idx] == Role::New || weak && beside_new;
        }
    }
    let old = || {
        before.iter().zip(&roles).filter(|(_, role)| **role == Role::Old).map(|(line, _)| line.text.trim())
    };
    let (n_old, n_telling) = (old().count(), old().filter(|text| !is_weak(text)).count());
    let n_letters: usize = old().map(|text| text.chars().filter(|c| !c.is_whitespace()).count()).sum();
    (3 * n_old >= before.len() && n_telling >= 2 && n_letters >= 10).then_some(roles)
}

/// Lays the hunk over the file so that the pivot stands at this line; `None` where that leaves a gap, or more than one way.
fn window(before: &[&Line], roles: &[Role], view: &View, pivot: usize, at: usize) -> Option<Vec<Spot>> {
    let same = |idx: usize, line: usize| {
        view.lines.get(line).is_some_and(|have| have.trim_end() == before[idx].text.trim_end())
    };
    if !same(pivot, at) {
        return None;
    }
    let mut spots = vec![Spot::New; before.len()];
    spots[pivot] = Spot::At(at);
    lay(roles, (pivot + 1..before.len()).collect(), &mut spots, &mut |idx, n_taken| {
        same(idx, at + 1 + n_taken).then_some(at + 1 + n_taken)
    })?;
    lay(roles, (0..pivot).rev().collect(), &mut spots, &mut |idx, n_taken| {
        let line = at.checked_sub(1 + n_taken)?;
        same(idx, line).then_some(line)
    })?;
    Some(spots)
}

/// Walks away from the pivot. A run of lines that may be old or new must end in only one way: the old line after it tells.
fn lay(
    roles: &[Role],
    order: Vec<usize>,
    spots: &mut [Spot],
    line_at: &mut dyn FnMut(usize, usize) -> Option<usize>,
) -> Option<()> {
    let mut n_taken = 0;
    let mut run: Vec<usize> = Vec::new();
    for (step, &idx) in order.iter().enumerate() {
        if roles[idx] != Role::Old {
            run.push(idx);
        }
        let run_ends = roles[idx] == Role::Old || step + 1 == order.len();
        if !run_ends {
            continue;
        }
        // Try every number of old lines at the near and at the far side of the run.
        let closing = (roles[idx] == Role::Old).then_some(idx);
        let mut ways = Vec::new();
        let free = |idx: &usize| roles[*idx] == Role::Either;
        let near = run.iter().take_while(|idx| free(idx)).count();
        let far = run.iter().rev().take_while(|idx| free(idx)).count().min(run.len() - near);
        if near.max(far) > MAX_WEAK {
            return None;
        }
        for n_near in 0..=near {
            let mut taken: Vec<(usize, usize)> = Vec::new();
            let fits = |taken: &mut Vec<(usize, usize)>,
                        idx: usize,
                        line_at: &mut dyn FnMut(usize, usize) -> Option<usize>| {
                line_at(idx, n_taken + taken.len()).map(|line| taken.push((idx, line))).is_some()
            };
            if !run[..n_near].iter().all(|idx| fits(&mut taken, *idx, line_at)) {
                break;
            }
            for n_far in 0..=far {
                let mut all = taken.clone();
                let tail = &run[run.len() - n_far..];
                if tail.iter().all(|idx| fits(&mut all, *idx, line_at))
                    && closing.is_none_or(|idx| fits(&mut all, idx, line_at))
                {
                    ways.push(all);
                }
            }
        }
        // Without an old line behind the run, its last line must be one, or all of it is new.
        if let (None, Some(last)) = (closing, run.last()) {
            let reaches = |way: &[(usize, usize)]| way.iter().any(|(idx, _)| idx == last);
            let some_reach = ways.iter().any(|way| reaches(way));
            ways.retain(|way| if some_reach { reaches(way) } else { way.is_empty() });
        }
        // Ways of one length fill the same lines of the file, and so give the same text.
        ways.sort_by_key(Vec::len);
        ways.dedup_by_key(|way| way.len());
        let [way] = ways.as_slice() else {
            return None;
        };
        for (idx, line) in way {
            spots[*idx] = Spot::At(*line);
        }
        n_taken += way.len();
        run.clear();
    }
    Some(())
}

/// Accepts new lines at an edge of the hunk only where the file has no line that they could misquote.
fn edges_hold(spots: &[Spot], view: &View) -> bool {
    let at = |spot: &Spot| if let Spot::At(line) = spot { Some(*line) } else { None };
    let first = spots.iter().find_map(at);
    let last = spots.iter().rev().find_map(at);
    (spots.first() != Some(&Spot::New) || first == Some(0))
        && (spots.last() != Some(&Spot::New) || last == Some(view.lines.len() - 1))
}
