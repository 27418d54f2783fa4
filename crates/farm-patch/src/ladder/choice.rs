//! Chooses among the places that a rung has found: exactly one, or a refusal.

use super::{Placement, nearest};
use crate::edit::{Hunk, Kind, Line};
use crate::index::View;
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};

/// Takes the only place, or the one that the stated line points at clearly; refuses where several are left.
pub(super) fn choose(
    hunk: &Hunk,
    view: &View,
    mut found: Vec<Placement>,
) -> Result<Option<Placement>, Refusal> {
    // Ways to read the same change.
    found.dedup_by(|a, b| (&a.dropped, &a.added) == (&b.dropped, &b.added) && !a.changes_nothing());
    if found.len() <= 1 {
        return found.pop().map(|place| rated(hunk, view, place, true)).transpose();
    }
    if let Some(stated) = hunk.stated {
        found.sort_by_key(|place| place.start.abs_diff(stated));
        let (first, second) = (found[0].start.abs_diff(stated), found[1].start.abs_diff(stated));
        let is_explained = hunk.n_hidden_new > 0 && found[0].tier == Tier::ForgottenPlus;
        if clearly_nearest(first, second) && (!hunk.counts_wrong || is_explained) {
            return rated(hunk, view, found.swap_remove(0), false).map(Some);
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

/// Tells whether a hunk has as much context below its changes as above them, or reaches the end of the file.
fn ends_like_it_begins(hunk: &Hunk, place: &Placement, n_lines: usize) -> bool {
    let is_context = |line: &&Line| line.kind == Kind::Keep;
    let lead = hunk.lines.iter().take_while(is_context).count();
    let trail = hunk.lines.iter().rev().take_while(is_context).count();
    let last = place.kept.iter().chain(&place.dropped).max();
    trail >= lead.min(3) || last.is_none_or(|last| last + 1 == n_lines)
}

/// Decides when a stated line may break a tie: a slip of a few lines, and the next candidate far off.
fn clearly_nearest(first: usize, second: usize) -> bool {
    const SLIP: usize = 3;
    first <= SLIP && second >= 20 && second >= 10 * first
}

/// Gives the place with its final tier, unless wrong counts may hide lines that say where the new ones go.
pub(super) fn rated(
    hunk: &Hunk,
    view: &View,
    mut place: Placement,
    is_only: bool,
) -> Result<Placement, Refusal> {
    let elsewhere = hunk.stated != Some(place.start) && place.tier < Tier::ForgottenPlus;
    let blind = hunk.is_blind();
    let doubtful = blind && !is_only || elsewhere && hunk.n_hidden_new > 0;
    let cut = hunk.may_be_cut && !ends_like_it_begins(hunk, &place, view.lines.len());
    if cut {
        return Err(Refusal::new(Code::Truncated, "the last hunk has fewer lines than its header says")
            .expected(nearest::wanted(hunk)));
    }
    let adrift = blind && elsewhere && hunk.stated.is_some();
    if adrift || hunk.counts_wrong && (doubtful || !has_context(hunk, &place, view.lines.len())) {
        return Err(Refusal::new(
            Code::Ambiguous,
            "the place does not follow from the few lines of the edit and its header",
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
pub(super) fn floor(hunk: &Hunk, tier: Tier) -> Tier {
    let counts = if hunk.counts_wrong { Tier::Counts } else { Tier::Already };
    let bare = if hunk.lines.iter().any(|line| line.bare) { Tier::LostSpace } else { Tier::Already };
    let straightened = if hunk.straightened { Tier::Punctuation } else { Tier::Already };
    tier.max(counts).max(bare).max(straightened)
}
