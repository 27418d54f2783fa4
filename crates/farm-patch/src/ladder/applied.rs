//! Tells what is done already from what is still to do, so that applying a reply twice is applying it once.

use std::borrow::Cow;

use super::{Placement, Verdict, fit, nearest, nearest_first};
use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

/// The places where the file reads as the hunk would leave it, nearest to the stated line first.
#[derive(Debug)]
pub(super) struct Afterimages {
    places: Vec<usize>,
    /// Whether the lines say enough to be believed without a look at the old ones.
    telling: bool,
}

impl Afterimages {
    /// Looks for them under the rung of this tier.
    pub(super) fn find(
        hunk: &Hunk,
        view: &View,
        tier: Tier,
        budget: &Budget,
    ) -> Result<Afterimages, Refusal> {
        const ENOUGH: usize = 4;
        let after: Vec<&Line> = hunk.after().collect();
        let keys = view.keys(after.iter().map(|line| line.text.as_str()));
        let mut places = Vec::new();
        if hunk.changes() {
            for start in nearest_first(&view.candidates(&keys, budget)?, hunk.stated) {
                budget.spend(after.len())?;
                if reads_as(&after, &view.lines[start..start + after.len()], tier) {
                    places.push(start);
                }
                if places.len() == ENOUGH {
                    break;
                }
            }
        }
        let adds = hunk.lines.iter().any(|line| line.kind == Kind::Add);
        let telling = if adds {
            hunk.lines.iter().any(|line| line.kind == Kind::Add && !is_weak(&line.text))
        } else {
            // A deletion leaves context only: believe it where both sides are told, one place is left, and a line is gone.
            let told = |lines: &mut dyn Iterator<Item = &Line>| {
                lines.take_while(|line| line.kind == Kind::Keep).any(|line| !is_weak(&line.text))
            };
            let gone = |line: &Line| line.kind == Kind::Drop && view.key(&line.text).is_none();
            places.len() == 1
                && told(&mut hunk.lines.iter())
                && told(&mut hunk.lines.iter().rev())
                && hunk.lines.iter().any(gone)
        };
        Ok(Afterimages { places, telling })
    }

    /// Gives the places that prove by themselves that the hunk is applied.
    pub(super) fn telling(&self) -> &[usize] {
        if self.telling { &self.places } else { &[] }
    }

    /// Gives the place at the end of the file, for a hunk that says it stands there.
    pub(super) fn at_stated_end(&self, hunk: &Hunk, view: &View) -> Option<usize> {
        let start = view.lines.len().checked_sub(hunk.after().count()).filter(|_| hunk.at_end)?;
        self.telling().contains(&start).then_some(start)
    }

    /// Accepts an exact place, one of `n_exact`, unless the file also reads, just there, as if the hunk had been applied.
    pub(super) fn settle_exact(
        &self,
        hunk: &Hunk,
        view: &View,
        place: Placement,
        n_exact: usize,
        budget: &Budget,
    ) -> Result<Verdict, Refusal> {
        let n_before = hunk.before().count();
        let n_added = hunk.lines.len() - n_before;
        let is_nearer = |at: &&usize| {
            hunk.stated.is_some_and(|stated| at.abs_diff(stated) < place.start.abs_diff(stated))
        };
        if let Some(nearer) = self.telling().iter().find(is_nearer) {
            return Err(either_way(hunk, view, &place, *nearer));
        }
        let as_stated = hunk.stated == Some(place.start);
        let Some(at) = self.over(hunk, &place).filter(|_| n_added > 0 || !as_stated) else {
            return Ok(Verdict::Placed(vec![place]));
        };
        match (repeated_addition(hunk, view, &place), as_stated) {
            (Some(at), _) => Ok(Verdict::Already(at)),
            // Git's own reading: context on both sides, at the stated line.
            (None, true) => Ok(Verdict::Placed(vec![place])),
            (None, false) if n_exact == 1 && self.only_within(hunk, view, &place, budget)? => {
                Ok(Verdict::Placed(vec![place]))
            }
            (None, false) => Err(either_way(hunk, view, &place, at)),
        }
    }

    /// Accepts a place of a rung under which these were found, unless one of them makes it doubtful that there is anything to do.
    pub(super) fn settle_alike(
        &self,
        hunk: &Hunk,
        view: &View,
        place: &Placement,
        budget: &Budget,
    ) -> Result<(), Refusal> {
        let nearer = hunk.stated.and_then(|stated| {
            self.places.iter().copied().find(|at| at.abs_diff(stated) < place.start.abs_diff(stated))
        });
        let over = match self.over(hunk, place) {
            Some(_) if self.only_within(hunk, view, place, budget)? => None,
            over => over,
        };
        match over.or(nearer) {
            Some(at) => Err(either_way(hunk, view, place, at)),
            None => Ok(()),
        }
    }

    /// Accepts a loose place unless the file already reads as asked: in the same lines it is done, in others nobody can tell.
    pub(super) fn settle_loose(
        &self,
        hunk: &Hunk,
        view: &View,
        place: Placement,
        budget: &Budget,
    ) -> Result<Verdict, Refusal> {
        let adds = hunk.lines.iter().any(|line| line.kind == Kind::Add);
        let shrinks = hunk.growth() < 0;
        match (self.over(hunk, &place), self.telling().first()) {
            (Some(at), _) if adds && self.telling && !shrinks => Ok(Verdict::Already(at)),
            (Some(_), _) if self.only_within(hunk, view, &place, budget)? => Ok(Verdict::Placed(vec![place])),
            (Some(at), _) => Err(either_way(hunk, view, &place, at)),
            (None, Some(elsewhere)) => Err(either_way(hunk, view, &place, *elsewhere)),
            (None, None) => Ok(Verdict::Placed(vec![place])),
        }
    }

    /// Tells whether the file reads as if applied only because of the old lines themselves: what remains of them stands within them.
    ///
    /// Where the result would hold the old lines again, the file may be such a result, and a second run would change it once more.
    fn only_within(
        &self,
        hunk: &Hunk,
        view: &View,
        place: &Placement,
        budget: &Budget,
    ) -> Result<bool, Refusal> {
        let before: Vec<&str> = hunk.before().map(|line| line.text.as_str()).collect();
        let after: Vec<&str> = hunk.after().map(|line| line.text.as_str()).collect();
        let end = place.start + before.len();
        let within = |at: usize| place.start <= at && at + after.len() <= end;
        let overlaps = |at: usize| at < end && place.start < at + after.len();
        if hunk.counts_wrong || self.places.iter().any(|at| overlaps(*at) && !within(*at)) {
            return Ok(false);
        }
        let same = |new: &str, old: &str| {
            new == old || place.tier >= Tier::TrailingSpace && new.trim() == old.trim()
        };
        let head = &view.lines[place.start.saturating_sub(before.len())..place.start];
        let tail = &view.lines[end..view.lines.len().min(end + before.len())];
        let result: Vec<&str> =
            head.iter().map(AsRef::as_ref).chain(after).chain(tail.iter().map(AsRef::as_ref)).collect();
        for window in result.windows(before.len()) {
            let alike = window.iter().zip(&before).take_while(|(new, old)| same(new, old)).count();
            budget.spend(1 + alike)?;
            if alike == before.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives a place that shares lines with this one.
    fn over(&self, hunk: &Hunk, place: &Placement) -> Option<usize> {
        let (n_before, n_after) = (hunk.before().count(), hunk.after().count());
        self.places.iter().copied().find(|at| *at < place.start + n_before && place.start < at + n_after)
    }
}

/// Tells whether a window reads as the hunk leaves it. The rungs up to this one write new lines as they are, so there they must be that.
fn reads_as(after: &[&Line], window: &[Cow<str>], tier: Tier) -> bool {
    let is_written = |(line, have): (&&Line, &Cow<str>)| line.kind != Kind::Add || line.text == *have;
    fit::fit(after, window, tier).is_some()
        && (tier > Tier::LostSpace || after.iter().zip(window).all(is_written))
}

/// Accepts an exact place at the stated line, unless all the hunk adds stands there already.
pub(super) fn settle_stated(hunk: &Hunk, view: &View, place: Placement) -> Verdict {
    repeated_addition(hunk, view, &place).map_or_else(|| Verdict::Placed(vec![place]), Verdict::Already)
}

/// Tells where new lines at an open edge of the hunk stand already, if it does nothing but add.
fn repeated_addition(hunk: &Hunk, view: &View, place: &Placement) -> Option<usize> {
    let after: Vec<&Line> = hunk.after().collect();
    let n_added = place.added.len();
    let is_new = |line: Option<&Line>| line.is_some_and(|line| line.kind == Kind::Add);
    let below = is_new(hunk.lines.last()).then_some(place.start);
    let above = place.start.checked_sub(n_added).filter(|_| is_new(hunk.lines.first()));
    let stands = |at: &usize| {
        let window = view.lines.get(*at..*at + after.len());
        window.is_some_and(|window| reads_as(&after, window, Tier::LostSpace))
    };
    [below, above].into_iter().flatten().filter(|_| place.dropped.is_empty()).find(stands)
}

fn either_way(hunk: &Hunk, view: &View, place: &Placement, done: usize) -> Refusal {
    Refusal::new(Code::Ambiguous, "the edit may be applied already, or still be to do elsewhere")
        .expected(nearest::wanted(hunk))
        .found(vec![nearest::numbered(view, done), nearest::numbered(view, place.start)])
}
