//! Compares a hunk with a window of the file under one rung, and writes what the rung learned into the new lines.

use std::borrow::Cow;

use super::{Added, Placement, typography};
use crate::edit::{Hunk, Kind, Line};
use crate::index::View;
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::{Ending, plain, split_indent};

/// How a window differs from the lines of the hunk, uniformly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    Same,
    /// The file indents with tabs where the reply has this many spaces.
    ToTabs(usize),
    /// The file indents with this many spaces where the reply has a tab.
    ToSpaces(usize),
    /// The file has this indentation in front of the reply's.
    Deeper(String),
    /// The reply has this indentation in front of the file's.
    Shallower(String),
    Typographic,
}

/// Where a line of the hunk's before side stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    At(usize),
    /// It is no line of the file but a new one, written as context by mistake.
    New,
    /// It takes no part.
    Aside,
}

/// Tells whether all lines fit the window under the rung of this tier, and how.
pub(super) fn fit(before: &[&Line], window: &[Cow<str>], tier: Tier) -> Option<Fit> {
    let all =
        |same: &dyn Fn(&Line, &str) -> bool| before.iter().zip(window).all(|(line, have)| same(line, have));
    match tier {
        Tier::Exact => all(&|line, have| line.text == have).then_some(Fit::Same),
        Tier::TrailingSpace => {
            all(&|line, have| line.text.trim_end() == have.trim_end()).then_some(Fit::Same)
        }
        Tier::LostSpace => all(&|line, have| {
            let lost = || have.strip_prefix(' ').is_some_and(|rest| rest.trim_end() == line.text.trim_end());
            line.text.trim_end() == have.trim_end() || line.kind == Kind::Keep && lost()
        })
        .then_some(Fit::Same),
        Tier::Tabs => exchanged_tabs(before, window),
        Tier::Indent => shifted(before, window),
        Tier::Punctuation => all(&|line, have| plain(&line.text).trim_end() == plain(have).trim_end())
            .then_some(Fit::Typographic),
        _ => None,
    }
}

/// Tells whether lines that have one space less than the file have lost their mark, and not a part of their indentation like the new lines.
pub(super) fn lost_marks(hunk: &Hunk, window: &[Cow<str>]) -> bool {
    let says_no_marks = hunk.sure_context && hunk.stated.is_none();
    let is_blank = |text: &str| text.trim().is_empty();
    let pairs = || hunk.before().zip(window).filter(|(_, have)| !is_blank(have));
    if pairs().any(|(line, have)| line.bare || line.text.trim_end() == have.trim_end()) {
        return true;
    }
    let depths: Vec<usize> = pairs().map(|(_, have)| split_indent(have).0.len()).collect();
    let new = hunk.lines.iter().filter(|line| line.kind == Kind::Add && !is_blank(&line.text));
    let new: Vec<usize> = new.map(|line| split_indent(&line.text).0.len()).collect();
    let as_deep = new.iter().any(|depth| depths.contains(depth));
    let one_less = new.iter().any(|depth| depths.contains(&(depth + 1)));
    !says_no_marks && (as_deep || !one_less)
}

/// Pairs the indentations of lines that are not blank; `None` if the rest of a pair differs.
fn indents<'l>(before: &'l [&Line], window: &'l [Cow<str>]) -> Option<Vec<(&'l str, &'l str)>> {
    let mut pairs = Vec::new();
    for (line, have) in before.iter().zip(window) {
        let ((want_indent, want), (have_indent, have)) = (split_indent(&line.text), split_indent(have));
        if want.trim_end() != have.trim_end() {
            return None;
        }
        if !have.trim_end().is_empty() {
            pairs.push((want_indent, have_indent));
        }
    }
    Some(pairs)
}

fn exchanged_tabs(before: &[&Line], window: &[Cow<str>]) -> Option<Fit> {
    let pairs: Vec<_> = indents(before, window)?.into_iter().filter(|pair| *pair != ("", "")).collect();
    let n_tabs = |indent: &str| indent.bytes().filter(|byte| *byte == b'\t').count();
    let to_tabs = pairs.iter().all(|(want, have)| n_tabs(have) > n_tabs(want));
    let to_spaces = pairs.iter().all(|(want, have)| n_tabs(want) > n_tabs(have));
    let columns = |indent: &str, width: usize| indent.len() + n_tabs(indent) * (width - 1);
    let width = (1..=8)
        .find(|width| pairs.iter().all(|(want, have)| columns(want, *width) == columns(have, *width)))?;
    match (pairs.is_empty(), to_tabs, to_spaces) {
        (false, true, _) => Some(Fit::ToTabs(width)),
        (false, _, true) => Some(Fit::ToSpaces(width)),
        _ => None,
    }
}

fn shifted(before: &[&Line], window: &[Cow<str>]) -> Option<Fit> {
    let pairs = indents(before, window)?;
    let (want, have) = pairs.first()?;
    let fit = match (have.strip_suffix(want), want.strip_suffix(have)) {
        (Some(shift), _) if !shift.is_empty() => Fit::Deeper(shift.to_owned()),
        (_, Some(shift)) if !shift.is_empty() => Fit::Shallower(shift.to_owned()),
        _ => return None,
    };
    let uniform = pairs.iter().all(|(want, have)| match &fit {
        Fit::Deeper(shift) => have.strip_prefix(shift.as_str()) == Some(want),
        Fit::Shallower(shift) => want.strip_prefix(shift.as_str()) == Some(have),
        _ => false,
    });
    uniform.then_some(fit)
}

/// Makes the placement of a contiguous match, with the new lines in the file's own manner, or says why that cannot be.
pub(super) fn checked(
    hunk: &Hunk,
    before: &[&Line],
    view: &View,
    start: usize,
    tier: Tier,
    fit: &Fit,
) -> Result<Placement, Refusal> {
    let spots: Vec<Spot> = (start..start + before.len()).map(Spot::At).collect();
    if matches!(fit, Fit::Deeper(_) | Fit::Shallower(_)) {
        provable_shift(hunk, before, fit)?;
    }
    let mut place = build(hunk, &spots, tier);
    if *fit == Fit::Typographic {
        typography::restore(hunk, view, start, &mut place)?;
    } else {
        for added in &mut place.added {
            added.text = rewritten(&added.text, fit).ok_or_else(|| {
                Refusal::new(
                    Code::NoMatch,
                    "the edit is indented more deeply than the file, but not all of its new lines are",
                )
                .hint("copy the indentation of the file exactly, in old and new lines")
            })?;
        }
    }
    if tier == Tier::Exact {
        insist_on_endings(hunk, before, view, start, &mut place);
    }
    Ok(place)
}

/// Refuses a shift that rests on one line while the new lines may already have the file's indentation.
fn provable_shift(hunk: &Hunk, before: &[&Line], fit: &Fit) -> Result<(), Refusal> {
    let Fit::Deeper(shift) = fit else { return Ok(()) };
    let n_proofs = before.iter().filter(|line| !line.text.trim().is_empty()).count();
    let in_place = |line: &Line| line.kind == Kind::Add && line.text.starts_with(shift.as_str());
    if n_proofs < 2 && hunk.lines.iter().any(in_place) {
        return Err(Refusal::new(
            Code::Ambiguous,
            "the old line has lost its indentation, and the new lines may have theirs or not",
        )
        .hint("copy the indentation of the file exactly, in old and new lines"));
    }
    Ok(())
}

fn rewritten(text: &str, fit: &Fit) -> Option<String> {
    let (indent, rest) = split_indent(text);
    if rest.trim_end().is_empty() {
        return Some(text.to_owned());
    }
    let n_tabs = indent.bytes().filter(|byte| *byte == b'\t').count();
    Some(match fit {
        Fit::Same | Fit::Typographic => text.to_owned(),
        Fit::ToTabs(width) => {
            let columns = indent.len() + n_tabs * (width - 1);
            format!("{}{}{rest}", "\t".repeat(columns / width), " ".repeat(columns % width))
        }
        Fit::ToSpaces(width) => format!("{}{rest}", " ".repeat(indent.len() + n_tabs * (width - 1))),
        Fit::Deeper(shift) => format!("{shift}{text}"),
        Fit::Shallower(shift) => text.strip_prefix(shift.as_str())?.to_owned(),
    })
}

/// Keeps the carriage returns of a reply that shows the file's own, so that a change of line endings is a change.
fn insist_on_endings(hunk: &Hunk, before: &[&Line], view: &View, start: usize, place: &mut Placement) {
    let endings = view.text.lines[start..start + before.len()].iter().map(|line| line.ending);
    let faithful = before.iter().zip(endings).all(|(line, ending)| line.cr == (ending == Ending::CrLf));
    if !faithful || before.is_empty() {
        return;
    }
    let new_lines = hunk.lines.iter().filter(|line| line.kind == Kind::Add);
    for (added, line) in place.added.iter_mut().zip(new_lines) {
        added.ending = Some(if line.cr { Ending::CrLf } else { Ending::Lf });
    }
}

/// Joins a hunk with the places of its lines. New lines stand where their run of changes stands.
pub(super) fn build(hunk: &Hunk, spots: &[Spot], tier: Tier) -> Placement {
    let first =
        spots.iter().find_map(|spot| if let Spot::At(at) = spot { Some(*at) } else { None }).unwrap_or(0);
    let mut place =
        Placement { tier, start: first, kept: vec![], dropped: vec![], added: vec![], end: hunk.end };
    let mut gap = first;
    let mut next_spot = 0;
    for (idx, line) in hunk.lines.iter().enumerate() {
        if line.kind == Kind::Add {
            place.added.push(Added { gap, text: line.text.clone(), ending: None });
            continue;
        }
        let spot = spots.get(next_spot).copied().unwrap_or(Spot::Aside);
        next_spot += 1;
        match spot {
            Spot::At(at) => {
                gap = at + 1;
                match line.kind {
                    Kind::Drop => place.dropped.push(at),
                    _ => place.kept.push(at),
                }
                // New lines before a dropped one belong to it, past lines that the hunk skipped.
                if line.kind == Kind::Drop {
                    let run =
                        hunk.lines[..idx].iter().rev().take_while(|above| above.kind == Kind::Add).count();
                    let above_drops = idx > run && hunk.lines[idx - run - 1].kind == Kind::Drop;
                    let n_added = place.added.len();
                    if !above_drops {
                        place.added[n_added - run..].iter_mut().for_each(|added| added.gap = at);
                    }
                }
            }
            Spot::New => place.added.push(Added { gap, text: line.text.clone(), ending: None }),
            Spot::Aside => {}
        }
    }
    place
}

/// Gives the hunk as a layout understands it: without the lines set aside, and with new lines marked as such.
pub(super) fn resolved(hunk: &Hunk, spots: &[Spot]) -> Hunk {
    let mut spots = spots.iter();
    let understood = |line: &Line| {
        if line.kind == Kind::Add {
            return Some(line.clone());
        }
        match spots.next() {
            Some(Spot::At(_)) => Some(line.clone()),
            Some(Spot::New) => Some(Line { kind: Kind::Add, ..line.clone() }),
            Some(Spot::Aside) | None => None,
        }
    };
    Hunk { lines: hunk.lines.iter().filter_map(understood).collect(), ..hunk.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_fit(before: &[&str], window: &[&str], tier: Tier) -> Option<Fit> {
        let lines: Vec<Line> = before.iter().map(|text| Line::new(Kind::Keep, *text)).collect();
        let window: Vec<Cow<str>> = window.iter().map(|text| Cow::Borrowed(*text)).collect();
        fit(&lines.iter().collect::<Vec<_>>(), &window, tier)
    }

    #[test]
    fn tabs_need_one_width_for_all_lines() {
        assert_eq!(
            try_fit(&["    a", "        b", "c"], &["\ta", "\t\tb", "c"], Tier::Tabs),
            Some(Fit::ToTabs(4))
        );
        assert_eq!(try_fit(&["\ta", "\t\tb"], &["  a", "    b"], Tier::Tabs), Some(Fit::ToSpaces(2)));
        assert_eq!(try_fit(&["  a", "        b"], &["\ta", "\t\tb"], Tier::Tabs), None);
        assert_eq!(try_fit(&["    a", "\tb"], &["\ta", "\tb"], Tier::Tabs), None);
        assert_eq!(try_fit(&["a"], &["a"], Tier::Tabs), None);
    }

    #[test]
    fn a_shift_is_uniform() {
        assert_eq!(
            try_fit(&["a", "", "  b"], &["    a", "", "      b"], Tier::Indent),
            Some(Fit::Deeper("    ".into()))
        );
        assert_eq!(
            try_fit(&["  a", "    b"], &["a", "  b"], Tier::Indent),
            Some(Fit::Shallower("  ".into()))
        );
        assert_eq!(try_fit(&["a", "  b"], &["  a", "  b"], Tier::Indent), None);
        assert_eq!(rewritten("a", &Fit::Shallower("  ".into())), None);
        assert_eq!(rewritten("      x", &Fit::ToTabs(4)).as_deref(), Some("\t  x"));
    }

    #[test]
    fn lost_space_is_for_context_only() {
        assert!(try_fit(&["  a"], &["   a"], Tier::LostSpace).is_some());
        let drop = Line::new(Kind::Drop, "  a");
        assert_eq!(fit(&[&drop], &[Cow::Borrowed("   a")], Tier::LostSpace), None);
    }
}
