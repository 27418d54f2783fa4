//! The search itself, over a tree that somebody else reads. What was extracted from a blob is kept by the blob's id, so that
//! a new commit costs its new blobs only, and every branch shares them.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use farm_core::id::Oid;
use farm_core::port::{Blobs, ContextQuery, Snippet};

use crate::definition::{Kind, Symbol};
use crate::extract::{Extract, Extractor, MAX_SOURCE_BYTES};
use crate::language::{Language, Role};
use crate::lru::Lru;
use crate::pack::{Found, Room, pack};
use crate::query::Query;
use crate::rank::{Candidate, rank};
use crate::token::{Term, terms};
use crate::touched::{Touched, touched};

/// Fewer new blobs are not worth a thread.
const BLOBS_PER_THREAD: usize = 32;

/// A blob may stand under names of different languages.
type Key = (Oid, Language);

/// What an index may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory for what was extracted, in bytes.
    pub cache_bytes: usize,
    /// How long one search may read new blobs; what it did not come to counts by its path alone, and is the next one's.
    pub read_time: Duration,
}

/// Searches trees.
pub struct Index {
    extractor: Box<dyn Extractor>,
    limits: Limits,
    extracts: Mutex<Lru<Key, Arc<Extract>>>,
    /// Whoever has much to read has its turn: searches that begin together mostly lack the same.
    turn: Mutex<()>,
}

/// What an index holds of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Files of the tree.
    pub files: u32,
    /// Definitions in them.
    pub definitions: u32,
}

impl Index {
    /// An empty index.
    pub fn new(extractor: impl Extractor + 'static, limits: Limits) -> Self {
        let extracts = Mutex::new(Lru::new(limits.cache_bytes));
        Self { extractor: Box::new(extractor), limits, extracts, turn: Mutex::new(()) }
    }

    /// The snippets that the query is about, at most `limit` of them (0 means as many as fit its tokens).
    pub fn search(&self, query: &ContextQuery, limit: usize, blobs: &dyn Blobs) -> Found {
        let parsed = match &query.path {
            // A file that is to be made is not there; its folder and its name tell of its neighbours.
            Some(path) if !blobs.files().iter().any(|file| file.path == *path) => {
                Query::of(&format!("{}\n{path}", query.goal))
            }
            _ => Query::of(&query.goal),
        };
        let candidates = self.candidates(blobs, &parsed);
        let ranked = rank(&candidates, &parsed);
        let snippets = if limit == 0 { usize::MAX } else { limit };
        let room = Room { snippets, tokens: query.tokens };
        pack(&candidates, &ranked, &named(&candidates, query), room, blobs)
    }

    /// The definitions of that name (`name` or `container.name`), of any kind if none is given; source before tests.
    pub fn find_symbol(
        &self,
        name: &str,
        kind: Option<Kind>,
        limit: usize,
        blobs: &dyn Blobs,
    ) -> Vec<Symbol> {
        let (container, name) = match name.rsplit_once("::").or_else(|| name.rsplit_once('.')) {
            Some((container, name)) => (Some(container), name),
            None => (None, name),
        };
        let candidates = self.candidates(blobs, &Query::of(name));
        let mut found: Vec<(bool, Symbol)> = Vec::new();
        for candidate in &candidates {
            let definitions = candidate.extract.as_deref().map_or(&[][..], |extract| &extract.definitions);
            let path = &candidate.file.path;
            found.extend(
                definitions
                    .iter()
                    .filter(|d| d.name == name && kind.is_none_or(|kind| d.kind == kind))
                    .filter(|d| container.is_none_or(|container| d.container == container))
                    .map(|d| {
                        (Role::of(path) != Role::Source, Symbol { path: path.clone(), definition: d.clone() })
                    }),
            );
        }
        found.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
        let limit = if limit == 0 { usize::MAX } else { limit };
        found.into_iter().take(limit).map(|(_, symbol)| symbol).collect()
    }

    /// Which definitions a change of one file touches; an empty side is a file that is not there.
    pub fn touched_symbols(&self, path: &str, before: &[u8], after: &[u8]) -> Touched {
        touched(self.extractor.as_ref(), path, before, after)
    }

    /// Extracts what is new in a tree, and counts.
    pub fn warm(&self, blobs: &dyn Blobs) -> Size {
        let candidates = self.candidates(blobs, &Query::default());
        let extracts = candidates.iter().filter_map(|candidate| candidate.extract.as_deref());
        let definitions: usize = extracts.map(|extract| extract.definitions.len()).sum();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Size { files: count(candidates.len()), definitions: count(definitions) }
    }

    /// The tree's files with what is in them: known extracts from the cache, new ones read, the likely ones first.
    fn candidates(&self, blobs: &dyn Blobs, query: &Query) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> =
            blobs.files().into_iter().map(|file| Candidate { file, extract: None }).collect();
        let deadline = Instant::now().checked_add(self.limits.read_time);
        let since = self.extracts().now();
        let mut wanted = self.fill_from_cache(&mut candidates);
        let much = wanted.len() > BLOBS_PER_THREAD;
        let _turn = much.then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        if much {
            wanted = self.fill_from_cache(&mut candidates);
            likely_first(&mut wanted, &candidates, query);
        }
        let extracted = extract_all(self.extractor.as_ref(), &wanted, deadline, blobs);
        let mut cache = self.extracts();
        for (wanted, extract) in wanted.into_iter().zip(extracted) {
            let Some(extract) = extract else { continue };
            for file in wanted.files {
                candidates[file].extract = Some(Arc::clone(&extract));
            }
            let bytes = extract.bytes();
            cache.insert_beside(since, wanted.key, extract, bytes);
        }
        drop(cache);
        candidates
    }

    fn fill_from_cache(&self, candidates: &mut [Candidate]) -> Vec<Wanted> {
        let mut missing: BTreeMap<Key, Wanted> = BTreeMap::new();
        let mut cache = self.extracts();
        for (index, candidate) in candidates.iter_mut().enumerate() {
            let key = (candidate.file.oid.clone(), Language::of(&candidate.file.path));
            candidate.extract = cache.get(&key);
            if candidate.extract.is_none() && candidate.file.size <= MAX_SOURCE_BYTES as u64 {
                missing
                    .entry(key.clone())
                    .or_insert_with(|| Wanted { key, files: Vec::new() })
                    .files
                    .push(index);
            }
        }
        missing.into_values().collect()
    }

    fn extracts(&self) -> MutexGuard<'_, Lru<Key, Arc<Extract>>> {
        // A panic under the lock leaves at worst a wrong count of bytes.
        self.extracts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A blob that is not in the cache.
struct Wanted {
    key: Key,
    /// The candidates that it stands under.
    files: Vec<usize>,
}

/// Files whose path the query speaks of, then source, then the rest.
fn likely_first(wanted: &mut [Wanted], candidates: &[Candidate], query: &Query) {
    let asked: HashSet<Term> = query.terms.iter().map(|(term, _)| *term).collect();
    wanted.sort_by_cached_key(|wanted| {
        let file = wanted.files.iter().min().copied().unwrap_or_default();
        let path = &candidates[file].file.path;
        let is_asked = terms(path).iter().any(|term| asked.contains(term));
        (!is_asked, Role::of(path) != Role::Source, file)
    });
}

/// Reads and extracts on as many threads as the machine has, until the deadline; the answers stand in the order of `wanted`.
fn extract_all(
    extractor: &dyn Extractor,
    wanted: &[Wanted],
    deadline: Option<Instant>,
    blobs: &dyn Blobs,
) -> Vec<Option<Arc<Extract>>> {
    let extract = |wanted: &Wanted| {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        let (oid, language) = &wanted.key;
        blobs.read(oid).map(|content| Arc::new(Extract::of(extractor, *language, &content)))
    };
    let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    if n_threads == 1 || wanted.len() <= BLOBS_PER_THREAD {
        return wanted.iter().map(extract).collect();
    }
    let slots: Vec<OnceLock<Option<Arc<Extract>>>> = wanted.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(wanted), Some(slot)) = (wanted.get(index), slots.get(index)) else { break };
                    slot.get_or_init(|| extract(wanted));
                }
            });
        }
    });
    slots.into_iter().map(|slot| slot.into_inner().flatten()).collect()
}

/// The blobs that the query must have, whole, as far as half of its tokens reach: for who asks a service that takes none.
pub(crate) fn demanded(query: &ContextQuery, blobs: &dyn Blobs) -> Vec<Snippet> {
    if query.blob_ids.is_empty() {
        return Vec::new();
    }
    let candidates: Vec<Candidate> =
        blobs.files().into_iter().map(|file| Candidate { file, extract: None }).collect();
    let named = named(&candidates, &ContextQuery { path: None, ..query.clone() });
    let room = Room { snippets: usize::MAX, tokens: query.tokens / 2 };
    pack(&candidates, &[], &named, room, blobs).results
}

/// The files that the query names: its path, then the blobs that it must have.
fn named(candidates: &[Candidate], query: &ContextQuery) -> Vec<usize> {
    let path = candidates.iter().position(|candidate| Some(&candidate.file.path) == query.path.as_ref());
    let of_blob = |id: &String| candidates.iter().position(|candidate| candidate.file.oid.as_str() == id);
    let mut named = Vec::new();
    for file in path.into_iter().chain(query.blob_ids.iter().filter_map(of_blob)) {
        if !named.contains(&file) {
            named.push(file);
        }
    }
    named
}
