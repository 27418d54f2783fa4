//! Works out one section: reads the file, places the hunks, looks at the result.

use std::borrow::Cow;

use super::Effect;
use super::sections::Section;
use crate::detect;
use crate::edit::{Ask, Hunk, Kind, NewText};
use crate::index::{Budget, View};
use crate::ladder::{self, Placement, Verdict};
use crate::patch::{FileChange, Op, Placed, Tier};
use crate::refusal::{Code, Refusal};
use crate::source::{File, Limits, Mode, Source};
use crate::splice::{Clash, splice};
use crate::text::{BOM, Ending, is_binary};

/// Finds out what a section comes to.
pub(crate) fn effect(
    section: &Section,
    source: &dyn Source,
    limits: &Limits,
    budget: &Budget,
) -> Result<Effect, Refusal> {
    let base = source.read(&section.path).map(|file| writable(file, limits)).transpose()?;
    match &section.ask {
        Ask::Create(text) => create(section, base, text),
        Ask::Write(text) => write(section, base, text),
        Ask::Delete(hunks) => delete(section, base, hunks),
        Ask::Edit(hunks) => edit(section, base, hunks, budget),
        Ask::Rename(hunks) | Ask::Copy(hunks) => transfer(section, base, hunks, source, limits, budget),
    }
}

/// Lets through files that lines can be changed in.
fn writable(file: File, limits: &Limits) -> Result<File, Refusal> {
    match file.mode {
        Mode::Other(Mode::LINK) => Err(Refusal::new(Code::Symlink, "the file is a symbolic link")),
        Mode::Other(Mode::SUBMODULE) => Err(Refusal::new(Code::Submodule, "the path is a submodule")),
        Mode::Other(bits) => Err(Refusal::new(Code::Mode, format!("the file has the mode {bits:o}"))),
        _ if is_binary(&file.content) => Err(Refusal::new(Code::Binary, "the file is not text")),
        _ if file.content.len() > limits.max_file_bytes => {
            Err(Refusal::new(Code::TooLarge, "the file is too large to be changed"))
        }
        _ => Ok(file),
    }
}

fn change(section: &Section, op: Op, content: Option<Vec<u8>>, mode: Mode, hunks: Vec<Placed>) -> Effect {
    let from = matches!(op, Op::Rename | Op::Copy).then(|| section.from.clone()).flatten();
    Effect::Change(FileChange { path: section.path.clone(), from, op, content, mode, hunks })
}

fn already(section: &Section, sure: bool) -> Effect {
    Effect::Already { path: section.path.clone(), sure }
}

fn create(section: &Section, base: Option<File>, text: &NewText) -> Result<Effect, Refusal> {
    match base {
        Some(file) if reads_as(&file.content, &text.text) => Ok(already(section, true)),
        Some(file) if !file.content.is_empty() => {
            Err(Refusal::new(Code::FileExists, "the file to be made is there already, with other content"))
        }
        base => write(section, base, text),
    }
}

/// Tells whether a file has these lines, whatever its line endings and its end.
fn reads_as(content: &[u8], text: &str) -> bool {
    let (have, want) = (View::new(content), View::new(text.as_bytes()));
    have.lines == want.lines
}

fn write(section: &Section, base: Option<File>, text: &NewText) -> Result<Effect, Refusal> {
    let Some(file) = base else {
        detect::added_lines(&section.path, None, text.text.lines())?;
        let content = text.text.as_bytes().to_vec();
        if is_binary(&content) {
            return Err(Refusal::new(Code::Binary, "the new content is not text"));
        }
        return Ok(change(
            section,
            Op::Add,
            Some(content),
            section.mode.unwrap_or(Mode::Regular),
            Vec::new(),
        ));
    };
    let view = View::new(&file.content);
    if !view.text.utf8 && !text.text.is_ascii() {
        return Err(Refusal::new(Code::Encoding, "the file is not UTF-8, but the new content would be"));
    }
    let content = in_the_manner_of(&view, &text.text, text.exact_end);
    let mode = section.mode.unwrap_or(file.mode);
    if content == file.content && mode == file.mode {
        return Ok(already(section, true));
    }
    detect::added_lines(&section.path, Some(&view), text.text.lines())?;
    detect::fragment(&section.path, &view, &View::new(&content))?;
    Ok(change(section, Op::Modify, Some(content), mode, Vec::new()))
}

/// Gives a whole content the byte order mark, line endings and final newline of the file it replaces.
fn in_the_manner_of(view: &View, text: &str, exact_end: bool) -> Vec<u8> {
    if view.lines.is_empty() {
        return text.as_bytes().to_vec();
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let has_own_endings = text.contains("\r\n");
    let mut body: Cow<str> = Cow::Borrowed(text);
    if !exact_end && !text.is_empty() {
        body = match (view.text.ends_with_newline(), text.strip_suffix('\n')) {
            (true, None) => Cow::Owned(format!("{text}\n")),
            (false, Some(shorter)) => Cow::Borrowed(shorter.strip_suffix('\r').unwrap_or(shorter)),
            _ => body,
        };
    }
    if view.text.usual == Ending::CrLf && !has_own_endings {
        body = Cow::Owned(body.replace('\n', "\r\n"));
    }
    let mut content = if view.text.bom { BOM.to_vec() } else { Vec::new() };
    content.extend_from_slice(body.as_bytes());
    content
}

fn delete(section: &Section, base: Option<File>, hunks: &[Hunk]) -> Result<Effect, Refusal> {
    let Some(file) = base else {
        return Ok(already(section, false));
    };
    let stated: Vec<&str> = hunks.iter().flat_map(Hunk::before).map(|line| line.text.trim_end()).collect();
    let view = View::new(&file.content);
    let same = view.lines.iter().map(|line| line.trim_end()).eq(stated.iter().copied());
    if !hunks.is_empty()
        && (!same || hunks.iter().any(|hunk| hunk.lines.iter().any(|line| line.kind == Kind::Add)))
    {
        return Err(Refusal::new(Code::NoMatch, "the file to be removed has other lines than the diff says")
            .hint(
                "delete the lines with a diff that keeps the file, or give the whole file as removed lines",
            ));
    }
    Ok(change(section, Op::Delete, None, file.mode, Vec::new()))
}

fn edit(section: &Section, base: Option<File>, hunks: &[Hunk], budget: &Budget) -> Result<Effect, Refusal> {
    let Some(file) = base else {
        return Err(Refusal::new(Code::NoSuchFile, "the file to be changed is not there"));
    };
    let mode = section.mode.unwrap_or(file.mode);
    let edited = apply_hunks(&section.path, &file.content, hunks, budget)?;
    match (edited.content == file.content, mode == file.mode) {
        (false, _) => Ok(change(section, Op::Modify, Some(edited.content), mode, edited.placed)),
        (true, false) => Ok(change(section, Op::Mode, Some(file.content), mode, edited.placed)),
        (true, true) if edited.all_already => Ok(already(section, true)),
        (true, true) => Err(Refusal::new(Code::NoChange, "the edit leaves the file as it is")),
    }
}

fn transfer(
    section: &Section,
    target: Option<File>,
    hunks: &[Hunk],
    source: &dyn Source,
    limits: &Limits,
    budget: &Budget,
) -> Result<Effect, Refusal> {
    let from = section.from.as_deref().unwrap_or_default();
    let op = if matches!(section.ask, Ask::Rename(_)) { Op::Rename } else { Op::Copy };
    if from == section.path {
        return Err(Refusal::new(Code::PathMismatch, "the file is to be moved onto itself"));
    }
    let base = source
        .read(from)
        .map(|file| writable(file, limits))
        .transpose()
        .map_err(|refusal| refusal.file(from))?;
    match (base, target) {
        (None, None) => Err(Refusal::new(Code::NoSuchFile, "the file to be moved is not there").file(from)),
        (None, Some(target)) if op == Op::Rename => {
            let edited = apply_hunks(&section.path, &target.content, hunks, budget)?;
            if edited.all_already || hunks.is_empty() {
                return Ok(already(section, false));
            }
            Err(Refusal::new(Code::NoSuchFile, "the file to be moved is not there").file(from))
        }
        (None, Some(_)) => {
            Err(Refusal::new(Code::NoSuchFile, "the file to be copied is not there").file(from))
        }
        (Some(file), target) => {
            let edited = apply_hunks(from, &file.content, hunks, budget)?;
            let mode = section.mode.unwrap_or(file.mode);
            match target {
                Some(target) if op == Op::Copy && target.content == edited.content && target.mode == mode => {
                    Ok(already(section, true))
                }
                Some(_) => Err(Refusal::new(Code::FileExists, "the new path is taken")),
                None => Ok(change(section, op, Some(edited.content), mode, edited.placed)),
            }
        }
    }
}

struct Edited {
    content: Vec<u8>,
    placed: Vec<Placed>,
    all_already: bool,
}

/// How far back a hunk may be repeated word for word and still count once.
const RECENT: usize = 8;

/// Places all hunks in the base; those that speak of what an earlier one wrote are placed in the result.
fn apply_hunks(path: &str, base: &[u8], hunks: &[Hunk], budget: &Budget) -> Result<Edited, Refusal> {
    let view = View::new(base);
    budget.grant(view.lines.len());
    let mut places: Vec<(usize, Placement)> = Vec::new();
    let mut late: Vec<(&Hunk, Refusal)> = Vec::new();
    let mut placed = Vec::new();
    let mut all_already = true;
    // Hunks that are applied already have moved the lines below them.
    let mut drift = 0;
    for (idx, hunk) in hunks.iter().enumerate() {
        if hunks[..idx].iter().rev().take(RECENT).any(|earlier| earlier.says_the_same(hunk)) {
            continue;
        }
        let hunk = &moved_on(hunk, drift);
        match ladder::place(hunk, &view, budget) {
            Ok(Verdict::Already(line)) => {
                drift += hunk.growth();
                placed.push(Placed { tier: Tier::Already, offset: offset(hunk, line), line: line + 1 })
            }
            Ok(Verdict::Placed(found)) => {
                all_already = false;
                places.extend(found.into_iter().map(|place| (idx, place)));
            }
            Err(refusal) if refusal.code == Code::NoMatch && hunks.len() > 1 => {
                late.push((&hunks[idx], refusal))
            }
            Err(refusal) => return Err(refusal.hunk(hunk.number)),
        }
    }
    let is_done = |placed: &Placed| placed.tier == Tier::Already;
    if let Some((idx, _)) =
        places.iter().find(|(idx, _)| !hunks[*idx].is_telling()).filter(|_| placed.iter().any(is_done))
    {
        return Err(Refusal::new(
            Code::Ambiguous,
            "another edit of the file is applied already, and this one may be too",
        )
        .hunk(hunks[*idx].number));
    }
    one_manner(hunks, &places)?;
    let mut content = loop {
        let only: Vec<Placement> = places.iter().map(|(_, place)| place.clone()).collect();
        match splice(&view, &only) {
            Ok(content) => break content,
            Err(Clash { later }) => {
                let idx = places[later].0;
                budget.spend(view.lines.len())?;
                late.push((&hunks[idx], overlap(&hunks[idx])));
                places.retain(|(of, _)| *of != idx);
            }
        }
    };
    let utf8 = view.text.utf8;
    let mut added: Vec<String> = Vec::new();
    for (idx, place) in &places {
        report(&hunks[*idx], place, utf8, &mut placed, &mut added)?;
    }
    late.sort_by_key(|(hunk, _)| hunk.number);
    for (hunk, refusal) in late {
        all_already = false;
        let now = View::new(&content);
        budget.spend(now.lines.len())?;
        let place =
            ladder::place_exactly(hunk, &now, budget)?.ok_or_else(|| refusal.clone().hunk(hunk.number))?;
        report(hunk, &place, utf8, &mut placed, &mut added)?;
        content = splice(&now, &[place]).map_err(|_| refusal.hunk(hunk.number))?;
    }
    detect::added_lines(path, Some(&view), added.iter().map(String::as_str))?;
    Ok(Edited { content, placed, all_already })
}

/// Refuses an exact place without a word in it, where other hunks of the file are indented otherwise: this one may be, too.
fn one_manner(hunks: &[Hunk], places: &[(usize, Placement)]) -> Result<(), Refusal> {
    let reindented = |(_, place): &(usize, Placement)| matches!(place.tier, Tier::Tabs | Tier::Indent);
    let doubtful = |(idx, place): &&(usize, Placement)| {
        let hunk = &hunks[*idx];
        place.tier < Tier::Tabs && hunk.is_blind() && hunk.stated != Some(place.start)
    };
    match places.iter().find(doubtful).filter(|_| places.iter().any(reindented)) {
        Some((idx, _)) => Err(Refusal::new(
            Code::Ambiguous,
            "other edits of the file are indented otherwise, so these few lines may mean another place",
        )
        .hunk(hunks[*idx].number)),
        None => Ok(()),
    }
}

fn moved_on(hunk: &Hunk, drift: i64) -> Cow<'_, Hunk> {
    match hunk.stated {
        Some(stated) if drift != 0 => {
            let stated = stated.saturating_add_signed(isize::try_from(drift).unwrap_or(0));
            Cow::Owned(Hunk { stated: Some(stated), ..hunk.clone() })
        }
        _ => Cow::Borrowed(hunk),
    }
}

fn overlap(hunk: &Hunk) -> Refusal {
    Refusal::new(Code::Overlap, "the edit changes lines that another one changes too").hunk(hunk.number)
}

fn offset(hunk: &Hunk, line: usize) -> i64 {
    hunk.stated.map_or(0, |stated| line as i64 - stated as i64)
}

fn report(
    hunk: &Hunk,
    place: &Placement,
    utf8: bool,
    placed: &mut Vec<Placed>,
    added: &mut Vec<String>,
) -> Result<(), Refusal> {
    if !utf8 && let Some(line) = place.added.iter().find(|line| !line.text.is_ascii()) {
        return Err(Refusal::new(Code::Encoding, "the file is not UTF-8, but a new line would be")
            .hunk(hunk.number)
            .expected(vec![line.text.clone()]));
    }
    placed.push(Placed { tier: place.tier, offset: offset(hunk, place.start), line: place.start + 1 });
    added.extend(place.added.iter().map(|line| line.text.clone()));
    Ok(())
}
