//! Joins the placed hunks of one file into its new content.

use crate::edit::EndNewline;
use crate::index::View;
use crate::ladder::Placement;
use crate::text::{BOM, Ending};

/// Two placements that cannot both stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clash {
    /// Which of the placements, counted from 0, clashes with an earlier one.
    pub(crate) later: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Free,
    Kept,
    Dropped,
}

/// Gives the content with all placements applied, or the first that clashes with one before it: two that drop or add in the same place,
/// or one that keeps what another drops.
pub(crate) fn splice(view: &View, places: &[Placement]) -> Result<Vec<u8>, Clash> {
    let n_lines = view.lines.len();
    let mut fates = vec![Fate::Free; n_lines];
    let mut gap_owner: Vec<Option<usize>> = vec![None; n_lines + 1];
    for (later, place) in places.iter().enumerate() {
        let clash = Err(Clash { later });
        for &line in &place.kept {
            if fates[line] == Fate::Dropped {
                return clash;
            }
            fates[line] = Fate::Kept;
        }
        for &line in &place.dropped {
            if fates[line] != Fate::Free {
                return clash;
            }
            fates[line] = Fate::Dropped;
        }
        for added in &place.added {
            if gap_owner[added.gap].is_some_and(|owner| owner != later) {
                return clash;
            }
            gap_owner[added.gap] = Some(later);
        }
    }
    Ok(write(view, places, &fates, &gap_owner))
}

fn write(view: &View, places: &[Placement], fates: &[Fate], gap_owner: &[Option<usize>]) -> Vec<u8> {
    let mut lines: Vec<(&[u8], Ending)> = Vec::with_capacity(view.lines.len());
    let mut next_added = vec![0; places.len()];
    for gap in 0..=view.lines.len() {
        if let Some(owner) = gap_owner[gap] {
            let added = &places[owner].added;
            while let Some(line) = added.get(next_added[owner]).filter(|line| line.gap == gap) {
                lines.push((line.text.as_bytes(), line.ending.unwrap_or_else(|| view.text.ending_at(gap))));
                next_added[owner] += 1;
            }
        }
        if let Some(line) = view.text.lines.get(gap).filter(|_| fates[gap] != Fate::Dropped) {
            lines.push((line.bytes, line.ending));
        }
    }
    let newline_at_end = match places.iter().map(|place| place.end).find(|end| *end != EndNewline::Keep) {
        Some(EndNewline::Add) => true,
        Some(EndNewline::Remove) => false,
        _ => view.text.ends_with_newline(),
    };
    let mut content = if view.text.bom { BOM.to_vec() } else { Vec::new() };
    let n_lines = lines.len();
    for (idx, (bytes, ending)) in lines.into_iter().enumerate() {
        let ending = match (idx + 1 == n_lines, ending) {
            (true, _) if !newline_at_end => Ending::None,
            (_, Ending::None) => view.text.usual,
            (_, ending) => ending,
        };
        content.extend_from_slice(bytes);
        content.extend_from_slice(ending.bytes());
    }
    content
}
