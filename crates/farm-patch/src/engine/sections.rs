//! Settles which section speaks of which file, and refuses sections that contradict each other.

use std::collections::{BTreeMap, HashMap};

use crate::edit::{Ask, FileEdit, PathName};
use crate::path;
use crate::refusal::{Code, Refusal};
use crate::source::{Mode, Request, Source};

/// All that a reply asks of one path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) path: String,
    pub(crate) from: Option<String>,
    pub(crate) ask: Ask,
    pub(crate) mode: Option<Mode>,
}

/// Joins the edits by path, in the order of the paths.
pub(crate) fn settle(
    edits: Vec<FileEdit>,
    request: &Request,
    source: &dyn Source,
) -> Result<Vec<Section>, Refusal> {
    let mut by_path: BTreeMap<String, Vec<Section>> = BTreeMap::new();
    let mut n_hunks = 0;
    for edit in edits {
        let path = resolve(&edit, request, source)?;
        let from = edit.from.map(|from| path::clean(&from)).transpose()?;
        n_hunks += edit.ask.hunks().len();
        let section = Section { path: path.clone(), from, ask: edit.ask, mode: edit.mode };
        by_path.entry(path).or_default().push(section);
    }
    let limits = request.limits;
    if by_path.len() > limits.max_files || n_hunks > limits.max_hunks {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("the reply changes {} files in {n_hunks} places", by_path.len()),
        ));
    }
    let sections: Vec<Section> = by_path.into_values().map(join).collect::<Result<_, _>>()?;
    contradictions(&sections)?;
    for section in &sections {
        for path in [Some(&section.path), section.from.as_ref()].into_iter().flatten() {
            way_is_clear(path, source)?;
        }
    }
    Ok(sections)
}

fn resolve(edit: &FileEdit, request: &Request, source: &dyn Source) -> Result<String, Refusal> {
    match &edit.path {
        PathName::Named(path) => path::clean(path),
        PathName::Unnamed => match request.path {
            Some(path) => path::clean(path),
            None => Err(Refusal::new(Code::NoPath, "the edit does not say which file it is for")),
        },
        PathName::Either(short, long) => {
            let (short, long) = (path::clean(short)?, path::clean(long)?);
            match (source.read(&short).is_some(), source.read(&long).is_some()) {
                (false, true) if !matches!(edit.ask, Ask::Create(_)) => Ok(long),
                (true, true) => {
                    Err(Refusal::new(Code::AmbiguousReply, format!("both {short} and {long} exist"))
                        .file(&short)
                        .hint("start the headers of the diff with --- a/PATH and +++ b/PATH"))
                }
                _ => Ok(short),
            }
        }
    }
}

/// Joins the sections of one path: several edits become one; whatever else comes twice must be the same.
fn join(mut sections: Vec<Section>) -> Result<Section, Refusal> {
    let mut first = sections.remove(0);
    let mut joined = false;
    for section in sections {
        if section == first {
            continue;
        }
        let same_mode = first.mode == section.mode || section.mode.is_none();
        match (&mut first.ask, section.ask) {
            (Ask::Edit(hunks), Ask::Edit(more)) if same_mode => {
                hunks.extend(
                    more.into_iter().filter(|hunk| hunk.anchors.is_empty() || !hunk.lines.is_empty()),
                );
                joined = true;
            }
            _ => {
                return Err(Refusal::new(Code::Conflict, "the reply says different things about the file")
                    .file(&first.path));
            }
        }
    }
    if let (true, Ask::Edit(hunks)) = (joined, &mut first.ask) {
        // The line numbers of a later section may count from the result of an earlier one.
        for (idx, hunk) in hunks.iter_mut().enumerate() {
            (hunk.number, hunk.stated) = (idx + 1, None);
        }
    }
    Ok(first)
}

fn contradictions(sections: &[Section]) -> Result<(), Refusal> {
    let mut folded: HashMap<String, &str> = HashMap::new();
    let conflict = |path: &str, why: &str| Err(Refusal::new(Code::Conflict, why).file(path));
    let by_path: HashMap<&str, &Section> =
        sections.iter().map(|section| (section.path.as_str(), section)).collect();
    for section in sections {
        if let Some(other) = folded.insert(section.path.to_lowercase(), &section.path) {
            return Err(Refusal::new(
                Code::CaseCollision,
                format!("{other} and {} differ only in case", section.path),
            )
            .file(&section.path));
        }
        if let Some(parent) = path::ancestors(&section.path).find(|parent| by_path.contains_key(parent)) {
            return conflict(&section.path, &format!("{parent} cannot be a file and a folder"));
        }
        let source_moves = matches!(section.ask, Ask::Rename(_));
        if let Some(from) = section.from.as_deref().filter(|from| source_moves && by_path.contains_key(from))
        {
            return conflict(from, "the file is moved away and changed in another section");
        }
    }
    let mut moved: Vec<&str> = sections
        .iter()
        .filter(|section| matches!(section.ask, Ask::Rename(_)))
        .filter_map(|section| section.from.as_deref())
        .collect();
    moved.sort_unstable();
    match moved.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => conflict(pair[0], "the file is moved to two places"),
        None => Ok(()),
    }
}

/// Refuses a path below a link, a submodule or a plain file.
fn way_is_clear(path: &str, source: &dyn Source) -> Result<(), Refusal> {
    for parent in path::ancestors(path) {
        if let Some(file) = source.read(parent) {
            let (code, what) = match file.mode {
                Mode::Other(Mode::LINK) => (Code::Symlink, "a symbolic link"),
                Mode::Other(Mode::SUBMODULE) => (Code::Submodule, "a submodule"),
                _ => (Code::PathInvalid, "a file"),
            };
            return Err(Refusal::new(code, format!("{parent} on the way to it is {what}")).file(path));
        }
    }
    Ok(())
}
