//! The rung for elided context: a context line of dots stands for unchanged lines of the file.

use super::applied::Afterimages;
use super::choice::choose;
use super::fit::{self, Spot};
use super::{Placement, anchors};
use crate::edit::{EndNewline, Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

/// Places the parts between the dots that change something, each in the only place that leaves room for all others in their order;
/// `None` if the hunk has no such line.
pub(super) fn places(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Option<Vec<Placement>>, Refusal> {
    let parts: Vec<&[Line]> = hunk.lines.split(stands_for_more).collect();
    let lost = hunk
        .lines
        .iter()
        .any(|line| line.kind != Kind::Keep && stands_for_more(&Line { kind: Kind::Keep, ..line.clone() }));
    if parts.len() < 2 || lost {
        return Ok(None);
    }
    let parts: Vec<Part> = parts
        .into_iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| Part::new(hunk, lines, view, budget))
        .collect::<Result<_, _>>()?;
    let weak = |part: &Part| part.hunk.before().all(|line| is_weak(&line.text));
    if parts.iter().any(|part| part.starts.is_empty() || part.changes() && weak(part)) {
        return Ok(None);
    }
    let mut places: Vec<Placement> = Vec::new();
    for (idx, part) in parts.iter().enumerate().filter(|(_, part)| part.changes()) {
        // Whatever stands above and below must have room there.
        let from = parts[..idx]
            .iter()
            .try_fold(0, |from, above| above.first_from(from).map(|at| at + above.n_before));
        let until =
            parts[idx + 1..].iter().rev().try_fold(view.lines.len(), |until, below| below.last_until(until));
        let (Some(from), Some(until)) = (from, until) else {
            return Err(Refusal::new(
                Code::Ambiguous,
                "the parts of the edit stand in another order in the file",
            ));
        };
        let found = part.starts.iter().filter(|at| **at >= from && **at + part.n_before <= until);
        let spots = |at: usize| (at..at + part.n_before).map(Spot::At).collect::<Vec<_>>();
        let found = found.take(4).map(|at| fit::build(&part.hunk, &spots(*at), Tier::Exact)).collect();
        let Some(mut place) = choose(&part.hunk, view, found)? else {
            return Ok(None);
        };
        Afterimages::find(&part.hunk, view, Tier::TrailingSpace, budget)?
            .settle_alike(&part.hunk, view, &place, budget)?;
        (place.tier, place.end) = (Tier::Elided, EndNewline::Keep);
        places.push(place);
    }
    Ok((!places.is_empty()).then_some(places))
}

/// Lines between two elisions, and where in the file they stand exactly.
struct Part {
    hunk: Hunk,
    n_before: usize,
    starts: Vec<usize>,
}

impl Part {
    fn new(whole: &Hunk, lines: &[Line], view: &View, budget: &Budget) -> Result<Part, Refusal> {
        let hunk = Hunk {
            number: whole.number,
            lines: lines.to_vec(),
            anchors: whole.anchors.clone(),
            ..Hunk::default()
        };
        let before: Vec<&Line> = hunk.before().collect();
        let keys = view.keys(before.iter().map(|line| line.text.as_str()));
        let mut starts = anchors::narrowed(&hunk, view, view.candidates(&keys, budget)?, budget)?;
        budget.spend(starts.len() * before.len())?;
        starts.retain(|at| fit::fit(&before, &view.lines[*at..*at + before.len()], Tier::Exact).is_some());
        let n_before = before.len();
        Ok(Part { hunk, n_before, starts })
    }

    fn changes(&self) -> bool {
        self.hunk.lines.iter().any(|line| line.kind != Kind::Keep)
    }

    fn first_from(&self, from: usize) -> Option<usize> {
        self.starts.get(self.starts.partition_point(|at| *at < from)).copied()
    }

    fn last_until(&self, until: usize) -> Option<usize> {
        let n_fitting = self.starts.partition_point(|at| *at + self.n_before <= until);
        n_fitting.checked_sub(1).map(|last| self.starts[last])
    }
}

/// Tells whether a context line is nothing but dots, perhaps in a comment and with a word about what they stand for.
fn stands_for_more(line: &Line) -> bool {
    let text = line.text.trim().replace('\u{2026}', "...");
    let inner = text
        .trim_start_matches(['/', '#', '*', '-', ';', '<', '!', '(', '[', '{', ' '])
        .trim_end_matches(['/', '*', '-', '>', ')', ']', '}', ' ']);
    let commented = inner.len() < text.len();
    line.kind == Kind::Keep
        && (inner == "..."
            || commented && inner.len() < 60 && (inner.starts_with("... ") || inner.ends_with(" ...")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_told_from_code() {
        for text in
            ["...", "    # ... existing code ...", "// ...", "/* ... */", "\u{2026}", "// existing code ..."]
        {
            assert!(stands_for_more(&Line::new(Kind::Keep, text)), "{text}");
        }
        for text in ["f(...)", "return ...", "x = [...]", "// and so on...", "..", "print('...')"] {
            assert!(!stands_for_more(&Line::new(Kind::Keep, text)), "{text}");
        }
        assert!(!stands_for_more(&Line::new(Kind::Drop, "...")));
    }
}
