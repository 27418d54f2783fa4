//! What the readers of all formats make of a reply: file edits made of hunks, before any file is looked at.

use crate::source::Mode;
use crate::text::is_weak;

/// One section of a reply about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEdit {
    pub(crate) path: PathName,
    /// The old path of a rename or copy.
    pub(crate) from: Option<String>,
    pub(crate) ask: Ask,
    /// The mode that the section asks for, if it names one.
    pub(crate) mode: Option<Mode>,
}

/// How a section names its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathName {
    Named(String),
    /// Two spellings of which at most one can exist, such as `a/x.rs` and `x.rs`; the base decides.
    Either(String, String),
    /// The section names none, so the task's path holds.
    Unnamed,
}

/// What a section asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Change the file at these places.
    Edit(Vec<Hunk>),
    /// Make the file, which must not be there.
    Create(NewText),
    /// Make or replace the file.
    Write(NewText),
    /// Remove the file, whose lines are as stated if they are.
    Delete(Vec<Hunk>),
    /// Give the file a new path, and change it.
    Rename(Vec<Hunk>),
    /// Put a changed copy at a new path.
    Copy(Vec<Hunk>),
}

impl Ask {
    pub(crate) fn hunks(&self) -> &[Hunk] {
        match self {
            Ask::Edit(hunks) | Ask::Delete(hunks) | Ask::Rename(hunks) | Ask::Copy(hunks) => hunks,
            Ask::Create(_) | Ask::Write(_) => &[],
        }
    }

    pub(crate) fn hunks_mut(&mut self) -> &mut [Hunk] {
        match self {
            Ask::Edit(hunks) | Ask::Delete(hunks) | Ask::Rename(hunks) | Ask::Copy(hunks) => hunks,
            Ask::Create(_) | Ask::Write(_) => &mut [],
        }
    }
}

/// A whole content as the reply has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewText {
    pub(crate) text: String,
    /// Whether the format can say that the last line has no newline; if not, the file's own ending is kept.
    pub(crate) exact_end: bool,
}

/// Lines to be found in a file and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hunk {
    /// Counted from 1 within the file.
    pub(crate) number: usize,
    pub(crate) lines: Vec<Line>,
    /// The first line of the place as the reply states it, counted from 0.
    pub(crate) stated: Option<usize>,
    pub(crate) counts_wrong: bool,
    /// The reply ends with the hunk, whose header promises more lines.
    pub(crate) may_be_cut: bool,
    /// Typographic punctuation that the file does not have was written plainly.
    pub(crate) straightened: bool,
    /// The reply says twice which lines are context: by right counts, or by writing them on both sides of a replacement.
    pub(crate) sure_context: bool,
    /// How many new lines have lost their `+`, if that is what is wrong with the counts.
    pub(crate) n_hidden_new: usize,
    /// Lines that stand above the place, outermost first (`@@ class A`).
    pub(crate) anchors: Vec<String>,
    /// The last line of the hunk is the last of the file.
    pub(crate) at_end: bool,
    pub(crate) end: EndNewline,
    /// The same edit as plain text, where the format means a piece of text and not lines.
    pub(crate) piece: Option<Piece>,
}

/// What a hunk says about the newline at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EndNewline {
    #[default]
    Keep,
    Add,
    Remove,
}

/// A text and its replacement, which need not be whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) search: String,
    pub(crate) replace: String,
    pub(crate) all: bool,
}

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// The line ended in a carriage return that is not the transport's.
    pub(crate) cr: bool,
    /// The line had no marker at all and is taken as context.
    pub(crate) bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Keep,
    Drop,
    Add,
}

impl Line {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Line {
        let mut text = text.into();
        let cr = text.ends_with('\r');
        if cr {
            text.pop();
        }
        Line { kind, text, cr, bare: false }
    }
}

impl Hunk {
    /// Iterates over the lines that the file has before the edit.
    pub(crate) fn before(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter().filter(|line| line.kind != Kind::Add)
    }

    /// Iterates over the lines that the file has after the edit.
    pub(crate) fn after(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter().filter(|line| line.kind != Kind::Drop)
    }

    /// Gives by how many lines the hunk makes the file longer.
    pub(crate) fn growth(&self) -> i64 {
        self.after().count() as i64 - self.before().count() as i64
    }

    /// Tells whether the hunk changes anything, by its own words.
    pub(crate) fn changes(&self) -> bool {
        self.end != EndNewline::Keep
            || !self
                .before()
                .map(|line| (&line.text, line.cr))
                .eq(self.after().map(|line| (&line.text, line.cr)))
    }

    /// Tells whether the lines of the file that the hunk names say nothing of their place.
    pub(crate) fn is_blind(&self) -> bool {
        self.before().all(|line| is_weak(&line.text))
    }

    /// Tells whether the hunk changes more than blank lines and brackets.
    pub(crate) fn is_telling(&self) -> bool {
        self.lines.iter().any(|line| line.kind != Kind::Keep && !is_weak(&line.text))
    }

    /// Tells whether two hunks differ in nothing but their number, or in that only one of them states its line.
    pub(crate) fn says_the_same(&self, other: &Hunk) -> bool {
        (self.stated == other.stated || self.stated.is_none() || other.stated.is_none())
            && (&self.lines, &self.anchors, &self.piece, self.at_end)
                == (&other.lines, &other.anchors, &other.piece, other.at_end)
    }

    /// Makes a hunk of a search text and its replacement: common lines become context.
    pub(crate) fn replace(number: usize, search: &[&str], replace: &[&str]) -> Hunk {
        let mut lines = Vec::with_capacity(search.len() + replace.len());
        let (mut old, mut new) = (0, 0);
        for (in_old, in_new) in common_lines(search, replace) {
            lines.extend(search[old..in_old].iter().map(|text| Line::new(Kind::Drop, *text)));
            lines.extend(replace[new..in_new].iter().map(|text| Line::new(Kind::Add, *text)));
            lines.push(Line::new(Kind::Keep, search[in_old]));
            (old, new) = (in_old + 1, in_new + 1);
        }
        lines.extend(search[old..].iter().map(|text| Line::new(Kind::Drop, *text)));
        lines.extend(replace[new..].iter().map(|text| Line::new(Kind::Add, *text)));
        Hunk { number, lines, sure_context: true, ..Hunk::default() }
    }
}

/// Pairs equal lines of two texts in order: common ends, then lines that are unique in both (patience), in near-linear time.
fn common_lines(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|idx| (idx, idx)).collect();

    let (mut old_next, mut new_next) = (head, head);
    for (in_old, in_new) in rising(unique_pairs(old, new, head, old_end, new_end)) {
        if in_old < old_next || in_new < new_next {
            continue;
        }
        // Grow the anchor in both directions over equal neighbours.
        let (mut first_old, mut first_new) = (in_old, in_new);
        while first_old > old_next && first_new > new_next && old[first_old - 1] == new[first_new - 1] {
            (first_old, first_new) = (first_old - 1, first_new - 1);
        }
        while first_old < old_end && first_new < new_end && old[first_old] == new[first_new] {
            pairs.push((first_old, first_new));
            (first_old, first_new) = (first_old + 1, first_new + 1);
        }
        (old_next, new_next) = (first_old, first_new);
    }
    pairs.extend((0..tail).map(|idx| (old_end + idx, new_end + idx)));
    pairs
}

fn unique_pairs(
    old: &[&str],
    new: &[&str],
    from: usize,
    old_end: usize,
    new_end: usize,
) -> Vec<(usize, usize)> {
    use std::collections::HashMap;
    let mut seen: HashMap<&str, (usize, usize, usize, usize)> = HashMap::new();
    for (idx, text) in old.iter().enumerate().take(old_end).skip(from) {
        let entry = seen.entry(text).or_default();
        (entry.0, entry.1) = (entry.0 + 1, idx);
    }
    for (idx, text) in new.iter().enumerate().take(new_end).skip(from) {
        let entry = seen.entry(text).or_default();
        (entry.2, entry.3) = (entry.2 + 1, idx);
    }
    let mut pairs: Vec<(usize, usize)> = seen
        .into_values()
        .filter(|(n_old, _, n_new, _)| (*n_old, *n_new) == (1, 1))
        .map(|(_, in_old, _, in_new)| (in_old, in_new))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Gives a longest subsequence whose second parts rise too.
fn rising(pairs: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = vec![None; pairs.len()];
    for (idx, pair) in pairs.iter().enumerate() {
        let at = ends.partition_point(|&end| pairs[end].1 < pair.1);
        previous[idx] = at.checked_sub(1).map(|before| ends[before]);
        if at == ends.len() {
            ends.push(idx);
        } else {
            ends[at] = idx;
        }
    }
    let mut chain = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(idx) = next {
        chain.push(pairs[idx]);
        next = previous[idx];
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(hunk: &Hunk) -> String {
        let mark = |kind| match kind {
            Kind::Keep => ' ',
            Kind::Drop => '-',
            Kind::Add => '+',
        };
        hunk.lines.iter().map(|line| format!("{}{}|", mark(line.kind), line.text)).collect()
    }

    #[test]
    fn common_lines_become_context() {
        let hunk = Hunk::replace(1, &["a", "b", "c", "d"], &["a", "x", "c", "y", "d"]);
        assert_eq!(shape(&hunk), " a|-b|+x| c|+y| d|");
    }

    proptest! {
        #[test]
        fn a_replacement_reads_back_as_both_sides(
            old in prop::collection::vec("[a-d]", 0..12),
            new in prop::collection::vec("[a-d]", 0..12),
        ) {
            let old: Vec<&str> = old.iter().map(String::as_str).collect();
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let hunk = Hunk::replace(1, &old, &new);
            prop_assert_eq!(hunk.before().map(|line| line.text.as_str()).collect::<Vec<_>>(), old);
            prop_assert_eq!(hunk.after().map(|line| line.text.as_str()).collect::<Vec<_>>(), new);
        }
    }
}
