//! Definitions by grammar, with our own queries (those that the grammars ship miss constants, count prototypes and leave
//! bodies out). The grammars are C and read foreign text: only the context service and the command line come here (I6).

use std::cmp::Reverse;
use std::ops::{ControlFlow, Range};

use ::tree_sitter::{
    Node, ParseOptions, Parser, Query, QueryCursor, QueryCursorOptions, QueryError, StreamingIterator, Tree,
};

use super::heuristic::Heuristic;
use super::{Definitions, Extractor};
use crate::definition::{Definition, Kind};
use crate::language::Language;

/// A parser or query asks this often whether to go on; a megabyte of usual source asks some ten thousand times. Text made
/// to stall a parser ends here, and is read by its looks instead.
const MAX_STEPS: u32 = 200_000;

/// Definitions that a query may have begun and not yet ended.
const MAX_OPEN_MATCHES: u32 = 1_024;

/// A query of ours does not fit its grammar.
#[derive(Debug, thiserror::Error)]
#[error("the query for {language:?} does not fit its grammar: {source}")]
pub struct BadQuery {
    language: Language,
    source: QueryError,
}

/// Finds definitions by grammar where there is one, else by their looks.
pub struct TreeSitter {
    grammars: Vec<Grammar>,
}

struct Grammar {
    language: Language,
    parser: ::tree_sitter::Language,
    query: Query,
    /// What each capture of the query is.
    captures: Vec<Capture>,
}

#[derive(Clone, Copy)]
enum Capture {
    Name,
    Container,
    Definition(Kind),
}

const ECMASCRIPT: &str = include_str!("queries/ecmascript.scm");
const TYPESCRIPT: &str = include_str!("queries/typescript.scm");

impl TreeSitter {
    /// Loads the grammars.
    pub fn new() -> Result<Self, BadQuery> {
        let typescript = format!("{ECMASCRIPT}{TYPESCRIPT}");
        let grammars = [
            (Language::Rust, tree_sitter_rust::LANGUAGE, include_str!("queries/rust.scm")),
            (Language::Python, tree_sitter_python::LANGUAGE, include_str!("queries/python.scm")),
            (Language::Go, tree_sitter_go::LANGUAGE, include_str!("queries/go.scm")),
            (Language::JavaScript, tree_sitter_javascript::LANGUAGE, ECMASCRIPT),
            (Language::TypeScript, tree_sitter_typescript::LANGUAGE_TYPESCRIPT, &typescript),
            (Language::Tsx, tree_sitter_typescript::LANGUAGE_TSX, &typescript),
            (Language::Java, tree_sitter_java::LANGUAGE, include_str!("queries/java.scm")),
            (Language::C, tree_sitter_c::LANGUAGE, include_str!("queries/c.scm")),
        ]
        .into_iter()
        .map(|(language, parser, query)| Grammar::new(language, parser.into(), query))
        .collect::<Result<_, _>>()?;
        Ok(Self { grammars })
    }
}

impl Extractor for TreeSitter {
    fn definitions(&self, language: Language, text: &str) -> Definitions {
        let grammar = self.grammars.iter().find(|grammar| grammar.language == language);
        grammar
            .and_then(|grammar| grammar.definitions(text))
            .unwrap_or_else(|| Heuristic.definitions(language, text))
    }
}

impl Grammar {
    fn new(language: Language, parser: ::tree_sitter::Language, query: &str) -> Result<Self, BadQuery> {
        let query = Query::new(&parser, query).map_err(|source| BadQuery { language, source })?;
        let captures = query.capture_names().iter().map(|name| match *name {
            "name" => Capture::Name,
            "container" => Capture::Container,
            kind => Capture::Definition(Kind::from_word(kind).unwrap_or(Kind::Constant)),
        });
        let captures = captures.collect();
        Ok(Self { language, parser, query, captures })
    }

    /// `None` if the text takes more work than source does.
    fn definitions(&self, text: &str) -> Option<Definitions> {
        let tree = self.parse(text)?;
        let mut steps = Steps(0);
        let mut may_go_on = |_: &_| steps.next();
        let mut cursor = QueryCursor::new();
        cursor.set_match_limit(MAX_OPEN_MATCHES);
        let options = QueryCursorOptions::new().progress_callback(&mut may_go_on);
        let mut matches =
            cursor.matches_with_options(&self.query, tree.root_node(), text.as_bytes(), options);
        let mut found = Vec::new();
        while let Some(one) = matches.next() {
            let captured = one
                .captures()
                .iter()
                .filter_map(|capture| Some((*self.captures.get(capture.index as usize)?, capture.node)));
            found.extend(definition(captured, text));
        }
        drop(matches);
        // Where two patterns fit one definition, the kind that says more stands.
        found.sort_by_key(|(bytes, definition)| (bytes.start, Reverse(bytes.end), definition.kind));
        found.dedup_by(|(a, later), (b, earlier)| a == b && later.name == earlier.name);
        let exact = !tree.root_node().has_error() && !cursor.did_exceed_match_limit() && steps.are_left();
        Some(Definitions { list: found.into_iter().map(|(_, definition)| definition).collect(), exact })
    }

    fn parse(&self, text: &str) -> Option<Tree> {
        let mut parser = Parser::new();
        parser.set_language(&self.parser).ok()?;
        let mut steps = Steps(0);
        let mut may_go_on = |_: &_| steps.next();
        let options = ParseOptions::new().progress_callback(&mut may_go_on);
        let rest = |at: usize, _| text.as_bytes().get(at..).unwrap_or(&[]);
        parser.parse_with_options(&mut { rest }, None, Some(options))
    }
}

struct Steps(u32);

impl Steps {
    fn next(&mut self) -> ControlFlow<()> {
        self.0 += 1;
        if self.are_left() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn are_left(&self) -> bool {
        self.0 < MAX_STEPS
    }
}

fn definition<'a>(
    captured: impl Iterator<Item = (Capture, Node<'a>)>,
    text: &str,
) -> Option<(Range<usize>, Definition)> {
    let word = |node: Node<'_>| text.get(node.byte_range()).unwrap_or("").to_owned();
    let (mut name, mut container, mut whole) = (None, String::new(), None);
    for (capture, node) in captured {
        match capture {
            Capture::Name => name = Some(word(node)),
            Capture::Container => container = word(node),
            Capture::Definition(kind) => whole = Some((kind, node)),
        }
    }
    let (kind, node) = whole?;
    let (start, end) = (node.start_position(), node.end_position());
    // A node that ends at the beginning of a line ends with the line before.
    let end_row = if end.column == 0 && end.row > start.row { end.row - 1 } else { end.row };
    let start_line = u32::try_from(start.row + 1).ok()?;
    let end_line = u32::try_from(end_row + 1).ok()?;
    Some((node.byte_range(), Definition { name: name?, kind, container, start_line, end_line }))
}
