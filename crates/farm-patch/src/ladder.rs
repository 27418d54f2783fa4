//! Finds the one place that a hunk means, by one relaxation after another.
//!
//! **Invariant (I4):** every rung must leave exactly one place. Where a rung leaves several, the looser ones could only leave more, so the
//! search ends there with a refusal; a stated line decides between them only when its candidate is clearly the nearest.

mod anchors;
mod applied;
mod elided;
mod fit;
mod forgotten;
mod nearest;
mod piece;
mod shortened;
mod skipped;
mod typography;

use crate::edit::{EndNewline, Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::{Ending, is_weak};
use applied::Afterimages;
use fit::Spot;

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
        return Ok(verdict);
    }
    let before: Vec<&Line> = hunk.before().collect();
    if before.is_empty() {
        return without_context(hunk, view);
    }
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let candidates = anchors::narrowed(hunk, view, view.candidates(&keys, budget)?)?;
    let by_distance = nearest_first(&candidates, hunk.stated);
    let done = Afterimages::find(hunk, view, Tier::LostSpace, budget)?;

    let exact = matches(hunk, &before, view, &by_distance, Tier::Exact, budget)?;
    if let Some(at) = done.at_stated_end(hunk, view)
        && !exact.iter().any(|place| place.start + before.len() == view.lines.len())
    {
        return Ok(Verdict::Already(at));
    }
    if let Some(place) = hunk.stated.and_then(|stated| exact.iter().find(|place| place.start == stated)) {
        return done.settle_exact(hunk, view, rated(hunk, view, place.clone())?);
    }
    if let Some(stated) = hunk.stated
        && done.telling().contains(&stated)
    {
        return Ok(Verdict::Already(stated));
    }
    if let Some(place) = choose(hunk, view, exact)? {
        return done.settle_exact(hunk, view, place);
    }
    for tier in [Tier::TrailingSpace, Tier::LostSpace, Tier::Tabs, Tier::Indent, Tier::Punctuation] {
        let found = matches(hunk, &before, view, &by_distance, tier, budget)?;
        if let Some(place) = choose(hunk, view, found)? {
            if tier >= Tier::Tabs && (hunk.counts_wrong || all_stand_elsewhere(&before, view, budget)?) {
                return Err(Refusal::new(
                    Code::Ambiguous,
                    "the lines fit in one place only loosely, and may mean another",
                )
                .expected(nearest::wanted(hunk))
                .found(vec![nearest::numbered(view, place.start)]));
            }
            let verdict = done.settle_loose(hunk, view, place)?;
            if let Verdict::Placed(places) = &verdict {
                let alike = Afterimages::find(hunk, view, tier, budget)?;
                places.iter().try_for_each(|place| alike.settle_alike(hunk, view, place))?;
            }
            return Ok(verdict);
        }
    }
    if let (Some(first), true) = (done.telling().first(), candidates.is_empty()) {
        return Ok(Verdict::Already(*first));
    }
    structural(hunk, &before, view, budget)?
        .map_or_else(|| Err(nearest::no_match(hunk, &before, view, budget)), Ok)
}

/// Places a hunk by exact lines alone, in a text that earlier hunks of the same reply have already changed.
pub(crate) fn place_exactly(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Option<Placement>, Refusal> {
    let before: Vec<&Line> = hunk.before().collect();
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let candidates = anchors::narrowed(hunk, view, view.candidates(&keys, budget)?)?;
    let found = matches(hunk, &before, view, &candidates, Tier::Exact, budget)?;
    choose(&Hunk { stated: None, ..hunk.clone() }, view, found)
}

/// Tells whether a dropped line has a neighbour like it that stays: dropped once more, it would be the neighbour's turn.
fn drops_one_of_a_run(place: &Placement, view: &View) -> bool {
    let same = |a: usize, b: usize| {
        view.lines.get(a).zip(view.lines.get(b)).is_some_and(|(a, b)| a.trim() == b.trim())
    };
    let stays = |line: usize| place.dropped.binary_search(&line).is_err();
    place.added.is_empty()
        && place.dropped.iter().any(|&line| {
            same(line, line + 1) && stays(line + 1) || line > 0 && same(line, line - 1) && stays(line - 1)
        })
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

fn structural(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Option<Verdict>, Refusal> {
    if !applied::shows(hunk) {
        return Ok(None);
    }
    for (tier, rung) in [(Tier::ForgottenPlus, forgotten::layouts as Rung), (Tier::Skipped, skipped::layouts)]
    {
        if let Some(place) = laid_out(hunk, rung(hunk, before, view, budget)?, tier, view, budget)? {
            return Ok(Some(Verdict::Placed(vec![place])));
        }
    }
    if let Some(places) = elided::places(hunk, view, budget)? {
        return Ok(Some(Verdict::Placed(places)));
    }
    let layouts = shortened::layouts(hunk, before, view, budget)?;
    Ok(laid_out(hunk, layouts, Tier::Shortened, view, budget)?.map(|place| Verdict::Placed(vec![place])))
}

/// A rung that says where each line of the hunk could stand.
type Rung = fn(&Hunk, &[&Line], &View, &Budget) -> Result<Vec<Vec<Spot>>, Refusal>;

/// Takes the only layout, unless the file also reads there as if the hunk had been applied in just that way.
fn laid_out(
    hunk: &Hunk,
    layouts: Vec<Vec<Spot>>,
    tier: Tier,
    view: &View,
    budget: &Budget,
) -> Result<Option<Placement>, Refusal> {
    let built = layouts.iter().map(|spots| fit::build(hunk, spots, tier));
    let allowed: Vec<Placement> = built.filter(|place| anchors::allow(hunk, view, place.start)).collect();
    let place = choose(hunk, view, allowed)?;
    if let Some(place) = &place {
        if drops_one_of_a_run(place, view) {
            return Err(Refusal::new(Code::Ambiguous, "a removed line stands beside another like it")
                .expected(nearest::wanted(hunk))
                .found(vec![nearest::numbered(view, place.start)]));
        }
        for spots in &layouts {
            let told = fit::resolved(hunk, spots);
            Afterimages::find(&told, view, Tier::TrailingSpace, budget)?.settle_alike(&told, view, place)?;
        }
    }
    Ok(place)
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

/// Takes the only place, or the one that the stated line points at clearly; refuses where several are left.
fn choose(hunk: &Hunk, view: &View, mut found: Vec<Placement>) -> Result<Option<Placement>, Refusal> {
    if found.len() <= 1 {
        return found.pop().map(|place| rated(hunk, view, place)).transpose();
    }
    if let Some(stated) = hunk.stated {
        found.sort_by_key(|place| place.start.abs_diff(stated));
        let (first, second) = (found[0].start.abs_diff(stated), found[1].start.abs_diff(stated));
        if clearly_nearest(first, second) && !hunk.counts_wrong {
            return rated(hunk, view, found.swap_remove(0)).map(Some);
        }
    }
    let places = found.iter().map(|place| nearest::numbered(view, place.start)).collect();
    Err(Refusal::new(Code::Ambiguous, format!("the lines stand in {} places or more", found.len()))
        .expected(nearest::wanted(hunk))
        .found(places))
}

/// Tells whether all changes stand between context, or at an end of the file.
fn has_context(hunk: &Hunk, place: &Placement, n_lines: usize) -> bool {
    let open = |line: Option<&Line>| line.is_some_and(|line| line.kind != Kind::Keep);
    let last = place.kept.iter().chain(&place.dropped).max();
    (!open(hunk.lines.first()) || place.start == 0)
        && (!open(hunk.lines.last()) || last.is_none_or(|last| last + 1 == n_lines))
}

/// Decides when a stated line may break a tie: a slip of a few lines, and the next candidate far off.
fn clearly_nearest(first: usize, second: usize) -> bool {
    const SLIP: usize = 3;
    first <= SLIP && second >= 20 && second >= 10 * first
}

/// Gives the place with its final tier, unless wrong counts may hide lines that say where the new ones go.
fn rated(hunk: &Hunk, view: &View, mut place: Placement) -> Result<Placement, Refusal> {
    if hunk.counts_wrong && !has_context(hunk, &place, view.lines.len()) {
        return Err(Refusal::new(
            Code::Ambiguous,
            "lines may be missing between the new lines and the only context they have",
        )
        .expected(nearest::wanted(hunk))
        .found(vec![nearest::numbered(view, place.start)])
        .hint("repeat the lines of the file above and below the new ones"));
    }
    if place.tier == Tier::Exact && hunk.stated.is_some_and(|stated| stated != place.start) {
        place.tier = Tier::Moved;
    }
    place.tier = floor(hunk, place.tier);
    Ok(place)
}

/// Raises a tier by what the reader of the format had to forgive.
fn floor(hunk: &Hunk, tier: Tier) -> Tier {
    let counts = if hunk.counts_wrong { Tier::Counts } else { Tier::Already };
    let bare = if hunk.lines.iter().any(|line| line.bare) { Tier::LostSpace } else { Tier::Already };
    tier.max(counts).max(bare)
}

fn nearest_first(candidates: &[usize], stated: Option<usize>) -> Vec<usize> {
    let mut sorted = candidates.to_vec();
    if let Some(stated) = stated {
        sorted.sort_by_key(|at| at.abs_diff(stated));
    }
    sorted
}
