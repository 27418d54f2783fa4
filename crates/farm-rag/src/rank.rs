//! Which chunks a query is about. A file is scored by BM25F over its path, the names that it defines and its body, plus its
//! best definition, times a prior for its role, plus what the query points at; its chunks share that by their own score.

use std::collections::HashMap;
use std::sync::Arc;

use farm_core::port::TreeFile;

use crate::extract::Extract;
use crate::language::Role;
use crate::query::{Hint, Query};
use crate::token::{Term, terms};

/// Of a long query the terms that tell most.
const MAX_TERMS: usize = 64;

const K1: f64 = 1.2;
const B: f64 = 0.75;
const PATH_WEIGHT: f64 = 5.0;
const NAMES_WEIGHT: f64 = 3.0;
/// A chunk's own names, against its body.
const TITLE_WEIGHT: f64 = 3.0;
const BEST_CHUNK_WEIGHT: f64 = 0.6;
/// What a file is worth that is not what one changes, while the query does not speak of such.
const ASIDE: f64 = 0.3;
const DOCUMENT: f64 = 0.5;
/// A hint is worth this much of the best score that words alone gave.
const HINT_WEIGHT: f64 = 0.8;
/// A name with more definitions points nowhere.
const MAX_DEFINERS: usize = 4;

/// A file that may be ranked.
pub(crate) struct Candidate {
    pub(crate) file: TreeFile,
    /// `None` if it is not source or was not read: then only its path counts.
    pub(crate) extract: Option<Arc<Extract>>,
}

/// A chunk with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    /// Index of the candidate.
    pub(crate) file: usize,
    pub(crate) chunk: u32,
    pub(crate) score: f64,
}

/// Every chunk that the query is about, best first. Equal scores stand in the order of the tree.
pub(crate) fn rank(candidates: &[Candidate], query: &Query) -> Vec<Scored> {
    let statistics = Statistics::of(candidates);
    let hits = Hits::of(candidates, query);
    let selected = hits.telling_terms(query, &statistics);
    let mut files: Vec<FileScore> =
        hits.files.iter().map(|file| hits.score(file, candidates, query, &selected, &statistics)).collect();
    point(&mut files, candidates, query);
    let mut ranked: Vec<Scored> =
        files.iter().flat_map(FileScore::chunks).filter(|s| s.score > 0.0).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then((a.file, a.chunk).cmp(&(b.file, b.chunk))));
    ranked
}

/// Sizes that scores are relative to.
struct Statistics {
    n_files: f64,
    n_chunks: f64,
    path_length: f64,
    names_length: f64,
    body_length: f64,
    chunk_length: f64,
}

impl Statistics {
    fn of(candidates: &[Candidate]) -> Self {
        let extracts = || candidates.iter().filter_map(|candidate| candidate.extract.as_deref());
        let mean = |sum: f64, count: f64| (sum / count.max(1.0)).max(1.0);
        let n_files = candidates.len() as f64;
        let n_chunks: f64 = extracts().map(|extract| extract.chunks.len() as f64).sum();
        let names: f64 = extracts().map(|extract| f64::from(extract.names_length)).sum();
        let body: f64 = extracts().map(|extract| f64::from(extract.body_length)).sum();
        let path: f64 = candidates.iter().map(|candidate| path_length(&candidate.file.path)).sum();
        Self {
            n_files,
            n_chunks,
            path_length: mean(path, n_files),
            names_length: mean(names, n_files),
            body_length: mean(body, n_files),
            chunk_length: mean(body, n_chunks),
        }
    }
}

/// A path's length in folders: exact terms would cost more than they tell.
fn path_length(path: &str) -> f64 {
    1.0 + path.bytes().filter(|byte| *byte == b'/').count() as f64
}

/// Where the query's terms stand.
struct Hits {
    files: Vec<FileHits>,
    /// For each term of the query, in how many files and chunks it stands.
    n_files: Vec<f64>,
    n_chunks: Vec<f64>,
}

struct FileHits {
    file: usize,
    terms: Vec<TermHits>,
}

#[derive(Default)]
struct TermHits {
    term: usize,
    in_path: f64,
    in_names: f64,
    in_body: f64,
    /// Chunk, and how often there, names counted as the title that they are.
    in_chunks: Vec<(u32, f64)>,
}

impl Hits {
    fn of(candidates: &[Candidate], query: &Query) -> Self {
        let term_index: HashMap<Term, usize> =
            query.terms.iter().enumerate().map(|(index, (term, _))| (*term, index)).collect();
        let mut hits = Self {
            files: Vec::new(),
            n_files: vec![0.0; query.terms.len()],
            n_chunks: vec![0.0; query.terms.len()],
        };
        let mut in_path = vec![0.0; query.terms.len()];
        for (file, candidate) in candidates.iter().enumerate() {
            in_path.fill(0.0);
            for index in terms(&candidate.file.path).iter().filter_map(|term| term_index.get(term)) {
                in_path[*index] += 1.0;
            }
            let mut found = Vec::new();
            for (index, (term, _)) in query.terms.iter().enumerate() {
                let mut here = TermHits { term: index, in_path: in_path[index], ..TermHits::default() };
                for posting in candidate.extract.as_deref().map_or(&[][..], |extract| extract.postings(*term))
                {
                    let (body, names) = (f64::from(posting.in_body), f64::from(posting.in_names));
                    here.in_body += body;
                    here.in_names += names;
                    let container = f64::from(posting.in_container);
                    here.in_chunks.push((posting.chunk, body + TITLE_WEIGHT * (names + container)));
                }
                if here.in_path > 0.0 || !here.in_chunks.is_empty() {
                    hits.n_files[index] += 1.0;
                    hits.n_chunks[index] += here.in_chunks.len() as f64;
                    found.push(here);
                }
            }
            if !found.is_empty() {
                hits.files.push(FileHits { file, terms: found });
            }
        }
        hits
    }

    /// For each term of the query its weight in files and in chunks; none if others tell more.
    fn telling_terms(&self, query: &Query, statistics: &Statistics) -> Vec<Option<(f64, f64)>> {
        let rarity = |n: f64, of: f64| (1.0 + (of - n + 0.5).max(0.0) / (n + 0.5)).ln();
        let weights: Vec<(f64, f64)> = (query.terms.iter().zip(self.n_files.iter().zip(&self.n_chunks)))
            .map(|((_, weight), (files, chunks))| {
                (weight * rarity(*files, statistics.n_files), weight * rarity(*chunks, statistics.n_chunks))
            })
            .collect();
        let mut order: Vec<usize> = (0..weights.len()).filter(|index| self.n_files[*index] > 0.0).collect();
        order.sort_by(|a, b| weights[*b].0.total_cmp(&weights[*a].0).then(a.cmp(b)));
        let mut selected = vec![None; weights.len()];
        for index in order.into_iter().take(MAX_TERMS) {
            selected[index] = Some(weights[index]);
        }
        selected
    }

    fn score(
        &self,
        hits: &FileHits,
        candidates: &[Candidate],
        query: &Query,
        selected: &[Option<(f64, f64)>],
        statistics: &Statistics,
    ) -> FileScore {
        let candidate = &candidates[hits.file];
        let extract = candidate.extract.as_deref();
        let relative = |length: f64, mean: f64| 1.0 - B + B * length / mean;
        let path_norm = relative(path_length(&candidate.file.path), statistics.path_length);
        let names_norm =
            relative(extract.map_or(0.0, |e| f64::from(e.names_length)), statistics.names_length);
        let body_norm = relative(extract.map_or(0.0, |e| f64::from(e.body_length)), statistics.body_length);
        let mut score = 0.0;
        let mut chunks: HashMap<u32, f64> = HashMap::new();
        for here in &hits.terms {
            let Some((file_weight, chunk_weight)) = selected[here.term] else { continue };
            let frequency = PATH_WEIGHT * here.in_path / path_norm
                + NAMES_WEIGHT * here.in_names / names_norm
                + here.in_body / body_norm;
            score += file_weight * frequency / (K1 + frequency);
            for (chunk, frequency) in &here.in_chunks {
                let length = extract.and_then(|e| e.chunk_lengths.get(*chunk as usize)).copied().unwrap_or(0);
                let norm = relative(f64::from(length), statistics.chunk_length);
                *chunks.entry(*chunk).or_default() +=
                    chunk_weight * frequency * (K1 + 1.0) / (K1 * norm + frequency);
            }
        }
        let best = chunks.values().copied().fold(0.0, f64::max);
        let prior = prior(&candidate.file.path, extract, query);
        FileScore { file: hits.file, score: prior * (score + BEST_CHUNK_WEIGHT * best), best, chunks }
    }
}

fn prior(path: &str, extract: Option<&Extract>, query: &Query) -> f64 {
    match Role::of(path) {
        _ if extract.is_some_and(|extract| extract.generated) => ASIDE,
        Role::Usage if !query.about_tests => ASIDE,
        Role::Foreign => ASIDE,
        Role::Document if !query.about_documents => DOCUMENT,
        Role::Source | Role::Usage | Role::Document => 1.0,
    }
}

struct FileScore {
    file: usize,
    score: f64,
    /// The best of `chunks`.
    best: f64,
    chunks: HashMap<u32, f64>,
}

impl FileScore {
    /// The best chunk carries the file's score, the others their share of it. A file that is known by its path alone shows
    /// its beginning.
    fn chunks(&self) -> Vec<Scored> {
        let share = |score: f64| if self.best > 0.0 { self.score * score / self.best } else { self.score };
        let scored =
            |(chunk, score): (&u32, &f64)| Scored { file: self.file, chunk: *chunk, score: share(*score) };
        if self.chunks.is_empty() {
            return vec![Scored { file: self.file, chunk: 0, score: self.score }];
        }
        self.chunks.iter().map(scored).collect()
    }
}

/// Adds what the query points at.
fn point(files: &mut Vec<FileScore>, candidates: &[Candidate], query: &Query) {
    let top = files.iter().map(|file| file.score).fold(0.0, f64::max).max(1.0);
    let mut votes: HashMap<usize, (f64, Vec<u32>)> = HashMap::new();
    for place in places(candidates, &query.hints) {
        let (vote, chunks) = votes.entry(place.file).or_default();
        *vote = vote.max(place.vote) + 0.1 * vote.min(place.vote);
        chunks.extend(place.chunk);
    }
    let mut index: HashMap<usize, usize> =
        files.iter().enumerate().map(|(at, file)| (file.file, at)).collect();
    let mut votes: Vec<_> = votes.into_iter().collect();
    votes.sort_by_key(|(file, _)| *file);
    for (file, (vote, chunks)) in votes {
        let at = *index.entry(file).or_insert_with(|| {
            files.push(FileScore { file, score: 0.0, best: 0.0, chunks: HashMap::new() });
            files.len() - 1
        });
        let Some(score) = files.get_mut(at) else { continue };
        score.score += HINT_WEIGHT * top * vote;
        score.best = score.best.max(f64::MIN_POSITIVE);
        for chunk in chunks {
            score.chunks.insert(chunk, score.best);
        }
    }
}

/// Where a hint leads.
struct Place {
    file: usize,
    chunk: Option<u32>,
    vote: f64,
}

fn places(candidates: &[Candidate], hints: &[Hint]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut definers: HashMap<&str, Vec<Place>> = HashMap::new();
    for hint in hints {
        match hint {
            Hint::Symbol(name) => {
                definers.insert(name, Vec::new());
            }
            Hint::Path { path, line } => places.extend(resolve(candidates, path).map(|file| {
                let extract = candidates[file].extract.as_deref();
                let chunk = line.and_then(|line| extract?.chunk_at(line));
                Place { file, chunk, vote: 1.0 }
            })),
        }
    }
    if definers.is_empty() {
        return places;
    }
    for (file, candidate) in candidates.iter().enumerate() {
        let Some(extract) = candidate.extract.as_deref() else { continue };
        for definition in &extract.definitions {
            if let Some(found) =
                definers.get_mut(definition.name.as_str()).filter(|f| f.len() <= MAX_DEFINERS)
            {
                found.push(Place { file, chunk: extract.chunk_at(definition.start_line), vote: 1.0 });
            }
        }
    }
    let mut definers: Vec<_> =
        definers.into_iter().filter(|(_, found)| found.len() <= MAX_DEFINERS).collect();
    definers.sort_by_key(|(name, _)| *name);
    for (_, found) in definers {
        let vote = 1.0 / found.len() as f64;
        places.extend(found.into_iter().map(|place| Place { vote, ..place }));
    }
    places
}

/// The one file whose path ends as `path` does, by as many folders as agree; of several the one that is source.
fn resolve(candidates: &[Candidate], path: &str) -> Option<usize> {
    if let Some(file) = candidates.iter().position(|candidate| candidate.file.path == path) {
        return Some(file);
    }
    let only = |files: &[usize]| if let [file] = files { Some(*file) } else { None };
    let mut end = path;
    loop {
        let matching: Vec<usize> =
            (0..candidates.len()).filter(|file| ends_with(&candidates[*file].file.path, end)).collect();
        if !matching.is_empty() {
            let is_source = |file: &usize| Role::of(&candidates[*file].file.path) == Role::Source;
            let source: Vec<usize> = matching.iter().copied().filter(is_source).collect();
            return only(&matching).or_else(|| only(&source));
        }
        end = end.split_once('/')?.1;
    }
}

fn ends_with(path: &str, end: &str) -> bool {
    !end.is_empty() && path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}
