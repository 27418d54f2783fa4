//! Reads whole files: a fence with the file's path in its title or on the line above.
//!
//! A fence under a sentence that mentions a file is an illustration, so only a line that is nothing but a path names one.

use crate::edit::{Ask, FileEdit, NewText, PathName};
use crate::refusal::{Code, Refusal};
use crate::reply::{Lines, fence_mark};

/// Gives the path that the fence opening at this line stands under.
pub(crate) fn names_file(lines: &Lines, fence: usize) -> Option<String> {
    let (_, _, info) = fence_mark(lines.get(fence))?;
    path_in_title(info).or_else(|| {
        let above = (0..fence).rev().take(2).find(|at| !lines.get(*at).trim().is_empty())?;
        if lines.closes_fence(above) { None } else { path_words(lines.get(above)) }
    })
}

/// Reads the file in the fence that opens at this line.
pub(crate) fn read(lines: &Lines, fence: usize) -> Result<(FileEdit, usize), Refusal> {
    let path = names_file(lines, fence).unwrap_or_default();
    let fail = |code, why: &str| Err(Refusal::new(code, why).file(&path));
    let Some(close) =
        (fence + 1..lines.len()).find(|at| !lines.in_fence(*at)).filter(|at| lines.closes_fence(*at))
    else {
        return fail(Code::Truncated, "the fence of a file is not closed");
    };
    let inner = |at: usize| fence_mark(lines.get(at));
    let length = inner(fence).map_or(0, |(_, length, _)| length);
    let nested = (fence + 1..close)
        .any(|at| inner(at).is_some_and(|(_, at_least, info)| at_least >= length && !info.is_empty()));
    let is_document = [".md", ".markdown", ".mdx", ".rst"].iter().any(|suffix| path.ends_with(suffix));
    let more_follow = is_document && (close + 1..lines.len()).any(|at| inner(at).is_some());
    if nested || more_follow && names_file_after(lines, close).is_none() {
        return Err(Refusal::new(Code::AmbiguousReply, "the file holds fences as long as the one around it")
            .file(&path)
            .hint("put the file in a fence that is longer than any inside it"));
    }
    let text = (fence + 1..close).map(|at| format!("{}\n", lines.get(at))).collect();
    let ask = Ask::Write(NewText { text, exact_end: false });
    Ok((FileEdit { path: PathName::Named(path), from: None, ask, mode: None }, close + 1))
}

/// Gives the path of the next fence, if it has one.
fn names_file_after(lines: &Lines, close: usize) -> Option<String> {
    let next = (close + 1..lines.len()).find(|at| fence_mark(lines.get(*at)).is_some())?;
    names_file(lines, next)
}

/// Reads a path from what follows the opening of a fence: `rust src/lib.rs`, `rust:src/lib.rs`, `title="src/lib.rs"`.
pub(crate) fn path_in_title(info: &str) -> Option<String> {
    for key in ["title=", "file=", "filename=", "path="] {
        if let Some((_, value)) = info.split_once(key) {
            let value = value.trim_start_matches('"').split(['"', ' ', '}']).next()?;
            return plain_path(value);
        }
    }
    let mut words = info.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    match (second, words.next()) {
        (Some(path), None) => plain_path(path),
        (None, None) => first.split_once(':').and_then(|(_, path)| plain_path(path)).or_else(|| {
            let has_folder = first.contains('/');
            plain_path(first).filter(|_| has_folder)
        }),
        _ => None,
    }
}

/// Reads a line that is nothing but a path, perhaps dressed as a heading or in quotes.
pub(crate) fn path_words(line: &str) -> Option<String> {
    let mut text = line.trim().trim_start_matches('#').trim();
    for label in ["File:", "file:", "Path:", "path:", "Filename:", "filename:", "FILE:"] {
        text = text.strip_prefix(label).unwrap_or(text).trim();
    }
    let bare = text
        .trim_end_matches(':')
        .trim_matches(['*', '`', '"', '\''])
        .trim_end_matches(':')
        .trim_matches(['*', '`']);
    if bare.contains([' ', '\t', '`']) {
        return None;
    }
    plain_path(bare)
}

/// Takes a word for a path if it has a folder or a suffix, or is one of the names that have neither.
fn plain_path(word: &str) -> Option<String> {
    const NAMES: [&str; 8] =
        ["Makefile", "Dockerfile", "LICENSE", "README", "Gemfile", "Rakefile", "Procfile", "Justfile"];
    let name = word.rsplit('/').next()?;
    let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| {
        (1..=12).contains(&suffix.len()) && suffix.chars().all(|c| c.is_alphanumeric() || c == '_')
    });
    let sane = !word.is_empty()
        && !name.is_empty()
        && !word.contains("://")
        && !word.contains(['(', ')', '<', '>', '=', ';', ',']);
    (sane
        && (has_suffix
            || word.contains('/')
            || NAMES.contains(&name)
            || name.starts_with('.') && name.len() > 1))
        .then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_path_names_a_file() {
        for (line, path) in [
            ("src/lib.rs", Some("src/lib.rs")),
            ("### `src/lib.rs`", Some("src/lib.rs")),
            ("**src/lib.rs**:", Some("src/lib.rs")),
            ("File: a.py", Some("a.py")),
            ("Makefile", Some("Makefile")),
            ("../evil", Some("../evil")),
            ("In `src/lib.rs`:", None),
            ("Here is the fix:", None),
            ("Then:", None),
            ("e.g. this", None),
            ("https://example.org/a.rs", None),
        ] {
            assert_eq!(path_words(line).as_deref(), path, "{line}");
        }
        for (info, path) in [
            ("rust", None),
            ("rust src/lib.rs", Some("src/lib.rs")),
            ("rust:src/lib.rs", Some("src/lib.rs")),
            ("js title=\"a/b.js\"", Some("a/b.js")),
            ("src/lib.rs", Some("src/lib.rs")),
            ("rust,ignore", None),
        ] {
            assert_eq!(path_in_title(info).as_deref(), path, "{info}");
        }
    }
}
