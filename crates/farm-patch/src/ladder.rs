//! Finds the one place that a hunk means, by one relaxation after another.
//!
//! **Invariant (I4):** every rung must leave exactly one place. Where a rung leaves several, the looser ones could only leave more, so the
//! search ends there with a refusal; a stated line decides between them only when its candidate is clearly the nearest.

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
    let candidates = anchored(hunk, view, view.candidates(&keys, budget)?)?;
    let by_distance = nearest_first(&candidates, hunk.stated);
    let done = afterimages(hunk, view, budget)?;

    let exact = matches(hunk, &before, view, &by_distance, Tier::Exact, budget)?;
    if let Some(place) = hunk.stated.and_then(|stated| exact.iter().find(|place| place.start == stated)) {
        return settle_exact(hunk, view, place.clone(), &done);
    }
    if let Some(stated) = hunk.stated
        && done.contains(&stated)
    {
        return Ok(Verdict::Already(stated));
    }
    if let Some(place) = choose(hunk, view, exact)? {
        return settle_exact(hunk, view, place, &done);
    }
    for tier in [Tier::TrailingSpace, Tier::LostSpace, Tier::Tabs, Tier::Indent, Tier::Punctuation] {
        let found = matches(hunk, &before, view, &by_distance, tier, budget)?;
        if let Some(place) = choose(hunk, view, found)? {
            return settle_loose(hunk, view, place, &before, &done);
        }
    }
    if let (Some(first), true) = (done.first(), candidates.is_empty()) {
        return Ok(Verdict::Already(*first));
    }
    structural(hunk, &before, view, budget)?
        .map_or_else(|| Err(nearest::no_match(hunk, &before, view, budget)), Ok)
}

/// Places a hunk by exact lines alone, in a text that earlier hunks of the same reply have already changed.
pub(crate) fn place_exactly(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Option<Placement>, Refusal> {
    let before: Vec<&Line> = hunk.before().collect();
    let keys = view.keys(before.iter().map(|line| line.text.as_str()));
    let candidates = anchored(hunk, view, view.candidates(&keys, budget)?)?;
    let found = matches(hunk, &before, view, &candidates, Tier::Exact, budget)?;
    choose(&Hunk { stated: None, ..hunk.clone() }, view, found)
}

fn structural(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Option<Verdict>, Refusal> {
    let rungs = [forgotten::places, skipped::places];
    for rung in rungs {
        let found = rung(hunk, before, view, budget)?;
        let inside = found.into_iter().filter(|place| below_anchors(hunk, view, place.start)).collect();
        if let Some(place) = choose(hunk, view, inside)? {
            return Ok(Some(Verdict::Placed(vec![place])));
        }
    }
    if let Some(places) = elided::places(hunk, view, budget)? {
        return Ok(Some(Verdict::Placed(places)));
    }
    let found = shortened::places(hunk, before, view, budget)?;
    let inside = found.into_iter().filter(|place| below_anchors(hunk, view, place.start)).collect();
    Ok(choose(hunk, view, inside)?.map(|place| Verdict::Placed(vec![place])))
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
        return Ok(found.pop().map(|place| rated(hunk, place)));
    }
    if let Some(stated) = hunk.stated {
        found.sort_by_key(|place| place.start.abs_diff(stated));
        let (first, second) = (found[0].start.abs_diff(stated), found[1].start.abs_diff(stated));
        if clearly_nearest(first, second) && !hunk.counts_wrong {
            return Ok(Some(rated(hunk, found.swap_remove(0))));
        }
    }
    let places = found.iter().map(|place| nearest::numbered(view, place.start)).collect();
    Err(Refusal::new(Code::Ambiguous, format!("the lines stand in {} places or more", found.len()))
        .expected(nearest::wanted(hunk))
        .found(places))
}

/// Decides when a stated line may break a tie: a slip of a few lines, and the next candidate far off.
fn clearly_nearest(first: usize, second: usize) -> bool {
    const SLIP: usize = 3;
    first <= SLIP && second >= 20 && second >= 10 * first
}

fn rated(hunk: &Hunk, mut place: Placement) -> Placement {
    if place.tier == Tier::Exact && hunk.stated.is_some_and(|stated| stated != place.start) {
        place.tier = Tier::Moved;
    }
    place.tier = floor(hunk, place.tier);
    place
}

/// Raises a tier by what the reader of the format had to forgive.
fn floor(hunk: &Hunk, tier: Tier) -> Tier {
    let counts = if hunk.counts_wrong { Tier::Counts } else { Tier::Already };
    let bare = if hunk.lines.iter().any(|line| line.bare) { Tier::LostSpace } else { Tier::Already };
    tier.max(counts).max(bare)
}

/// Accepts an exact place unless the file also reads, just there, as if the hunk had been applied.
fn settle_exact(hunk: &Hunk, view: &View, place: Placement, done: &[usize]) -> Result<Verdict, Refusal> {
    let n_before = hunk.before().count();
    let n_added = hunk.lines.len() - n_before;
    let n_after = hunk.after().count();
    let stated = hunk.stated == Some(place.start);
    if let Some(nearer) =
        done.iter().find(|at| hunk.stated.is_some_and(|line| at.abs_diff(line) < place.start.abs_diff(line)))
    {
        return Err(either_way(hunk, view, &place, *nearer));
    }
    let overlapping = done.iter().find(|at| **at < place.start + n_before && place.start < **at + n_after);
    let (Some(&at), true) = (overlapping, n_added > 0) else {
        return Ok(Verdict::Placed(vec![rated(hunk, place)]));
    };
    let only_adds = place.dropped.is_empty();
    let open_above = hunk.lines.first().is_some_and(|line| line.kind == Kind::Add);
    let open_below = hunk.lines.last().is_some_and(|line| line.kind == Kind::Add);
    let one_side_open = (open_below && at == place.start) || (open_above && at + n_added == place.start);
    match (only_adds && one_side_open, stated) {
        (true, _) => Ok(Verdict::Already(at)),
        // Git's own reading: context on both sides, at the stated line.
        (false, true) => Ok(Verdict::Placed(vec![rated(hunk, place)])),
        (false, false) => Err(either_way(hunk, view, &place, at)),
    }
}

/// Accepts a loose place unless the file already reads as asked: in the same lines it is done, in others nobody can tell.
fn settle_loose(
    hunk: &Hunk,
    view: &View,
    place: Placement,
    before: &[&Line],
    done: &[usize],
) -> Result<Verdict, Refusal> {
    let n_after = hunk.after().count();
    match done.first() {
        None => Ok(Verdict::Placed(vec![place])),
        Some(_) => {
            match done.iter().find(|at| **at < place.start + before.len() && place.start < **at + n_after) {
                Some(at) => Ok(Verdict::Already(*at)),
                None => Err(either_way(hunk, view, &place, done[0])),
            }
        }
    }
}

fn either_way(hunk: &Hunk, view: &View, place: &Placement, done: usize) -> Refusal {
    Refusal::new(Code::Ambiguous, "the edit may be applied already, or still be to do elsewhere")
        .expected(nearest::wanted(hunk))
        .found(vec![nearest::numbered(view, done), nearest::numbered(view, place.start)])
}

/// Finds where the file already reads as the hunk would leave it, nearest to the stated line first, if that says anything.
fn afterimages(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Vec<usize>, Refusal> {
    let after: Vec<&Line> = hunk.after().collect();
    let strong = |lines: &mut dyn Iterator<Item = &Line>| lines.filter(|line| !is_weak(&line.text)).count();
    let n_strong_added = strong(&mut hunk.lines.iter().filter(|line| line.kind == Kind::Add));
    let adds = hunk.lines.iter().any(|line| line.kind == Kind::Add);
    if !hunk.changes() || (adds && n_strong_added == 0) {
        return Ok(Vec::new());
    }
    let keys = view.keys(after.iter().map(|line| line.text.as_str()));
    let mut found = Vec::new();
    for start in nearest_first(&view.candidates(&keys, budget)?, hunk.stated) {
        budget.spend(after.len())?;
        if fit::fit(&after, &view.lines[start..start + after.len()], Tier::TrailingSpace).is_some() {
            found.push(start);
        }
        if found.len() > 3 {
            break;
        }
    }
    if adds {
        return Ok(found);
    }
    // A pure deletion leaves context only: believe it where both sides are told and one place is left.
    let closed = |lines: &mut dyn Iterator<Item = &Line>| {
        lines.take_while(|line| line.kind == Kind::Keep).any(|line| !is_weak(&line.text))
    };
    let told = closed(&mut hunk.lines.iter()) && closed(&mut hunk.lines.iter().rev());
    Ok(if told && found.len() == 1 { found } else { Vec::new() })
}

fn nearest_first(candidates: &[usize], stated: Option<usize>) -> Vec<usize> {
    let mut sorted = candidates.to_vec();
    if let Some(stated) = stated {
        sorted.sort_by_key(|at| at.abs_diff(stated));
    }
    sorted
}

/// Narrows candidates to those that the anchors allow: inside the anchored block if any is, else below it.
fn anchored(hunk: &Hunk, view: &View, candidates: Vec<usize>) -> Result<Vec<usize>, Refusal> {
    if hunk.anchors.is_empty() {
        return Ok(candidates);
    }
    let blocks = anchor_blocks(hunk, view)?;
    let inside: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|at| blocks.iter().any(|(from, to)| from <= at && at < to))
        .collect();
    if !inside.is_empty() {
        return Ok(inside);
    }
    let first = blocks.iter().map(|(from, _)| *from).min().unwrap_or(0);
    Ok(candidates.into_iter().filter(|at| *at >= first).collect())
}

fn below_anchors(hunk: &Hunk, view: &View, start: usize) -> bool {
    hunk.anchors.is_empty()
        || anchor_blocks(hunk, view)
            .is_ok_and(|blocks| blocks.iter().any(|(from, to)| *from <= start && start < *to))
}

/// Finds the blocks, by indentation, that open with the innermost anchor inside the outer ones.
fn anchor_blocks(hunk: &Hunk, view: &View) -> Result<Vec<(usize, usize)>, Refusal> {
    let mut blocks = vec![(0, view.lines.len())];
    for anchor in &hunk.anchors {
        let wanted = anchor.trim();
        let within = |idx: usize| blocks.iter().any(|(from, to)| *from <= idx && idx < *to);
        let equal = |test: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..view.lines.len()).filter(|idx| test(view.lines[*idx].trim()) && within(*idx)).collect()
        };
        let mut heads = equal(&|line| line == wanted);
        if heads.is_empty() {
            heads = equal(&|line| line.starts_with(wanted));
        }
        if heads.is_empty() {
            return Err(Refusal::new(
                Code::NoMatch,
                "the line that the edit is anchored to is not in the file",
            )
            .expected(vec![anchor.clone()]));
        }
        blocks = heads.into_iter().map(|head| (head, block_end(view, head))).collect();
    }
    Ok(blocks)
}

fn block_end(view: &View, head: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(&view.lines[head]);
    let opens_another = |line: &str| {
        indent(line) <= depth
            && line.trim_start().starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '@')
    };
    (head + 1..view.lines.len()).find(|idx| opens_another(&view.lines[*idx])).unwrap_or(view.lines.len())
}
