//! What a blob is made of: its definitions, its chunks, and which terms stand where. Depends on the blob's bytes, its
//! language and the extractor alone, so that it is computed once a blob.

use crate::chunk::{self, Chunk};
use crate::definition::Definition;
use crate::language::Language;
use crate::lines::Lines;
use crate::token::{Term, terms};

pub mod heuristic;
pub mod tree_sitter;

/// Larger files are not source.
pub const MAX_SOURCE_BYTES: usize = 1 << 20;

/// Finds definitions. The heuristic one is pure Rust; the tree-sitter one runs C code over the text, and so never in a
/// process that holds credentials (I6).
pub trait Extractor: Send + Sync {
    /// The definitions of a text, in any order.
    fn definitions(&self, language: Language, text: &str) -> Definitions;
}

/// What an extractor found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definitions {
    /// In any order.
    pub list: Vec<Definition>,
    /// Whether the whole text was understood, so that a line outside all definitions is in none.
    pub exact: bool,
}

/// A term's counts in one chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting {
    term: Term,
    pub(crate) chunk: u32,
    pub(crate) in_body: u16,
    /// In names that are defined here.
    pub(crate) in_names: u8,
    /// In the name of the container around it.
    pub(crate) in_container: u8,
}

/// A blob, ready to be ranked.
#[derive(Debug, Default)]
pub(crate) struct Extract {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) chunks: Vec<Chunk>,
    /// Terms in the body and in names, per chunk and in all.
    pub(crate) chunk_lengths: Vec<u32>,
    pub(crate) body_length: u32,
    pub(crate) names_length: u32,
    /// Written by a program, or squeezed by one.
    pub(crate) generated: bool,
    /// Sorted by term, then chunk.
    postings: Vec<Posting>,
}

impl Extract {
    pub(crate) fn of(extractor: &dyn Extractor, language: Language, content: &[u8]) -> Self {
        let Some(text) = source_text(content) else { return Self::default() };
        let lines = Lines::of(&text);
        let generated = is_generated(&text, lines.count());
        let found = if generated { Vec::new() } else { extractor.definitions(language, &text).list };
        let definitions = chunk::nest(found, lines.count());
        let chunks = chunk::chunks(&definitions, &lines);
        let mut extract = Self { definitions, chunks, generated, ..Self::default() };
        extract.count(&lines);
        extract
    }

    fn count(&mut self, lines: &Lines<'_>) {
        let mut seen: Vec<(Term, u32, Field)> = Vec::new();
        for (index, chunk) in (0_u32..).zip(&self.chunks) {
            let body = terms(lines.span(chunk.start_line, chunk.end_line));
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            self.chunk_lengths.push(length);
            self.body_length = self.body_length.saturating_add(length);
            seen.extend(body.into_iter().map(|term| (term, index, Field::Body)));
        }
        let mut n_in_names = 0;
        for (index, field, name) in self.names() {
            let name = terms(name);
            n_in_names += if field == Field::Names { name.len() } else { 0 };
            seen.extend(name.into_iter().map(|term| (term, index, field)));
        }
        self.names_length = u32::try_from(n_in_names).unwrap_or(u32::MAX);
        self.postings = postings(seen);
    }

    /// Each chunk with the names that are its title: its own definition's, and those that begin inside it.
    fn names(&self) -> Vec<(u32, Field, &str)> {
        let mut names = Vec::new();
        let mut next = 0;
        for (index, chunk) in (0_u32..).zip(&self.chunks) {
            if let Some(definition) = chunk.definition.and_then(|d| self.definitions.get(d as usize)) {
                names.push((index, Field::Names, definition.name.as_str()));
                names.push((index, Field::Container, definition.container.as_str()));
            }
            while let Some(definition) = self.definitions.get(next).filter(|d| d.start_line <= chunk.end_line)
            {
                if chunk.definition != u32::try_from(next).ok() {
                    names.push((index, Field::Names, definition.name.as_str()));
                }
                next += 1;
            }
        }
        names
    }

    /// Where `term` stands.
    pub(crate) fn postings(&self, term: Term) -> &[Posting] {
        let start = self.postings.partition_point(|posting| posting.term < term);
        let rest = self.postings.get(start..).unwrap_or(&[]);
        let len = rest.iter().take_while(|posting| posting.term == term).count();
        &rest[..len]
    }

    /// The chunk that holds `line`.
    pub(crate) fn chunk_at(&self, line: u32) -> Option<u32> {
        let index = self.chunks.partition_point(|chunk| chunk.end_line < line);
        let holds = self.chunks.get(index).is_some_and(|chunk| chunk.start_line <= line);
        if holds { u32::try_from(index).ok() } else { None }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let names: usize = self.definitions.iter().map(|d| d.name.len() + d.container.len()).sum();
        size_of::<Self>()
            + names
            + self.definitions.capacity() * size_of::<Definition>()
            + self.chunks.capacity() * (size_of::<Chunk>() + size_of::<u32>())
            + self.postings.capacity() * size_of::<Posting>()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Body,
    Names,
    Container,
}

/// Counts what was seen: term, chunk, where there.
fn postings(mut seen: Vec<(Term, u32, Field)>) -> Vec<Posting> {
    seen.sort_unstable();
    let same = |a: &(Term, u32, Field), b: &(Term, u32, Field)| (a.0, a.1) == (b.0, b.1);
    let counted = seen.chunk_by(same).filter_map(|group| {
        let (term, chunk, _) = *group.first()?;
        let count = |field: Field| group.iter().filter(|(_, _, at)| *at == field).count();
        Some(Posting {
            term,
            chunk,
            in_body: u16::try_from(count(Field::Body)).unwrap_or(u16::MAX),
            in_names: u8::try_from(count(Field::Names)).unwrap_or(u8::MAX),
            in_container: u8::try_from(count(Field::Container)).unwrap_or(u8::MAX),
        })
    });
    counted.collect()
}

/// The text of a blob, if it is one. Bytes that are not UTF-8 are shown as replacement characters, line by line the same.
pub(crate) fn source_text(content: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    /// As git does it.
    const LOOKED_AT: usize = 8_000;
    let is_binary = content.iter().take(LOOKED_AT).any(|byte| *byte == 0);
    (content.len() <= MAX_SOURCE_BYTES && !is_binary).then(|| String::from_utf8_lossy(content))
}

fn is_generated(text: &str, n_lines: u32) -> bool {
    const HEAD_LINES: usize = 10;
    const SQUEEZED_BYTES: usize = 5_000;
    const SQUEEZED_LINE: usize = 400;
    let says_so = text.lines().take(HEAD_LINES).any(|line| {
        let line: String = line.chars().take(200).collect();
        line.contains("@generated") || line.contains("DO NOT EDIT") || line.contains("Code generated by")
    });
    says_so || (text.len() > SQUEEZED_BYTES && text.len() / (n_lines.max(1) as usize) > SQUEEZED_LINE)
}

#[cfg(test)]
mod tests {
    use super::heuristic::Heuristic;
    use super::*;

    #[test]
    fn counts_stand_with_their_chunk() {
        let text = b"import os\n\n\ndef read_file(path):\n    return path\n\n\ndef write(path):\n    pass\n";
        let extract = Extract::of(&Heuristic, Language::Python, text);
        assert_eq!(extract.chunks.len(), 3);
        let of = |word: &str| -> Vec<(u32, u16, u8)> {
            let term = terms(word)[0];
            extract.postings(term).iter().map(|p| (p.chunk, p.in_body, p.in_names)).collect()
        };
        assert_eq!(of("path"), [(1, 2, 0), (2, 1, 0)]);
        assert_eq!(of("write"), [(2, 1, 1)]);
        assert_eq!(of("read"), [(1, 1, 1)]);
        assert_eq!(of("absent"), []);
        assert_eq!((extract.chunk_at(5), extract.chunk_at(3), extract.chunk_at(99)), (Some(1), None, None));
    }

    #[test]
    fn what_is_not_source_has_no_chunks() {
        let large = vec![b'a'; MAX_SOURCE_BYTES + 1];
        for content in [b"".as_slice(), b"\n\n", b"a\0b", &large] {
            let extract = Extract::of(&Heuristic, Language::Rust, content);
            assert!(extract.chunks.is_empty() && extract.postings.is_empty());
        }
    }

    #[test]
    fn machines_output_is_known() {
        assert!(is_generated("// Code generated by protoc-gen-go. DO NOT EDIT.\n", 1));
        assert!(is_generated(&"x".repeat(6_000), 1));
        assert!(!is_generated("fn main() {}\n", 1));
    }
}
