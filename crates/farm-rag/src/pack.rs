//! Ranked chunks to snippets that fit: definitions rather than files, and many files rather than much of one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use farm_core::port::{Blobs, Snippet};

use crate::chunk::Chunk;
use crate::extract::source_text;
use crate::lines::Lines;
use crate::rank::{Candidate, Scored};

/// Each further snippet of one file counts this share of the one before. Halving spread 8k tokens too thin: over four
/// histories three quarters brought 2 to 13 of 100 more changed hunks, for the same ranks of files.
const REPEAT: f64 = 0.75;

/// A named file is shown whole up to this share of the budget, and by its best parts up to the same share if it is larger.
const NAMED_SHARE: usize = 2;

/// After so many snippets that did not fit, smaller ones are not looked for: each look reads a file, and in a large tree
/// thousands of chunks match.
const MAX_MISFITS: u32 = 32;

/// What the prompt adds to each snippet besides its path, in bytes.
const HEADER_BYTES: usize = 32;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Best first.
    pub results: Vec<Snippet>,
    /// Matches that did not fit.
    pub dropped: u32,
}

/// What may be returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) snippets: usize,
    pub(crate) tokens: usize,
}

/// Fills `room`: the files of `named` first, then the best of `ranked`.
pub(crate) fn pack(
    candidates: &[Candidate],
    ranked: &[Scored],
    named: &[usize],
    room: Room,
    blobs: &dyn Blobs,
) -> Found {
    let mut packer = Packer { candidates, blobs, room, texts: HashMap::new(), found: Found::default() };
    let top = ranked.first().map_or(1.0, |best| best.score);
    let mut of_file: BTreeMap<usize, Vec<Scored>> = BTreeMap::new();
    for scored in ranked {
        of_file.entry(scored.file).or_default().push(*scored);
    }
    for (place, file) in named.iter().enumerate() {
        // Named files stand above all that was merely found, in the order in which they were named.
        let lift = top * (1.0 + (named.len() - place) as f64);
        let chunks = of_file.remove(file).unwrap_or_default();
        packer.take_named(*file, &chunks, lift);
    }
    packer.take_best(of_file.into_values().collect());
    packer.found
}

struct Packer<'a> {
    candidates: &'a [Candidate],
    blobs: &'a dyn Blobs,
    /// What is left.
    room: Room,
    texts: HashMap<usize, Option<String>>,
    found: Found,
}

impl Packer<'_> {
    /// The whole file if it is small, else its best chunks, or its first where none was found.
    fn take_named(&mut self, file: usize, chunks: &[Scored], lift: f64) {
        let share = self.room.tokens / NAMED_SHARE;
        if let Some(whole) = self.whole(file, lift)
            && tokens(&whole) <= share
            && self.take(whole)
        {
            return;
        }
        let first = [Scored { file, chunk: 0, score: 0.0 }];
        let floor = self.room.tokens - share;
        for scored in if chunks.is_empty() { &first } else { chunks } {
            let snippet = self.snippet(Scored { score: lift + scored.score, ..*scored });
            let taken = snippet.is_some_and(|snippet| {
                self.room.tokens.saturating_sub(tokens(&snippet)) >= floor && self.take(snippet)
            });
            self.found.dropped += u32::from(!taken && !chunks.is_empty());
        }
    }

    fn take_best(&mut self, files: Vec<Vec<Scored>>) {
        let mut misfits = 0;
        let mut queue: BinaryHeap<Next> =
            files.into_iter().filter_map(|chunks| Next::of(chunks, 1.0)).collect();
        while let Some(Next { best, mut rest, factor }) = queue.pop() {
            // With no room left the rest is only counted.
            if self.room.snippets == 0 || self.room.tokens <= HEADER_BYTES / 4 || misfits == MAX_MISFITS {
                self.found.dropped = self.found.dropped.saturating_add(1 + count(rest.len()));
                continue;
            }
            let snippet = self.snippet(Scored { score: best.score * factor, ..best });
            let taken = snippet.is_some_and(|snippet| self.take(snippet));
            self.found.dropped += u32::from(!taken);
            misfits += u32::from(!taken);
            queue.extend(rest.pop().map(|best| Next {
                best,
                rest,
                factor: if taken { factor * REPEAT } else { factor },
            }));
        }
    }

    /// Takes the snippet, if it fits.
    fn take(&mut self, snippet: Snippet) -> bool {
        let cost = tokens(&snippet);
        let fits = cost <= self.room.tokens && self.room.snippets > 0;
        if fits {
            self.room.tokens -= cost;
            self.room.snippets -= 1;
            self.found.results.push(snippet);
        }
        fits
    }

    fn snippet(&mut self, scored: Scored) -> Option<Snippet> {
        let candidate = self.candidates.get(scored.file)?;
        let extract = candidate.extract.as_deref()?;
        let Chunk { start_line, end_line, definition } = *extract.chunks.get(scored.chunk as usize)?;
        let definition = definition.and_then(|index| extract.definitions.get(index as usize));
        let text = Lines::of(self.text(scored.file)?).span(start_line, end_line).to_owned();
        (!text.is_empty()).then(|| Snippet {
            path: candidate.file.path.clone(),
            start_line,
            end_line,
            symbol: definition.map(|definition| definition.qualified()).unwrap_or_default(),
            score: scored.score,
            text,
        })
    }

    fn whole(&mut self, file: usize, score: f64) -> Option<Snippet> {
        let path = self.candidates.get(file)?.file.path.clone();
        let lines = Lines::of(self.text(file)?);
        let end_line = lines.count();
        let text = lines.span(1, end_line).to_owned();
        (end_line > 0).then(|| Snippet { path, start_line: 1, end_line, symbol: String::new(), score, text })
    }

    fn text(&mut self, file: usize) -> Option<&str> {
        let oid = &self.candidates.get(file)?.file.oid;
        let blobs = self.blobs;
        let read = || blobs.read(oid).and_then(|content| source_text(&content).map(|text| text.into_owned()));
        self.texts.entry(file).or_insert_with(read).as_deref()
    }
}

/// About how many tokens a snippet takes in a prompt.
fn tokens(snippet: &Snippet) -> usize {
    (snippet.text.len() + snippet.path.len() + HEADER_BYTES).div_ceil(4)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The next chunk of a file, with those after it.
struct Next {
    best: Scored,
    /// Worst first.
    rest: Vec<Scored>,
    factor: f64,
}

impl Next {
    /// `chunks` stand best first.
    fn of(mut chunks: Vec<Scored>, factor: f64) -> Option<Self> {
        chunks.reverse();
        chunks.pop().map(|best| Self { best, rest: chunks, factor })
    }

    fn worth(&self) -> f64 {
        self.best.score * self.factor
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |next: &Self| (next.best.file, next.best.chunk);
        self.worth().total_cmp(&other.worth()).then_with(|| place(other).cmp(&place(self)))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}
