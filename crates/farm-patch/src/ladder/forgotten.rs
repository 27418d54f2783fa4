//! The rung for a forgotten `+`: some lines written as context are new ones, and the others fill a window of the file without a gap.
//!
//! Which of the lines is new makes no difference to the result, because what is kept reads like what is said: the window becomes the after
//! side of the hunk. So only the window must be the only one, and the fewest new lines that leave a window are meant.
//!
//! Such a line could also be a misquoted line of the file. Inside a hunk the two differ: next to a misquoted line the file has one line more
//! than the rest of the hunk. At the edge of a hunk they do not, so there the rung holds only at the edge of the file, or where the counts
//! of the header say how many marks are missing.

use super::fit::Spot;
use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::refusal::Refusal;
use crate::text::is_weak;

/// How many marks may be missing: what fits into the bits of a set, and is not more than anybody forgets.
const MAX_NEW: usize = 63;

/// How many lines may be new beyond those that no line of the file is like.
const MAX_LIKE_OLD: usize = 4;

/// Finds all windows of the file that the hunk's old lines fill without a gap.
pub(super) fn layouts(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Vec<Vec<Spot>>, Refusal> {
    let said = Some(hunk.n_hidden_new).filter(|n_hidden| *n_hidden > 0);
    let nowhere = |line: &&&Line| view.key(&line.text).is_none();
    let n_nowhere = before.iter().filter(nowhere).count();
    let is_marked = said.is_some() || hunk.lines.iter().any(|line| line.kind != Kind::Keep);
    if hunk.sure_context || before.iter().filter(nowhere).any(|line| line.kind == Kind::Drop) {
        return Ok(Vec::new());
    }
    let counts = match said {
        Some(n_hidden) => n_hidden.max(n_nowhere)..=n_hidden,
        // A hunk without any mark says least: what it adds must be new to the file.
        None => n_nowhere.max(1)..=n_nowhere + if is_marked { MAX_LIKE_OLD } else { 0 },
    };
    for n_new in counts.take_while(|n_new| *n_new <= MAX_NEW.min(before.len())) {
        let window = Window { before, view, n_new, edges_may_be_new: said.is_some() };
        let mut found: Vec<Vec<Spot>> = Vec::new();
        for start in window.starts(budget)? {
            budget.spend(before.len())?;
            let is_stated = said.is_some() && hunk.stated == Some(start);
            let is_told = |spots: &Vec<Spot>| is_stated || tells_the_place(before, spots, said.is_some());
            found.extend(window.lay(start).filter(is_told));
            if found.len() > 3 {
                break;
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Tells whether enough of the hunk is left to know its place by.
fn tells_the_place(before: &[&Line], spots: &[Spot], is_said: bool) -> bool {
    let old =
        before.iter().zip(spots).filter(|(_, spot)| **spot != Spot::New).map(|(line, _)| line.text.trim());
    let telling: Vec<&str> = old.filter(|text| !is_weak(text)).collect();
    let n_old = spots.iter().filter(|spot| **spot != Spot::New).count();
    let n_letters: usize =
        telling.iter().flat_map(|text| text.chars()).filter(|c| !c.is_whitespace()).count();
    n_letters >= 10 && (is_said || telling.len() >= 2 && 3 * n_old >= before.len())
}

/// The search for windows with a fixed number of new lines.
struct Window<'a> {
    before: &'a [&'a Line],
    view: &'a View<'a>,
    n_new: usize,
    edges_may_be_new: bool,
}

impl Window<'_> {
    /// Gives the lines where a window may start: of the rarest lines of the hunk, one more than are new, at least one is old.
    fn starts(&self, budget: &Budget) -> Result<Vec<usize>, Refusal> {
        let places = |idx: usize| self.view.lines_like(self.view.key(&self.before[idx].text));
        let mut rarest: Vec<usize> = (0..self.before.len()).filter(|idx| !places(*idx).is_empty()).collect();
        rarest.sort_by_key(|idx| places(*idx).len());
        // Lines that the file does not have are new; of the others, so many may still be.
        let n_like_old = (self.n_new + rarest.len()).saturating_sub(self.before.len());
        let pivots: Vec<usize> = rarest.into_iter().take(n_like_old + 1).collect();
        let mut starts = Vec::new();
        for idx in pivots {
            budget.spend(places(idx).len() * (self.n_new + 1))?;
            for at in places(idx) {
                let first = (*at as usize).saturating_sub(idx);
                starts.extend(first..=(*at as usize).min(first + self.n_new));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        Ok(starts)
    }

    /// Lays the hunk over the file from this line on, `n_new` lines new and all others old.
    fn lay(&self, start: usize) -> Option<Vec<Spot>> {
        let n_lines = self.before.len();
        let end = start + n_lines - self.n_new;
        if end > self.view.lines.len() || n_lines == self.n_new {
            return None;
        }
        // For each line, with how many new ones before it the lines so far can stand.
        let mut ways: Vec<u64> = Vec::with_capacity(n_lines + 1);
        ways.push(1);
        for (idx, line) in self.before.iter().enumerate() {
            let may_be_new = line.kind == Kind::Keep && self.may_be_new(idx, start, end);
            let mut next = 0;
            let mut left = ways[idx];
            while left != 0 {
                let n_before = left.trailing_zeros() as usize;
                left &= left - 1;
                if idx >= n_before && self.same(idx, start + idx - n_before) {
                    next |= 1 << n_before;
                }
                if may_be_new && n_before < self.n_new {
                    next |= 1 << (n_before + 1);
                }
            }
            if next == 0 {
                return None;
            }
            ways.push(next);
        }
        let mut n_new = self.n_new;
        if ways[n_lines] & (1 << n_new) == 0 {
            return None;
        }
        let mut spots = vec![Spot::New; n_lines];
        for idx in (0..n_lines).rev() {
            let is_old = ways[idx] & (1 << n_new) != 0 && idx >= n_new && self.same(idx, start + idx - n_new);
            if is_old {
                spots[idx] = Spot::At(start + idx - n_new);
            } else {
                n_new -= 1;
            }
        }
        Some(spots)
    }

    fn may_be_new(&self, idx: usize, start: usize, end: usize) -> bool {
        let at_file_edge =
            idx == 0 && start == 0 || idx + 1 == self.before.len() && end == self.view.lines.len();
        let at_edge = idx == 0 || idx + 1 == self.before.len();
        self.edges_may_be_new || !at_edge || at_file_edge
    }

    fn same(&self, idx: usize, line: usize) -> bool {
        self.view.lines.get(line).is_some_and(|have| have.trim_end() == self.before[idx].text.trim_end())
    }
}
