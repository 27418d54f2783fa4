//! A file prepared for finding lines in it: every line hashed once by its loose key.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use crate::refusal::{Code, Refusal};
use crate::text::{Text, loose_key, shown};

/// What one reply may still cost, in line comparisons: in proportion to its lines and those of its files, so that no repeats make the
/// search quadratic.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
    /// What may still be granted, whatever is read.
    reserve: Cell<u64>,
}

impl Budget {
    /// Comparisons that every reply may cost, and that every line adds.
    pub(crate) const BASE: u64 = 1_000_000;
    pub(crate) const PER_LINE: u64 = 100;

    /// Gives a reply its base, and never more than `max` in all.
    pub(crate) fn new(max: u64) -> Budget {
        let left = max.min(Self::BASE);
        Budget { left: Cell::new(left), reserve: Cell::new(max - left) }
    }

    /// Adds what so many lines are worth.
    pub(crate) fn grant(&self, n_lines: usize) {
        let more = (n_lines as u64).saturating_mul(Self::PER_LINE).min(self.reserve.get());
        self.reserve.set(self.reserve.get() - more);
        self.left.set(self.left.get() + more);
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes from what is left, and refuses once nothing is.
    pub(crate) fn spend(&self, comparisons: usize) -> Result<(), Refusal> {
        let left = self.left.get().checked_sub(comparisons as u64);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            Refusal::new(Code::TooComplex, "too many places look alike to decide where the edits belong")
        })
    }
}

/// A file's lines with an index over them.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) text: Text<'a>,
    /// The lines as text; foreign bytes are replacement characters, so these are for comparing, not for writing.
    pub(crate) lines: Vec<Cow<'a, str>>,
    ids: HashMap<Vec<u8>, u32>,
    keys: Vec<u32>,
    /// The lines sorted by key, and where each key's lines begin.
    by_key: Vec<u32>,
    starts: Vec<u32>,
    joined: OnceCell<Joined>,
}

/// The lines as one text with plain newlines, and where each begins.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) text: String,
    pub(crate) starts: Vec<usize>,
}

/// A line of a pattern as the file knows it: `None` if no line of the file is like it.
pub(crate) type Key = Option<u32>;

impl<'a> View<'a> {
    pub(crate) fn new(content: &'a [u8]) -> View<'a> {
        let text = Text::split(content);
        let lines: Vec<Cow<str>> = text.lines.iter().map(|line| shown(line.bytes)).collect();
        let mut ids: HashMap<Vec<u8>, u32> = HashMap::with_capacity(lines.len());
        let mut keys = Vec::with_capacity(lines.len());
        let mut starts = vec![0];
        let mut key = Vec::new();
        for line in &lines {
            loose_key(line, &mut key);
            let id = ids.get(&key).copied().unwrap_or_else(|| {
                let id = ids.len() as u32;
                ids.insert(key.clone(), id);
                starts.push(0);
                id
            });
            keys.push(id);
            starts[id as usize + 1] += 1;
        }
        for id in 1..starts.len() {
            starts[id] += starts[id - 1];
        }
        let mut next = starts.clone();
        let mut by_key = vec![0; keys.len()];
        for (idx, id) in keys.iter().enumerate() {
            let slot = &mut next[*id as usize];
            by_key[*slot as usize] = idx as u32;
            *slot += 1;
        }
        View { text, lines, ids, keys, by_key, starts, joined: OnceCell::new() }
    }

    /// Joins the lines for edits that are not of whole lines; done once.
    pub(crate) fn joined(&self) -> &Joined {
        self.joined.get_or_init(|| {
            let mut joined = Joined { text: String::new(), starts: Vec::with_capacity(self.lines.len()) };
            for line in &self.lines {
                joined.starts.push(joined.text.len());
                joined.text.push_str(line);
                joined.text.push('\n');
            }
            joined
        })
    }

    pub(crate) fn key(&self, line: &str) -> Key {
        let mut key = Vec::with_capacity(line.len());
        loose_key(line, &mut key);
        self.ids.get(&key).copied()
    }

    pub(crate) fn keys<'l>(&self, lines: impl Iterator<Item = &'l str>) -> Vec<Key> {
        lines.map(|line| self.key(line)).collect()
    }

    /// Gives the lines with this key, rising.
    pub(crate) fn lines_like(&self, key: Key) -> &[u32] {
        key.map_or(&[], |id| {
            &self.by_key[self.starts[id as usize] as usize..self.starts[id as usize + 1] as usize]
        })
    }

    /// Finds every place where the pattern's keys stand in a row, rising.
    pub(crate) fn candidates(&self, pattern: &[Key], budget: &Budget) -> Result<Vec<usize>, Refusal> {
        if pattern.is_empty() || pattern.len() > self.keys.len() || pattern.contains(&None) {
            return Ok(Vec::new());
        }
        let n_like = |key: &Key| self.lines_like(*key).len();
        let Some((rarest, key)) = pattern.iter().enumerate().min_by_key(|(_, key)| n_like(key)) else {
            return Ok(Vec::new());
        };
        if n_like(key).saturating_mul(pattern.len()) > 2 * (self.keys.len() + pattern.len()) {
            budget.spend(self.keys.len() + pattern.len())?;
            return Ok(occurrences(&self.keys, pattern));
        }
        budget.spend(n_like(key) * pattern.len())?;
        let stands_at = |start: &usize| {
            self.keys
                .get(*start..start + pattern.len())
                .is_some_and(|window| window.iter().zip(pattern).all(|(have, want)| Some(*have) == *want))
        };
        Ok(self
            .lines_like(*key)
            .iter()
            .filter_map(|at| (*at as usize).checked_sub(rarest))
            .filter(stands_at)
            .collect())
    }
}

/// Finds all occurrences in linear time whatever the repeats (Knuth, Morris, Pratt).
fn occurrences(keys: &[u32], pattern: &[Key]) -> Vec<usize> {
    let mut borders = vec![0; pattern.len()];
    let mut matched = 0;
    for idx in 1..pattern.len() {
        while matched > 0 && pattern[idx] != pattern[matched] {
            matched = borders[matched - 1];
        }
        matched += usize::from(pattern[idx] == pattern[matched]);
        borders[idx] = matched;
    }
    let mut found = Vec::new();
    matched = 0;
    for (idx, key) in keys.iter().enumerate() {
        while matched > 0 && (matched == pattern.len() || pattern[matched] != Some(*key)) {
            matched = borders[matched - 1];
        }
        matched += usize::from(pattern[matched] == Some(*key));
        if matched == pattern.len() {
            found.push(idx + 1 - matched);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn candidates_are_all_windows_of_equal_keys(
            file in prop::collection::vec("[ab ]", 0..30),
            pattern in prop::collection::vec("[ab ]", 1..5),
        ) {
            let content = file.iter().map(|line| format!("{line}\n")).collect::<String>();
            let view = View::new(content.as_bytes());
            let pattern_keys = view.keys(pattern.iter().map(String::as_str));
            let naive: Vec<usize> = file
                .windows(pattern.len())
                .enumerate()
                .filter(|(_, window)| window.iter().zip(&pattern).all(|(a, b)| a.trim() == b.trim()))
                .map(|(at, _)| at)
                .collect();
            prop_assert_eq!(view.candidates(&pattern_keys, &Budget::new(1_000_000)).unwrap(), naive.clone());
            if !pattern_keys.contains(&None) {
                prop_assert_eq!(occurrences(&view.keys, &pattern_keys), naive);
            }
        }
    }

    #[test]
    fn repeats_cost_what_the_budget_allows_and_no_more() {
        let content = "a\n".repeat(10_000);
        let view = View::new(content.as_bytes());
        let pattern = vec![view.key("a"); 5_000];
        assert_eq!(view.candidates(&pattern, &Budget::new(20_000)).unwrap().len(), 5_001);
        assert_eq!(view.candidates(&pattern, &Budget::new(10_000)).unwrap_err().code, Code::TooComplex);
    }
}
