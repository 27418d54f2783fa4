//! The rung for elided context: a context line of dots stands for unchanged lines of the file.

use super::applied::Afterimages;
use super::{Placement, place_exactly};
use crate::edit::{EndNewline, Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

/// Places the parts between the dots, each in its only place, all in order; `None` if the hunk has no such line.
pub(super) fn places(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Option<Vec<Placement>>, Refusal> {
    let parts: Vec<&[Line]> = hunk.lines.split(stands_for_more).collect();
    let lost = hunk
        .lines
        .iter()
        .any(|line| line.kind != Kind::Keep && stands_for_more(&Line { kind: Kind::Keep, ..line.clone() }));
    if parts.len() < 2 || lost {
        return Ok(None);
    }
    let mut places: Vec<Placement> = Vec::new();
    let mut after = 0;
    for lines in parts.into_iter().filter(|lines| !lines.is_empty()) {
        let part = Hunk {
            number: hunk.number,
            lines: lines.to_vec(),
            anchors: hunk.anchors.clone(),
            ..Hunk::default()
        };
        if !part.before().any(|line| !is_weak(&line.text)) {
            return Ok(None);
        }
        let Some(mut place) = place_exactly(&part, view, budget)? else {
            return Ok(None);
        };
        Afterimages::find(&part, view, Tier::TrailingSpace, budget)?.settle_alike(&part, view, &place)?;
        if place.start < after {
            return Err(Refusal::new(
                Code::Ambiguous,
                "the parts of the edit stand in another order in the file",
            ));
        }
        after = place.start + part.before().count();
        (place.tier, place.end) = (Tier::Elided, EndNewline::Keep);
        places.push(place);
    }
    Ok((!places.is_empty()).then_some(places))
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
