//! Cuts a file into chunks: the pieces that are scored and shown. A chunk belongs to one definition (with the comment above
//! it) or to none, and is never longer than a snippet may be, unless one line alone is.

use std::cmp::Reverse;

use crate::definition::{Definition, Kind};
use crate::lines::Lines;

/// The most that one snippet holds: 600 tokens of about four bytes.
pub(crate) const MAX_CHUNK_BYTES: usize = 2_400;

/// Lines that belong to no definition are cut into windows of this many.
const WINDOW_LINES: usize = 40;

/// A file with more definitions is a table; the rest stays unnamed.
const MAX_DEFINITIONS: usize = 20_000;

/// A comment above a definition is taken along up to this length.
const MAX_COMMENT_LINES: u32 = 30;

const NOBODY: u32 = u32::MAX;

/// Consecutive lines of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) start_line: u32,
    pub(crate) end_line: u32,
    /// Index of the definition that it is of.
    pub(crate) definition: Option<u32>,
}

/// Puts definitions into reading order, each inside its parent, and names the container of those that have none.
pub(crate) fn nest(mut definitions: Vec<Definition>, n_lines: u32) -> Vec<Definition> {
    definitions.retain(|d| 1 <= d.start_line && d.start_line <= d.end_line && d.end_line <= n_lines);
    definitions.sort_by_key(|definition| (definition.start_line, Reverse(definition.end_line)));
    definitions.truncate(MAX_DEFINITIONS);
    let mut open: Vec<(u32, usize)> = Vec::new();
    for index in 0..definitions.len() {
        let (before, rest) = definitions.split_at_mut(index);
        let Some(definition) = rest.first_mut() else { break };
        close_before(&mut open, definition.start_line, definition.end_line);
        if let Some(parent) = open.last().and_then(|(_, parent)| before.get(*parent)) {
            definition.end_line = definition.end_line.min(parent.end_line);
            let container = if parent.kind.is_container() { &parent.name } else { &parent.container };
            if definition.container.is_empty() {
                definition.container.clone_from(container);
            }
            if definition.kind == Kind::Function && parent.kind.has_methods() {
                definition.kind = Kind::Method;
            }
        }
        open.push((definition.end_line, index));
    }
    definitions
}

/// Drops what ended before a definition of these lines begins. On a shared line (`} else_fn() {`) the later one wins.
fn close_before<T>(open: &mut Vec<(u32, T)>, start: u32, end: u32) {
    while open
        .last()
        .is_some_and(|(open_end, _)| *open_end < start || (*open_end == start && *open_end < end))
    {
        open.pop();
    }
}

/// For each line (index 0 is line 1) the innermost definition that chunks follow: a function inside a function is a part
/// of it, a method inside a class stands for itself.
pub(crate) fn owners(definitions: &[Definition], lines: &Lines<'_>) -> Vec<Option<u32>> {
    let n_lines = lines.count();
    let mut owners = vec![NOBODY; n_lines as usize];
    let mut parents = vec![NOBODY; definitions.len()];
    let mut open: Vec<(u32, u32)> = Vec::new();
    let mut next = 0;
    for line in 1..=n_lines {
        while let Some(definition) = definitions.get(next).filter(|d| d.start_line <= line) {
            close_before(&mut open, definition.start_line, definition.end_line);
            let parent = open.last().map_or(NOBODY, |(_, parent)| *parent);
            let stands_alone =
                definitions.get(parent as usize).is_none_or(|parent| parent.kind.is_container());
            if stands_alone
                && !is_detail(definition)
                && let Ok(index) = u32::try_from(next)
            {
                parents[next] = parent;
                open.push((definition.end_line, index));
            }
            next += 1;
        }
        while open.last().is_some_and(|(end, _)| *end < line) {
            open.pop();
        }
        owners[line as usize - 1] = open.last().map_or(NOBODY, |(_, index)| *index);
    }
    take_comments(definitions, &parents, lines, &mut owners);
    owners.into_iter().map(|owner| (owner != NOBODY).then_some(owner)).collect()
}

/// A constant of a line or two is shown with its neighbours.
fn is_detail(definition: &Definition) -> bool {
    let is_small = definition.end_line - definition.start_line < 3;
    is_small && matches!(definition.kind, Kind::Constant | Kind::Type)
}

/// Gives the comments and attributes above a definition to it.
fn take_comments(definitions: &[Definition], parents: &[u32], lines: &Lines<'_>, owners: &mut [u32]) {
    for (index, definition) in definitions.iter().enumerate() {
        let first = definition.start_line;
        let Some(owner) = owners.get(first as usize - 1).copied().filter(|owner| *owner as usize == index)
        else {
            continue;
        };
        for line in (first.saturating_sub(MAX_COMMENT_LINES).max(1)..first).rev() {
            let at = line as usize - 1;
            if owners[at] != parents[index] || !is_comment(lines.get(line)) {
                break;
            }
            owners[at] = owner;
        }
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "/*", "*", "#", "@", "--", "template<", "template <"].iter().any(|start| line.starts_with(start))
}

/// Cuts a text into chunks.
pub(crate) fn chunks(definitions: &[Definition], lines: &Lines<'_>) -> Vec<Chunk> {
    join_heads(cut(&owners(definitions, lines), lines), definitions, lines)
}

/// Cuts the lines into chunks by owner and size, without blank lines at their ends.
fn cut(owners: &[Option<u32>], lines: &Lines<'_>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < owners.len() {
        let owner = owners[start];
        let mut end = start;
        let mut bytes = 0;
        while end < owners.len() && owners[end] == owner {
            bytes += line_at(lines, end).len() + 1;
            let full = bytes > MAX_CHUNK_BYTES || (owner.is_none() && end - start >= WINDOW_LINES);
            if full && end > start {
                break;
            }
            end += 1;
        }
        let is_blank = |at: &usize| line_at(lines, *at).trim().is_empty();
        let first = (start..end).find(|at| !is_blank(at));
        let last = (start..end).rev().find(|at| !is_blank(at));
        // Closing braces alone are no chunk.
        let says_something = (start..end).any(|at| line_at(lines, at).contains(char::is_alphanumeric));
        if let (true, Some(first), Some(last)) =
            (says_something, first.and_then(number), last.and_then(number))
        {
            chunks.push(Chunk { start_line: first, end_line: last, definition: owner });
        }
        start = end;
    }
    chunks
}

/// A container's head of a line or two, such as `impl Session {`, says little alone: it goes with what it opens.
fn join_heads(chunks: Vec<Chunk>, definitions: &[Definition], lines: &Lines<'_>) -> Vec<Chunk> {
    let definition_of = |chunk: &Chunk| definitions.get(chunk.definition? as usize);
    let mut joined: Vec<Chunk> = Vec::with_capacity(chunks.len());
    for mut chunk in chunks {
        let head = joined.last().copied().filter(|head| {
            let (Some(outer), Some(inner)) = (definition_of(head), definition_of(&chunk)) else {
                return false;
            };
            let is_head = head.end_line - head.start_line < 2 && outer.start_line <= head.end_line;
            let opens = outer.kind.is_container() && head.definition != chunk.definition;
            is_head && opens && head.start_line <= outer.start_line && inner.end_line <= outer.end_line
        });
        if let Some(head) = head
            && lines.span(head.start_line, chunk.end_line).len() <= MAX_CHUNK_BYTES
        {
            joined.pop();
            chunk.start_line = head.start_line;
        }
        joined.push(chunk);
    }
    joined
}

fn line_at<'a>(lines: &Lines<'a>, index: usize) -> &'a str {
    number(index).map_or("", |line| lines.get(line))
}

fn number(index: usize) -> Option<u32> {
    u32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Kind;

    fn definition(name: &str, kind: Kind, start_line: u32, end_line: u32) -> Definition {
        Definition { name: name.into(), kind, container: String::new(), start_line, end_line }
    }

    fn pieces(text: &str, definitions: Vec<Definition>) -> Vec<(u32, u32, String)> {
        let lines = Lines::of(text);
        let definitions = nest(definitions, lines.count());
        chunks(&definitions, &lines)
            .into_iter()
            .map(|c| {
                let name = c.definition.map_or(String::new(), |d| definitions[d as usize].qualified());
                (c.start_line, c.end_line, name)
            })
            .collect()
    }

    #[test]
    fn methods_stand_for_themselves_and_inner_functions_do_not() {
        let text = "import x\n\nclass A:\n  w = 1\n  y = 1\n\n  # says\n  def f():\n    def g():\n      pass\n  z = 2\n";
        let found = pieces(
            text,
            vec![
                definition("g", Kind::Function, 9, 10),
                definition("A", Kind::Class, 3, 11),
                definition("f", Kind::Method, 8, 10),
            ],
        );
        let expect = [(1, 1, ""), (3, 5, "A"), (7, 10, "A.f"), (11, 11, "A")];
        assert_eq!(found, expect.map(|(start, end, name)| (start, end, name.to_owned())));
    }

    #[test]
    fn a_short_head_goes_with_what_it_opens() {
        let text = "impl A {\n  fn f() {\n  }\n\n  fn g() {\n  }\n}\n";
        let found = pieces(
            text,
            vec![
                definition("A", Kind::Implementation, 1, 7),
                definition("f", Kind::Function, 2, 3),
                definition("g", Kind::Function, 5, 6),
            ],
        );
        assert_eq!(found, [(1, 3, "A.f".into()), (5, 6, "A.g".into())]);
    }

    #[test]
    fn long_definitions_are_cut_and_stay_named() {
        let text = "x = 1; // a line of some length to fill the chunk\n".repeat(200);
        let found = pieces(&text, vec![definition("f", Kind::Function, 1, 200)]);
        assert!(found.len() > 2, "{found:?}");
        assert!(found.iter().all(|(start, end, name)| name == "f" && (end - start) < 60));
        assert_eq!(found.last().map(|c| c.1), Some(200));
    }

    #[test]
    fn definitions_that_share_a_line_do_not_swallow_each_other() {
        let text = "fn a() {\n} fn b() {\n}\n";
        let found =
            pieces(text, vec![definition("a", Kind::Function, 1, 2), definition("b", Kind::Function, 2, 3)]);
        assert_eq!(found, [(1, 1, "a".into()), (2, 3, "b".into())]);
    }

    #[test]
    fn spans_outside_the_file_are_dropped() {
        assert_eq!(
            pieces(
                "a\nb\n",
                vec![definition("x", Kind::Function, 0, 1), definition("y", Kind::Function, 2, 9)]
            ),
            [(1, 2, String::new())]
        );
    }
}
