//! Undoes typographic punctuation that came into a reply on its way, as an old line shows that differs from its file in nothing else.
//!
//! A program that makes quotation marks typographic does so throughout, so one such line tells of all others, in every file of the reply.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::sections::Section;
use crate::edit::{Hunk, Kind};
use crate::refusal::{Code, Refusal};
use crate::source::Source;
use crate::text::{is_typographic_quote, plain, plain_punctuation};

/// A file that the reply changes.
struct Known {
    section: usize,
    /// Its typographic characters.
    characters: BTreeSet<char>,
    /// The characters that old lines of the reply have where the file has a line that reads the same without them.
    foreign: BTreeSet<char>,
}

impl Known {
    fn new(section: usize, hunks: &[Hunk], content: &[u8]) -> Known {
        let content = String::from_utf8_lossy(content);
        let characters: BTreeSet<char> = content.chars().filter(is_typographic).collect();
        let mut foreign: BTreeMap<Cow<str>, BTreeSet<char>> = BTreeMap::new();
        for line in hunks.iter().flat_map(Hunk::before) {
            let others = line.text.chars().filter(|c| is_typographic(c) && !characters.contains(c));
            foreign.entry(plain(line.text.trim())).or_default().extend(others);
        }
        foreign.retain(|_, characters| !characters.is_empty());
        let shown = content.lines().filter_map(|line| foreign.get(plain(line.trim()).as_ref()));
        let foreign = shown.flatten().copied().collect();
        Known { section, characters, foreign }
    }
}

/// Writes plainly what is the transport's, and refuses new quotation marks of which nobody can tell whose they are.
pub(crate) fn straighten(sections: &mut [Section], source: &dyn Source) -> Result<(), Refusal> {
    let has_any = |hunk: &Hunk| hunk.lines.iter().any(|line| line.text.contains(|c| is_typographic(&c)));
    let mut files: Vec<Known> = Vec::new();
    for (idx, section) in sections.iter().enumerate() {
        let hunks = section.ask.hunks();
        if hunks.iter().any(has_any)
            && let Some(file) = source.read(section.from.as_deref().unwrap_or(&section.path))
        {
            files.push(Known::new(idx, hunks, &file.content));
        }
    }
    let foreign: BTreeSet<char> = files.iter().flat_map(|file| &file.foreign).copied().collect();
    let quotes_are_foreign = foreign.iter().any(|c| is_typographic_quote(*c));
    if !quotes_are_foreign {
        quotes_are_meant(sections, &files)?;
    }
    let is_foreign = |c: char| foreign.contains(&c) || quotes_are_foreign && is_typographic_quote(c);
    for file in &files {
        for hunk in sections[file.section].ask.hunks_mut() {
            rewrite(hunk, |c| is_foreign(c) && !file.characters.contains(&c));
        }
    }
    Ok(())
}

fn is_typographic(character: &char) -> bool {
    plain_punctuation(*character).is_some()
}

/// Refuses typographic quotation marks that no file has, unless a plain one in the reply shows that it keeps the two apart.
fn quotes_are_meant(sections: &[Section], files: &[Known]) -> Result<(), Refusal> {
    let lines = || sections.iter().flat_map(|section| section.ask.hunks()).flat_map(|hunk| &hunk.lines);
    if lines().any(|line| line.text.contains(['\'', '"'])) {
        return Ok(());
    }
    for file in files {
        let section = &sections[file.section];
        let doubtful = |c: char| is_typographic_quote(c) && !file.characters.contains(&c);
        let new =
            section.ask.hunks().iter().flat_map(|hunk| &hunk.lines).filter(|line| line.kind == Kind::Add);
        if let Some(line) = new.into_iter().find(|line| line.text.chars().any(doubtful)) {
            return Err(Refusal::new(
                Code::Ambiguous,
                "the new lines have typographic quotation marks, and nothing shows that they are meant",
            )
            .file(&section.path)
            .expected(vec![line.text.clone()])
            .hint("write plain quotation marks, or show a line of the file that has typographic ones"));
        }
    }
    Ok(())
}

/// Writes these characters of a hunk in ASCII.
fn rewrite(hunk: &mut Hunk, goes: impl Fn(char) -> bool) {
    let plainly = |text: &mut String| {
        if !text.chars().any(&goes) {
            return false;
        }
        let plain =
            |c: char| plain_punctuation(c).filter(|_| goes(c)).map_or_else(|| c.to_string(), str::to_owned);
        *text = text.chars().map(plain).collect();
        true
    };
    let mut changed = false;
    for line in &mut hunk.lines {
        changed |= plainly(&mut line.text);
    }
    if let Some(piece) = &mut hunk.piece {
        changed |= plainly(&mut piece.search) | plainly(&mut piece.replace);
    }
    hunk.straightened = changed;
}
