//! The rungs that lay the lines of a hunk out otherwise than in a row, tried when no row of the file fits.

use super::applied::Afterimages;
use super::choice::choose;
use super::fit::{self, Spot};
use super::{Placement, Verdict, anchors, elided, forgotten, shortened, skipped};
use crate::edit::{Hunk, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::Refusal;

/// Tries the rungs in their order; `None` if none of them finds a place.
pub(super) fn place(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    budget: &Budget,
) -> Result<Option<Verdict>, Refusal> {
    let forgotten = forgotten::layouts(hunk, before, view, budget)?;
    if let Some(place) = laid_out(hunk, forgotten, Tier::ForgottenPlus, view, budget)? {
        return Ok(Some(Verdict::Placed(vec![place])));
    }
    let skipped = skipped::layouts(hunk, before, view, budget)?;
    if let Some(place) = laid_out(hunk, skipped, Tier::Skipped, view, budget)? {
        return Ok(Some(Verdict::Placed(vec![place])));
    }
    if let Some(places) = elided::places(hunk, view, budget)? {
        return Ok(Some(Verdict::Placed(places)));
    }
    let layouts = shortened::layouts(hunk, before, view, budget)?;
    Ok(laid_out(hunk, layouts, Tier::Shortened, view, budget)?.map(|place| Verdict::Placed(vec![place])))
}

/// Takes the only layout, unless the file also reads there as if the hunk had been applied in just that way.
fn laid_out(
    hunk: &Hunk,
    layouts: Vec<Vec<Spot>>,
    tier: Tier,
    view: &View,
    budget: &Budget,
) -> Result<Option<Placement>, Refusal> {
    let built = layouts.iter().map(|spots| fit::build(hunk, spots, tier));
    let allowed: Vec<Placement> =
        built.filter(|place| anchors::allow(hunk, view, place.start, budget)).collect();
    let place = choose(hunk, view, allowed)?;
    if let Some(place) = &place {
        for spots in &layouts {
            let told = fit::resolved(hunk, spots);
            Afterimages::find(&told, view, Tier::TrailingSpace, budget)?
                .settle_alike(&told, view, place, budget)?;
        }
    }
    Ok(place)
}
