//! A goal as a query: its terms, and what it points at.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::language::{Language, suffix};
use crate::token::{Term, identifiers, terms};

/// A goal with its failures may be long; what is said first says most.
const MAX_GOAL_CHARS: usize = 64 << 10;
const MAX_TERMS: usize = 256;
const MAX_HINTS: usize = 64;

/// A goal, read.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Each term with its weight, in the order of the goal.
    pub(crate) terms: Vec<(Term, f64)>,
    pub(crate) hints: Vec<Hint>,
    /// The goal speaks of tests, so tests count like source.
    pub(crate) about_tests: bool,
    /// The goal speaks of documents, so documents count like source.
    pub(crate) about_documents: bool,
}

/// A place that the goal points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Hint {
    /// A path, or the end of one, maybe with a line, as in a stack trace.
    Path { path: String, line: Option<u32> },
    /// The name of a definition. A plain English word is never one.
    Symbol(String),
}

impl Query {
    pub(crate) fn of(goal: &str) -> Self {
        let end = goal.char_indices().nth(MAX_GOAL_CHARS).map_or(goal.len(), |(at, _)| at);
        let goal = &goal[..end];
        let mut counts: HashMap<Term, f64> = HashMap::new();
        let mut order = Vec::new();
        for term in terms(goal).into_iter().filter(|term| !STOP_TERMS.contains(term)) {
            let count = counts.entry(term).or_insert(0.0);
            if *count == 0.0 && order.len() < MAX_TERMS {
                order.push(term);
            }
            *count += 1.0;
        }
        let weight = |term: Term| 1.0 + counts.get(&term).map_or(0.0, |count| count.ln());
        let speaks_of = |words: &[&str]| {
            identifiers(goal).any(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
        };
        Self {
            terms: order.into_iter().map(|term| (term, weight(term))).collect(),
            hints: hints(goal),
            about_tests: speaks_of(&[
                "test",
                "tests",
                "testing",
                "example",
                "examples",
                "benchmark",
                "benchmarks",
            ]),
            about_documents: speaks_of(&[
                "readme",
                "docs",
                "documentation",
                "changelog",
                "markdown",
                "config",
            ]),
        }
    }
}

fn hints(goal: &str) -> Vec<Hint> {
    let mut hints = Vec::new();
    let mut seen = HashSet::new();
    let mut add = |hint: Hint| {
        if hints.len() < MAX_HINTS && seen.insert(hint.clone()) {
            hints.push(hint);
        }
    };
    let is_between = |c: char| c.is_whitespace() || "()[]{}<>\"'`,;|".contains(c);
    let words: Vec<&str> = goal.split(is_between).filter(|word| !word.is_empty()).collect();
    for (index, word) in words.iter().enumerate() {
        // Python: `File "a/b.py", line 12`.
        let says_line = words.get(index + 1).is_some_and(|next| *next == "line");
        let next_line = words.get(index + 2).filter(|_| says_line).and_then(|line| line.parse().ok());
        if let Some((path, line)) = path_in(word) {
            add(Hint::Path { path: path.to_owned(), line: line.or(next_line) });
        }
    }
    // Every second piece between backticks is quoted code; fences are too long to be a name.
    for quoted in
        goal.split('`').skip(1).step_by(2).filter(|quoted| quoted.len() <= 80 && path_in(quoted).is_none())
    {
        let head = quoted.split(['(', '<', ' ']).next().unwrap_or(quoted);
        if let Some(name) = identifiers(head).last() {
            add(Hint::Symbol(name.to_owned()));
        }
    }
    for name in identifiers(goal).filter(|word| looks_like_code(word)) {
        add(Hint::Symbol(name.to_owned()));
    }
    hints
}

/// `src/a.rs:12:5`, `./a.rs`, `Makefile` with a folder before it; not `and/or`, not `3.5`.
fn path_in(word: &str) -> Option<(&str, Option<u32>)> {
    let word = word.trim_end_matches(['.', ':', '!', '?']);
    let mut parts = word.split(':');
    let path = parts.next()?.trim_start_matches("./").trim_start_matches('/');
    let line = parts.next().and_then(|line| line.parse().ok());
    let known_suffix = Language::of(path).is_source() || DATA_SUFFIXES.contains(&suffix(path));
    let is_deep = path.split('/').filter(|folder| !folder.is_empty()).count() > 2;
    let is_address = word.contains("://");
    (!is_address && (known_suffix || is_deep)).then_some((path, line))
}

const DATA_SUFFIXES: &[&str] = &[
    "md", "rst", "txt", "toml", "json", "yml", "yaml", "xml", "html", "css", "scss", "cfg", "ini", "gradle",
    "mod",
];

/// `snake_case`, `camelCase`, `PascalCase`.
fn looks_like_code(word: &str) -> bool {
    let inside = word.trim_matches('_');
    let has_underscore = inside.contains('_');
    let mut chars = inside.chars();
    let first_is_letter = chars.next().is_some_and(char::is_alphabetic);
    let (has_inner_upper, has_lower) = chars
        .fold((false, false), |(upper, lower), c| (upper || c.is_uppercase(), lower || c.is_lowercase()));
    first_is_letter && (has_underscore || (has_inner_upper && has_lower))
}

/// Words of requests rather than of code.
const STOP_WORDS: &str = "the an and or of to in on at by for from with without into as is are was were be been being it its \
    this that these those there then than so such if when while where which who what why how not no nor but do does did \
    can could should would may might must will shall we you they he she our your their i me my us also only just some \
    any all each every more most other same very too please make makes made use uses used using need needs needed want \
    wants add adds added adding fix fixes fixed fixing change changes changed changing instead";

static STOP_TERMS: LazyLock<HashSet<Term>> = LazyLock::new(|| terms(STOP_WORDS).into_iter().collect());

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str, line: Option<u32>) -> Hint {
        Hint::Path { path: path.into(), line }
    }

    #[test]
    fn a_goal_points_at_paths_frames_and_names() {
        for (goal, expect) in [
            ("Fix the retry in src/net/retry.rs.", vec![path("src/net/retry.rs", None)]),
            ("panicked at ./src/a.rs:12:5:", vec![path("src/a.rs", Some(12))]),
            ("  File \"/app/x/y.py\", line 40, in f", vec![path("app/x/y.py", Some(40))]),
            (
                "at com.google.Gson.toJson(Gson.java:55)",
                vec![path("Gson.java", Some(55)), Hint::Symbol("toJson".into())],
            ),
            ("`Session::send()` loses the header", vec![Hint::Symbol("send".into())]),
            (
                "make parse_header and parseBody agree",
                vec![Hint::Symbol("parse_header".into()), Hint::Symbol("parseBody".into())],
            ),
            ("Session or cookie and/or version 3.5, JSON, see https://a.b/c/d.html", vec![]),
        ] {
            assert_eq!(hints(goal), expect, "{goal}");
        }
    }

    #[test]
    fn terms_are_counted_and_stop_words_left_out() {
        let query = Query::of("the header of the header in Session");
        let header = terms("header")[0];
        let weights: Vec<_> =
            query.terms.iter().map(|(term, weight)| (*term == header, *weight > 1.0)).collect();
        assert_eq!(weights, [(true, true), (false, false)]);
        assert!(!query.about_tests && Query::of("cover it with tests").about_tests);
        assert!(!Query::of("the latest contest").about_tests);
    }

    #[test]
    fn a_huge_goal_is_bounded() {
        let goal: String = (0..100_000).map(|n| format!("`word_{n}` a/b/f{n}.rs ")).collect();
        let query = Query::of(&goal);
        assert!(query.terms.len() <= MAX_TERMS && query.hints.len() <= MAX_HINTS);
    }
}
