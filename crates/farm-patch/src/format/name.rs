//! Reads names of files amid prose: titles of fences, lines of their own, mentions.

use crate::source::Source;

/// Names that stand for a file wherever they stand alone, whether the base has it or not.
const NAMES: [&str; 31] = [
    "Makefile",
    "GNUmakefile",
    "makefile",
    "Dockerfile",
    "Containerfile",
    "LICENSE",
    "README",
    "NOTICE",
    "AUTHORS",
    "COPYING",
    "CODEOWNERS",
    "MAINTAINERS",
    "CONTRIBUTORS",
    "CHANGELOG",
    "Pipfile",
    "Gemfile",
    "Rakefile",
    "Procfile",
    "Justfile",
    "justfile",
    "Vagrantfile",
    "Jenkinsfile",
    "Brewfile",
    "Podfile",
    "Fastfile",
    "Caddyfile",
    "Earthfile",
    "Tiltfile",
    "Snakefile",
    "Berksfile",
    "Guardfile",
];

/// Reads a path from what follows the opening of a fence: `rust src/lib.rs`, `rust:src/lib.rs`, `title="src/lib.rs"`.
pub(crate) fn path_in_title(info: &str, source: &dyn Source) -> Option<String> {
    for key in ["title=", "file=", "filename=", "path="] {
        if let Some((_, value)) = info.split_once(key) {
            let value = value.trim_start_matches('"').split(['"', ' ', '}']).next()?;
            return path(value, source);
        }
    }
    let mut words = info.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    match (second, words.next()) {
        (Some(second), None) => path(second, source),
        (None, None) => first.split_once(':').and_then(|(_, behind)| path(behind, source)).or_else(|| {
            let has_folder = first.contains('/');
            path(first, source).filter(|_| has_folder)
        }),
        _ => None,
    }
}

/// Reads a line that is nothing but a path, perhaps dressed as a heading or in quotes.
pub(crate) fn path_words(line: &str, source: &dyn Source) -> Option<String> {
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
    path(bare, source)
}

/// Takes a word for a path if it reads like one, or is a file of the base.
fn path(word: &str, source: &dyn Source) -> Option<String> {
    (reads_like_path(word) || is_file(word, source)).then(|| word.to_owned())
}

/// Tells whether a word has a folder or a suffix, or is one of the names that have neither.
fn reads_like_path(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| {
        (1..=12).contains(&suffix.len()) && suffix.chars().all(|c| c.is_alphanumeric() || c == '_')
    });
    let sane = !word.is_empty()
        && !name.is_empty()
        && !word.contains("://")
        && !word.contains(['(', ')', '<', '>', '=', ';', ',']);
    sane && (has_suffix
        || word.contains('/')
        || NAMES.contains(&name)
        || name.starts_with('.') && name.len() > 1)
}

/// Tells whether a word without folder is a file of the base.
fn is_file(word: &str, source: &dyn Source) -> bool {
    is_word(word) && source.read(word).is_some()
}

fn is_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
}

/// Gives the only word of a line, which may be the name of a file; a heading, or a word before a colon or full stop, is prose.
pub(crate) fn lone_word(line: &str) -> Option<&str> {
    let word = line.trim().trim_matches(['*', '`', '"', '\'']);
    (is_word(word) && !word.ends_with('.')).then_some(word)
}

/// Gives the words of a line of prose that read like paths, or are files of the base.
pub(crate) fn mentioned<'a>(line: &'a str, source: &dyn Source) -> impl Iterator<Item = &'a str> {
    line.split_whitespace()
        .map(|word| {
            word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '_' && c != '.')
                .trim_end_matches('.')
        })
        .filter(|word| {
            let name = word.rsplit('/').next().unwrap_or_default();
            let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
            let has_suffix = word.len() > 3
                && suffix.is_some_and(|suffix| {
                    (1..=5).contains(&suffix.len()) && suffix.chars().all(|c| c.is_ascii_alphanumeric())
                })
                && !word.contains("..");
            // Bare names of files have a capital almost always, and words of prose almost never: that spares the base.
            has_suffix || word.contains(char::is_uppercase) && is_file(word, source)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{File, Mode};

    struct Base;

    impl Source for Base {
        fn read(&self, path: &str) -> Option<File> {
            (path == "Kbuild").then(|| File { content: Vec::new(), mode: Mode::Regular })
        }
    }

    #[test]
    fn only_a_bare_path_names_a_file() {
        for (line, path) in [
            ("src/lib.rs", Some("src/lib.rs")),
            ("### `src/lib.rs`", Some("src/lib.rs")),
            ("**src/lib.rs**:", Some("src/lib.rs")),
            ("File: a.py", Some("a.py")),
            ("Makefile", Some("Makefile")),
            ("Pipfile", Some("Pipfile")),
            ("**Kbuild**:", Some("Kbuild")),
            ("Before", None),
            ("Pipfile", Some("Pipfile")),
            ("**Kbuild**:", Some("Kbuild")),
            ("Before", None),
            ("../evil", Some("../evil")),
            ("In `src/lib.rs`:", None),
            ("Here is the fix:", None),
            ("Then:", None),
            ("e.g. this", None),
            ("https://example.org/a.rs", None),
        ] {
            assert_eq!(path_words(line, &Base).as_deref(), path, "{line}");
        }
        for (info, path) in [
            ("rust", None),
            ("rust src/lib.rs", Some("src/lib.rs")),
            ("rust:src/lib.rs", Some("src/lib.rs")),
            ("js title=\"a/b.js\"", Some("a/b.js")),
            ("src/lib.rs", Some("src/lib.rs")),
            ("rust,ignore", None),
        ] {
            assert_eq!(path_in_title(info, &Base).as_deref(), path, "{info}");
        }
    }
}
