//! Finds the one place that a hunk means, by one relaxation after another.
//!
//! **Invariant (I4):** every rung must leave exactly one place. Where a rung leaves several, the looser ones could only leave more, so the
//! search ends there with a refusal; a stated line decides between them only when its candidate is clearly the nearest.

mod anchors;
mod applied;
mod choice;
mod elided;
mod fit;
mod forgotten;
mod nearest;
mod piece;
mod shortened;
mod skipped;
mod structural;
mod typography;

use crate::edit::{EndNewline, Hunk, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::{Ending, is_weak};
use applied::Afterimages;
use choice::{choose, floor, rated};

/// A place for a hunk, and the lines of the file that it keeps, drops and adds there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) tier: Tier,
    /// The first line of the place, counted from 0.
    pub(crate) start: usize,
    pub(crate) kept: Vec<usize>,
    pub(crate) dropped: Vec<usize>,
    pub(crate) added: Vec<Added>,
    pub(crate) end: EndNewline,
}

/// A new line in front of line `gap` of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) gap: usize,
    pub(crate) text: String,
    /// The ending that the reply itself insists on; otherwise the neighbour's.
    pub(crate) ending: Option<Ending>,
}

impl Placement {
    fn changes_nothing(&self) -> bool {
        self.dropped.is_empty() && self.added.is_empty()
    }
}

/// What the ladder finds out about a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Placed(Vec<Placement>),
    /// The file reads as if the hunk had been applied, from this line (counted from 0).
    Already(usize),
}

/// Places one hunk.
pub(crate) fn place(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Verdict, Refusal> {
    if let Some(piece) = &hunk.piece
        && let Some(verdict) = piece::place(piece, view, budget)?
    {
        if let (Verdict::Placed(places), false) = (&verdict, piece.all) {
            let done = Afterimages::find(hunk, view, Tier::LostSpace, budget)?;
            places.iter().try_for_each(|place| done.settle_alike(hunk, view, place, budget))?;
        }
        return Ok(verdict);
    }
    let before: Vec<&Line> = hunk.before().collect();
    if before.is_empty() {
        return without_context(hunk, view);
    }
    if let Some(place) = exactly_as_stated(hunk, &before, view, budget)? {
        return Ok(applied::settle_stated(hunk, view, place));
    }
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let candidates = anchors::narrowed(hunk, view, view.candidates(&keys, budget)?, budget)?;
    let by_distance = nearest_first(&candidates, hunk.stated);
    let done = Afterimages::find(hunk, view, Tier::LostSpace, budget)?;

    let exact = matches(hunk, &before, view, &by_distance, Tier::Exact, budget)?;
    if let Some(at) = done.at_stated_end(hunk, view)
        && !exact.iter().any(|place| place.start + before.len() == view.lines.len())
    {
        return Ok(Verdict::Already(at));
    }
    if let Some(place) = hunk.stated.and_then(|stated| exact.iter().find(|place| place.start == stated)) {
        let rated = rated(hunk, view, place.clone(), exact.len() == 1)?;
        return done.settle_exact(hunk, view, rated, exact.len(), budget);
    }
    if let Some(stated) = hunk.stated
        && done.telling().contains(&stated)
    {
        return Ok(Verdict::Already(stated));
    }
    let n_exact = exact.len();
    if let Some(place) = choose(hunk, view, exact)? {
        return done.settle_exact(hunk, view, place, n_exact, budget);
    }
    // None of the last three is stricter than the others, so all that they find are rivals.
    const RUNGS: [&[Tier]; 3] =
        [&[Tier::TrailingSpace], &[Tier::LostSpace], &[Tier::Tabs, Tier::Indent, Tier::Punctuation]];
    for tiers in RUNGS {
        let mut found: Vec<Placement> = Vec::new();
        for tier in tiers {
            let more = matches(hunk, &before, view, &by_distance, *tier, budget)?;
            found.extend(more);
        }
        if tiers.contains(&Tier::LostSpace) {
            found.retain(|place| fit::lost_marks(hunk, &view.lines[place.start..place.start + before.len()]));
        }
        found.sort_by_key(|place| place.start);
        found.dedup_by_key(|place| place.start);
        let Some(place) = choose(hunk, view, found)? else { continue };
        let is_stated = hunk.stated == Some(place.start);
        if tiers.contains(&Tier::Tabs)
            && (hunk.counts_wrong || !is_stated && all_stand_elsewhere(&before, view, budget)?)
        {
            return Err(Refusal::new(
                Code::Ambiguous,
                "the lines fit in one place only loosely, and may mean another",
            )
            .expected(nearest::wanted(hunk))
            .found(vec![nearest::numbered(view, place.start)]));
        }
        let tier = place.tier.max(tiers[0]);
        let verdict = done.settle_loose(hunk, view, place, budget)?;
        if let Verdict::Placed(places) = &verdict {
            let alike = Afterimages::find(hunk, view, tier, budget)?;
            places.iter().try_for_each(|place| alike.settle_alike(hunk, view, place, budget))?;
        }
        return Ok(verdict);
    }
    if let (Some(first), true) = (done.telling().first(), candidates.is_empty())
        && !mostly_stands_as_stated(hunk, &before, view)
    {
        return Ok(Verdict::Already(*first));
    }
    structural::place(hunk, &before, view, budget)?
        .map_or_else(|| Err(nearest::no_match(hunk, &before, view, budget)), Ok)
}

/// Takes the stated place without a look at others, where every line is as stated.
fn exactly_as_stated(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Option<Placement>, Refusal> {
    let is_plain = !hunk.at_end && hunk.anchors.is_empty() && !hunk.counts_wrong;
    let Some(start) = hunk.stated.filter(|_| is_plain) else {
        return Ok(None);
    };
    budget.spend(before.len())?;
    let window = start.checked_add(before.len()).and_then(|end| view.lines.get(start..end));
    match window.and_then(|window| fit::fit(before, window, Tier::Exact)) {
        Some(fit) => {
            rated(hunk, view, fit::checked(hunk, before, view, start, Tier::Exact, &fit)?, false).map(Some)
        }
        None => Ok(None),
    }
}

/// Places a hunk by exact lines alone, in a text that earlier hunks of the same reply have already changed.
pub(crate) fn place_exactly(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Option<Placement>, Refusal> {
    let before: Vec<&Line> = hunk.before().collect();
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let candidates = anchors::narrowed(hunk, view, view.candidates(&keys, budget)?, budget)?;
    let found = matches(hunk, &before, view, &candidates, Tier::Exact, budget)?;
    choose(&Hunk { stated: None, ..hunk.clone() }, view, found)
}

/// Tells whether each telling line of the hunk stands in the file as it is, so that they may mean another place than the loose one.
fn all_stand_elsewhere(before: &[&Line], view: &View, budget: &Budget) -> Result<bool, Refusal> {
    for line in before.iter().filter(|line| !is_weak(&line.text)) {
        let alike = view.lines_like(view.key(&line.text));
        budget.spend(alike.len())?;
        if !alike.iter().any(|at| view.lines[*at as usize] == line.text) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells whether half of the old lines stand at the stated line: then they are misquoted there, and a result elsewhere is another's.
fn mostly_stands_as_stated(hunk: &Hunk, before: &[&Line], view: &View) -> bool {
    let window = hunk.stated.and_then(|stated| view.lines.get(stated..)).unwrap_or_default();
    let n_same =
        before.iter().zip(window).filter(|(line, have)| line.text.trim_end() == have.trim_end()).count();
    2 * n_same >= before.len()
}

/// Places a hunk that names no line of the file: that is clear only in an empty file, or at a stated end.
fn without_context(hunk: &Hunk, view: &View) -> Result<Verdict, Refusal> {
    let n_lines = view.lines.len();
    if n_lines > 0 && !(hunk.at_end && hunk.anchors.is_empty()) {
        return Err(Refusal::new(Code::Ambiguous, "the edit adds lines but no line of the file says where")
            .hint("repeat the lines of the file above and below the new ones"));
    }
    let texts: Vec<&str> = hunk.after().map(|line| line.text.as_str()).collect();
    if n_lines >= texts.len()
        && view.lines[n_lines - texts.len()..].iter().eq(texts.iter())
        && !texts.is_empty()
    {
        return Ok(Verdict::Already(n_lines - texts.len()));
    }
    let mut place = fit::build(hunk, &[], Tier::Exact);
    place.start = n_lines;
    place.added.iter_mut().for_each(|added| added.gap = n_lines);
    place.tier = floor(hunk, place.tier);
    Ok(Verdict::Placed(vec![place]))
}

/// Gives the first few places where all lines fit under one rung, in the order of the candidates.
fn matches(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    candidates: &[usize],
    tier: Tier,
    budget: &Budget,
) -> Result<Vec<Placement>, Refusal> {
    const ENOUGH: usize = 4;
    let mut found = Vec::new();
    for &start in candidates {
        budget.spend(before.len())?;
        if let Some(fit) = fit::fit(before, &view.lines[start..start + before.len()], tier) {
            found.push((start, fit));
            if found.len() == ENOUGH {
                break;
            }
        }
    }
    let at_file_end = |start: usize| start + before.len() == view.lines.len();
    if hunk.at_end && found.iter().any(|(start, _)| at_file_end(*start)) {
        found.retain(|(start, _)| at_file_end(*start));
    }
    found.into_iter().map(|(start, fit)| fit::checked(hunk, before, view, start, tier, &fit)).collect()
}

fn nearest_first(candidates: &[usize], stated: Option<usize>) -> Vec<usize> {
    let mut sorted = candidates.to_vec();
    if let Some(stated) = stated {
        sorted.sort_by_key(|at| at.abs_diff(stated));
    }
    sorted
}
