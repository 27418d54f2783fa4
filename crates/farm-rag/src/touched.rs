//! Which definitions a change touches: what leases on symbols are about.

use std::collections::BTreeMap;

use crate::chunk;
use crate::definition::Definition;
use crate::extract::{Extractor, source_text};
use crate::language::Language;
use crate::lines::Lines;

/// Names the lines of a file that are in no definition: imports, attributes, statements of a script.
pub const TOP_LEVEL: &str = "(top level)";

/// What a change of one file touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Qualified names, sorted; [`TOP_LEVEL`] for what is in none.
    pub symbols: Vec<String>,
    /// Whether both sides were understood whole; if not, the whole file counts as touched and `symbols` is empty.
    pub known_language: bool,
}

/// Compares the definitions of two sides of a file; an empty side is a file that is not there. A definition is touched if
/// its own lines (comments above it among them, inner definitions of a container not) are not the same on both sides;
/// that it moved does not touch it.
pub(crate) fn touched(extractor: &dyn Extractor, path: &str, before: &[u8], after: &[u8]) -> Touched {
    let language = Language::of(path);
    let sides = [before, after].map(|content| own_lines(extractor, language, content));
    let [Some(before), Some(after)] = sides else { return Touched::default() };
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let mut symbols: Vec<String> = before.keys().chain(after.keys()).filter(differs).cloned().collect();
    symbols.sort_unstable();
    symbols.dedup();
    Touched { symbols, known_language: true }
}

/// Each qualified name with the lines that are its own, in order, those of definitions of the same name together.
fn own_lines(
    extractor: &dyn Extractor,
    language: Language,
    content: &[u8],
) -> Option<BTreeMap<String, Vec<String>>> {
    let text = source_text(content)?;
    let found = extractor.definitions(language, &text);
    if !found.exact {
        return None;
    }
    let lines = Lines::of(&text);
    let definitions = chunk::nest(found.list, lines.count());
    let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (line, owner) in (1..).zip(chunk::owners(&definitions, &lines)) {
        let code = lines.get(line).trim_end();
        if !code.is_empty() {
            let name = owner
                .and_then(|owner| definitions.get(owner as usize))
                .map_or_else(|| TOP_LEVEL.to_owned(), Definition::qualified);
            own.entry(name).or_default().push(code.to_owned());
        }
    }
    Some(own)
}
