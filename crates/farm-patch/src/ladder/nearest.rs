//! What is shown to the model when a hunk finds no place: the part of the file that is most like it.

use crate::edit::{Hunk, Kind, Line};
use crate::index::{Budget, View};
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

const MAX_SHOWN: usize = 20;

/// Gives a line with its number, as it is shown in a refusal.
pub(super) fn numbered(view: &View, line: usize) -> String {
    match view.lines.get(line) {
        Some(text) => format!("{} | {text}", line + 1),
        None => format!("{} | (end of the file)", line + 1),
    }
}

/// Gives the lines that a hunk expects, as they are shown in a refusal.
pub(super) fn wanted(hunk: &Hunk) -> Vec<String> {
    hunk.before().take(MAX_SHOWN).map(|line| line.text.clone()).collect()
}

/// Refuses a hunk that has no place, and shows the nearest one.
pub(super) fn no_match(hunk: &Hunk, before: &[&Line], view: &View, budget: &Budget) -> Refusal {
    let refusal =
        Refusal::new(Code::NoMatch, "the lines to be changed are not in the file").expected(wanted(hunk));
    let refusal = match nearest(before, view, budget) {
        Some(start) => {
            let n_shown = before.len().min(MAX_SHOWN);
            refusal.found(
                (start..(start + n_shown).min(view.lines.len())).map(|line| numbered(view, line)).collect(),
            )
        }
        None => refusal,
    };
    if before.iter().any(|line| line.kind != Kind::Add && has_line_number(&line.text)) {
        return refusal.hint("leave out the line numbers that were copied from the listing");
    }
    refusal
}

fn has_line_number(text: &str) -> bool {
    let rest = text.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < text.trim_start().len() && rest.trim_start().starts_with(['|', ':', '\t', '→'])
}

/// Lets every telling line that the file has vote for where the hunk would start.
fn nearest(before: &[&Line], view: &View, budget: &Budget) -> Option<usize> {
    const MANY: usize = 50;
    let mut votes: Vec<usize> = Vec::new();
    for (idx, line) in before.iter().enumerate().filter(|(_, line)| !is_weak(&line.text)) {
        let places = view.lines_like(view.key(&line.text));
        if places.len() <= MANY && budget.spend(places.len()).is_ok() {
            votes.extend(places.iter().filter_map(|at| (*at as usize).checked_sub(idx)));
        }
    }
    votes.sort_unstable();
    votes
        .chunk_by(|a, b| a == b)
        .max_by_key(|votes| votes.len())
        .map(|votes| votes[0])
        .or_else(|| by_words(before, view, budget))
}

/// Looks for the line that shares most words with the first telling line of the hunk.
fn by_words(before: &[&Line], view: &View, budget: &Budget) -> Option<usize> {
    let (idx, line) = before.iter().enumerate().find(|(_, line)| !is_weak(&line.text))?;
    budget.spend(view.lines.len()).ok()?;
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let wanted = words(&line.text);
    let score = |have: &str| {
        let have = words(have);
        2 * wanted.iter().filter(|word| have.contains(word)).count() as i64 - have.len() as i64
    };
    let best = (0..view.lines.len()).max_by_key(|at| (score(&view.lines[*at]), std::cmp::Reverse(*at)))?;
    (score(&view.lines[best]) > 0).then(|| best.saturating_sub(idx))
}

/// Tells whether two lines share half of their text, at the beginning and the end.
pub(super) fn alike(a: &str, b: &str) -> bool {
    let same = |(a, b): &(char, char)| a == b;
    let (n_a, n_b) = (a.chars().count(), b.chars().count());
    let head = a.chars().zip(b.chars()).take_while(same).count();
    let tail = a.chars().rev().zip(b.chars().rev()).take_while(same).count().min(n_a.min(n_b) - head);
    2 * (head + tail) >= n_a.max(n_b)
}
