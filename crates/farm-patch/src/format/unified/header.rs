//! The header of a section: which file, and what git's extended lines ask for.

use crate::edit::PathName;
use crate::path::unquote;
use crate::refusal::{Code, Refusal};
use crate::reply::Lines;

const NOWHERE: &str = "/dev/null";

#[derive(Debug, Default)]
pub(super) struct Header {
    /// The two paths of the `diff --git` line, as one text, because it cannot be split without knowing them.
    git: Option<String>,
    old: Option<String>,
    new: Option<String>,
    pub(super) rename: Option<(String, String)>,
    pub(super) copy: Option<(String, String)>,
    pub(super) old_mode: Option<u32>,
    pub(super) new_mode: Option<u32>,
    pub(super) index_mode: Option<u32>,
    new_file: bool,
    deleted_file: bool,
    pub(super) binary: bool,
}

/// What a header says about paths once all its lines agree.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) path: PathName,
    pub(super) from: Option<String>,
    pub(super) creates: bool,
    pub(super) deletes: bool,
}

/// Reads header lines up to the first that is none.
pub(super) fn read(lines: &Lines, start: usize) -> Result<(Header, usize), Refusal> {
    let mut header = Header::default();
    let mut pair: [Option<String>; 4] = Default::default();
    let mut at = start;
    if let Some(paths) = lines.get(at).strip_prefix("diff --git ") {
        header.git = Some(paths.trim_end().to_owned());
        at += 1;
    }
    while at < lines.len() {
        let line = lines.get(at).trim_end();
        if let Some(path) = line.strip_prefix("--- ").filter(|_| header.old.is_none() && header.new.is_none())
        {
            header.old = Some(file_name(path)?);
        } else if let Some(path) = line.strip_prefix("+++ ").filter(|_| header.new.is_none()) {
            header.new = Some(file_name(path)?);
            at += 1;
            break;
        } else if header.git.is_none() || header.old.is_some() || !extended(&mut header, &mut pair, line)? {
            break;
        }
        at += 1;
    }
    let [rename_from, rename_to, copy_from, copy_to] = pair;
    header.rename = both(rename_from, rename_to, "rename")?;
    header.copy = both(copy_from, copy_to, "copy")?;
    if header.rename.is_some() && header.copy.is_some() {
        return Err(Refusal::new(Code::Malformed, "the section is both a rename and a copy"));
    }
    Ok((header, at))
}

fn both(from: Option<String>, to: Option<String>, what: &str) -> Result<Option<(String, String)>, Refusal> {
    match (from, to) {
        (Some(from), Some(to)) => Ok(Some((from, to))),
        (None, None) => Ok(None),
        _ => Err(Refusal::new(Code::Malformed, format!("the {what} names only one of its two paths"))),
    }
}

/// Takes one of git's extended header lines; `false` if it is none.
fn extended(header: &mut Header, pair: &mut [Option<String>; 4], line: &str) -> Result<bool, Refusal> {
    let mode = |text: &str| {
        u32::from_str_radix(text.trim(), 8)
            .map_err(|_| Refusal::new(Code::Mode, format!("\"{text}\" is not a file mode")))
    };
    if let Some(text) = line.strip_prefix("old mode ") {
        header.old_mode = Some(mode(text)?);
    } else if let Some(text) = line.strip_prefix("new mode ") {
        header.new_mode = Some(mode(text)?);
    } else if let Some(text) = line.strip_prefix("new file mode ") {
        (header.new_mode, header.new_file) = (Some(mode(text)?), true);
    } else if let Some(text) = line.strip_prefix("deleted file mode ") {
        (header.old_mode, header.deleted_file) = (Some(mode(text)?), true);
    } else if let Some(text) = line.strip_prefix("index ") {
        header.index_mode = text.split_once(' ').map(|(_, text)| mode(text)).transpose()?;
    } else if line.starts_with("Binary files ") || line == "GIT binary patch" {
        header.binary = true;
    } else if !(line.starts_with("similarity index ") || line.starts_with("dissimilarity index ")) {
        const NAMES: [&str; 4] = ["rename from ", "rename to ", "copy from ", "copy to "];
        let Some(idx) = NAMES.iter().position(|name| line.starts_with(name)) else {
            return Ok(false);
        };
        pair[idx] = Some(unquote(&line[NAMES[idx].len()..])?);
    }
    Ok(true)
}

/// Tells whether two header lines name one file with git's prefixes.
pub(super) fn name_one_file(old: &str, new: &str) -> bool {
    let prefixed = |line: &str, sign: &str, prefix: &str| {
        let name = file_name(line.strip_prefix(sign)?).ok()?;
        if name == NOWHERE { Some(name) } else { name.strip_prefix(prefix).map(str::to_owned) }
    };
    match (prefixed(old, "--- ", "a/"), prefixed(new, "+++ ", "b/")) {
        (Some(old), Some(new)) => old == new || (old == NOWHERE) != (new == NOWHERE),
        _ => false,
    }
}

/// Reads the path of a `---` or `+++` line: a tab ends it, and a time may follow.
fn file_name(text: &str) -> Result<String, Refusal> {
    let name = text.split('\t').next().unwrap_or_default().trim();
    let name = name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(name);
    unquote(name)
}

impl Header {
    /// Tells whether both header lines of a plain diff are there.
    pub(super) fn is_plain(&self) -> bool {
        self.old.is_some() && self.new.is_some()
    }

    pub(super) fn names_file(&self) -> bool {
        self.old.is_some() || self.new.is_some()
    }

    /// Tells whether the header asks for something without any hunk.
    pub(super) fn says_something(&self) -> bool {
        self.rename.is_some()
            || self.copy.is_some()
            || self.new_mode.is_some()
            || self.new_file
            || self.deleted_file
    }

    /// Settles the paths, and refuses headers that disagree.
    pub(super) fn names(&self) -> Result<Names, Refusal> {
        let nowhere = |name: &Option<String>| name.as_deref() == Some(NOWHERE);
        let creates = nowhere(&self.old) || self.new_file;
        let deletes = nowhere(&self.new) || self.deleted_file;
        let old = self.old.as_deref().filter(|name| *name != NOWHERE);
        let new = self.new.as_deref().filter(|name| *name != NOWHERE);
        let mismatch = |why: &str| Refusal::new(Code::PathMismatch, why.to_owned());
        if creates && (deletes || old.is_some()) || deletes && new.is_some() {
            return Err(mismatch("the headers both make and remove the file"));
        }
        if let Some((from, to)) = self.rename.as_ref().or(self.copy.as_ref()) {
            if creates || deletes {
                return Err(mismatch("a rename or copy cannot make or remove a file"));
            }
            let agree = old.is_none_or(|old| same_file(old, from, "a/"))
                && new.is_none_or(|new| same_file(new, to, "b/"));
            if !agree || self.git.as_ref().is_some_and(|git| !git_line_says(git, from, to)) {
                return Err(mismatch("the headers name different files"));
            }
            return Ok(Names {
                path: PathName::Named(to.clone()),
                from: Some(from.clone()),
                creates,
                deletes,
            });
        }
        let path = match (old, new) {
            (Some(old), Some(new)) => {
                pair(old, new).ok_or_else(|| mismatch("the headers name two different files"))?
            }
            (Some(name), None) => single(name, "a/"),
            (None, Some(name)) => single(name, "b/"),
            (None, None) => match &self.git {
                Some(git) => PathName::Named(from_git_line(git)?),
                None if creates || deletes => return Err(mismatch("the headers name no file")),
                None => PathName::Unnamed,
            },
        };
        let path = match &self.git {
            Some(git) => agreed(git, path)
                .ok_or_else(|| mismatch("the diff --git line names another file than its section"))?,
            None => path,
        };
        Ok(Names { path, from: None, creates, deletes })
    }
}

/// Keeps the spelling that the `diff --git` line has too.
fn agreed(git: &str, path: PathName) -> Option<PathName> {
    let agrees = |path: &String| git_line_says(git, path, path);
    match path {
        PathName::Either(first, second) => match (agrees(&first), agrees(&second)) {
            (true, false) => Some(PathName::Named(first)),
            (false, true) => Some(PathName::Named(second)),
            _ => None,
        },
        PathName::Named(path) => agrees(&path).then_some(PathName::Named(path)),
        PathName::Unnamed => None,
    }
}

/// Settles what two header paths name, if it can be one file.
fn pair(old: &str, new: &str) -> Option<PathName> {
    const PREFIXES: [(&str, &str); 6] =
        [("a/", "b/"), ("b/", "a/"), ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/")];
    let named = |path: &str| Some(PathName::Named(path.to_owned()));
    for (old_prefix, new_prefix) in PREFIXES {
        if let (Some(old), Some(new)) = (old.strip_prefix(old_prefix), new.strip_prefix(new_prefix))
            && old == new
        {
            return named(old);
        }
    }
    if old == new {
        // `a/x` twice: a prefix that was not changed, or a directory of that name.
        return match old.strip_prefix("a/").or_else(|| old.strip_prefix("b/")) {
            Some(short) => Some(PathName::Either(short.to_owned(), old.to_owned())),
            None => named(old),
        };
    }
    if old.strip_prefix("a/") == Some(new) {
        return named(new);
    }
    if new.strip_prefix("b/") == Some(old) {
        return named(old);
    }
    None
}

/// Settles what a header path names that stands alone or beside `/dev/null`.
fn single(name: &str, prefix: &str) -> PathName {
    match name.strip_prefix(prefix) {
        Some(short) => PathName::Either(short.to_owned(), name.to_owned()),
        None => PathName::Named(name.to_owned()),
    }
}

fn same_file(header: &str, path: &str, prefix: &str) -> bool {
    header == path || header.strip_prefix(prefix) == Some(path)
}

/// Tells whether a `diff --git` line names these two paths, in any of git's spellings.
fn git_line_says(line: &str, old: &str, new: &str) -> bool {
    let Some((first, second)) = git_names(line, old, new) else {
        return false;
    };
    let spelled = |name: &str, path: &str, prefixes: &[&str]| {
        name == path || prefixes.iter().any(|prefix| name.strip_prefix(prefix) == Some(path))
    };
    spelled(&first, old, &["a/", "i/", "c/", "o/"]) && spelled(&second, new, &["b/", "i/", "w/"])
}

/// Splits a `diff --git` line where the quotes or the expected lengths say so.
fn git_names(line: &str, old: &str, new: &str) -> Option<(String, String)> {
    if line.contains('"') {
        return quoted_names(line);
    }
    [old.len() + 2, old.len()].into_iter().find_map(|old_len| {
        let (first, second) = (line.get(..old_len)?, line.get(old_len..)?.strip_prefix(' ')?);
        let fits = second.len() == new.len() || second.len() == new.len() + 2;
        fits.then(|| (first.to_owned(), second.to_owned()))
    })
}

fn quoted_names(line: &str) -> Option<(String, String)> {
    let cut = if line.starts_with('"') { line.find("\" ")? + 1 } else { line.find(" \"")? };
    Some((unquote(&line[..cut]).ok()?, unquote(line[cut..].trim_start()).ok()?))
}

/// Reads the path from a `diff --git` line that stands alone: both halves must name the same file.
fn from_git_line(line: &str) -> Result<String, Refusal> {
    let halves = if line.contains('"') {
        quoted_names(line)
    } else {
        let middle = line.len() / 2;
        line.get(..middle)
            .zip(line.get(middle + 1..))
            .map(|(first, second)| (first.to_owned(), second.to_owned()))
    };
    halves
        .and_then(|(first, second)| {
            let (first, second) = (first.strip_prefix("a/")?, second.strip_prefix("b/")?);
            (first == second).then(|| first.to_owned())
        })
        .ok_or_else(|| Refusal::new(Code::PathMismatch, "the diff --git line names two different files"))
}
