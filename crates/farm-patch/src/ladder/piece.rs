//! Replaces a piece of text that need not be whole lines, as edit tools with `old_string` and `new_string` mean it.

use super::{Added, Placement, Verdict};
use crate::edit::{EndNewline, Piece};
use crate::index::{Budget, Joined, View};
use crate::patch::Tier;
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

/// Bytes of plain text search that cost as much as one line comparison.
const BYTES_A_COMPARISON: usize = 32;

/// Finds the piece as it is; `None` if the file does not have it or has it as whole lines, which are the ladder's to place.
pub(super) fn place(piece: &Piece, view: &View, budget: &Budget) -> Result<Option<Verdict>, Refusal> {
    if !view.text.utf8 || piece.search.is_empty() {
        return Ok(None);
    }
    let (search, replace) = (piece.search.replace("\r\n", "\n"), piece.replace.replace("\r\n", "\n"));
    let Joined { text, starts } = view.joined();
    budget.spend(text.len() / BYTES_A_COMPARISON)?;

    let found: Vec<usize> =
        overlapping_matches(text, &search).take(if piece.all { usize::MAX } else { 4 }).collect();
    let Some(&first) = found.first() else {
        return Ok(None);
    };
    let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
    let is_whole = |at: usize| {
        let end = at + search.len();
        (at == 0 || text[..at].ends_with('\n')) && (search.ends_with('\n') || text[end..].starts_with('\n'))
    };
    if found.len() == 1 && is_whole(first) {
        return Ok(None);
    }
    if search.ends_with('\n') && !replace.ends_with('\n') && !replace.is_empty() {
        return Err(Refusal::new(
            Code::Ambiguous,
            "the text to be replaced ends with a newline and its replacement does not",
        )
        .hint("end both texts with a newline, or neither"));
    }
    if let Some(at) = found.iter().find(|at| is_applied(text, **at, &search, &replace)) {
        return if found.len() == 1 {
            Ok(Some(Verdict::Already(line_of(*at))))
        } else {
            Err(several(&found, view, line_of, &search))
        };
    }
    if found.len() > 1 && !piece.all {
        return Err(several(&found, view, line_of, &search));
    }
    if let Some(at) = found.iter().find(|at| cuts_a_word(text, **at, &search)) {
        return Err(Refusal::new(Code::Ambiguous, "the text to be replaced is only a part of a word there")
            .expected(search.lines().map(str::to_owned).collect())
            .found(vec![super::nearest::numbered(view, line_of(*at))])
            .hint("give whole lines as the text to be replaced"));
    }
    if found.windows(2).any(|pair| pair[0] + search.len() > pair[1]) {
        return Err(several(&found, view, line_of, &search));
    }
    Ok(Some(Verdict::Placed(joined_by_line(&found, &search, &replace, text, starts, &line_of))))
}

/// Turns the replacements into whole-line placements; those that share a line become one.
fn joined_by_line(
    found: &[usize],
    search: &str,
    replace: &str,
    text: &str,
    starts: &[usize],
    line_of: &dyn Fn(usize) -> usize,
) -> Vec<Placement> {
    let end_of_line = |line: usize| starts.get(line + 1).copied().unwrap_or(text.len());
    let mut places = Vec::new();
    let mut idx = 0;
    while idx < found.len() {
        let first_line = line_of(found[idx]);
        let mut last_line = line_of(found[idx] + search.len() - 1);
        let mut new = text[starts[first_line]..found[idx]].to_owned() + replace;
        let mut at = found[idx] + search.len();
        while let Some(&next) = found.get(idx + 1).filter(|next| line_of(**next) <= last_line) {
            new = new + &text[at..next] + replace;
            at = next + search.len();
            last_line = line_of(at - 1);
            idx += 1;
        }
        new += &text[at..end_of_line(last_line)];
        // A replacement that eats the last newline joins the next line on, as asked.
        if !new.is_empty() && !new.ends_with('\n') && last_line + 1 < starts.len() {
            last_line += 1;
            new += &text[starts[last_line]..end_of_line(last_line)];
        }
        let added = new
            .strip_suffix('\n')
            .unwrap_or(&new)
            .split('\n')
            .filter(|_| !new.is_empty())
            .map(|line| Added { gap: last_line + 1, text: line.to_owned(), ending: None })
            .collect();
        let dropped = (first_line..=last_line).collect();
        places.push(Placement {
            tier: Tier::Exact,
            start: first_line,
            kept: vec![],
            dropped,
            added,
            end: EndNewline::Keep,
        });
        idx += 1;
    }
    places
}

fn overlapping_matches<'t>(text: &'t str, search: &'t str) -> impl Iterator<Item = usize> + 't {
    let step = search.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + text.get(from..)?.find(search)?;
        from = at + step;
        Some(at)
    })
}

/// Tells whether the match is part of the replacement already standing there.
fn is_applied(text: &str, at: usize, search: &str, replace: &str) -> bool {
    search.len() < replace.len()
        && overlapping_matches(replace, search)
            .take(8)
            .any(|inside| at >= inside && text.as_bytes()[at - inside..].starts_with(replace.as_bytes()))
        && !is_weak(replace)
}

fn cuts_a_word(text: &str, at: usize, search: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let end = at + search.len();
    word(text[..at].chars().next_back()) && word(search.chars().next())
        || word(search.chars().next_back()) && word(text[end..].chars().next())
}

fn several(found: &[usize], view: &View, line_of: impl Fn(usize) -> usize, search: &str) -> Refusal {
    Refusal::new(Code::Ambiguous, format!("the text stands in {} places or more", found.len()))
        .expected(search.lines().map(str::to_owned).collect())
        .found(found.iter().take(4).map(|at| super::nearest::numbered(view, line_of(*at))).collect())
}
