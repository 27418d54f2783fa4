//! Reads replies in JSON: `diff` or `patch`, `edits`, `files`, `newContent`.

mod node;

use crate::edit::{Ask, FileEdit, Hunk, NewText, PathName, Piece};
use crate::refusal::{Code, Refusal};
use crate::reply::{self, Lines};
use crate::source::Source;
use node::Node;

const PATH: &[&str] = &["path", "file", "file_path", "filePath", "filename"];
const SEARCH: &[&str] =
    &["search", "old", "old_string", "old_str", "oldString", "old_text", "oldText", "find", "original"];
const REPLACE: &[&str] = &[
    "replace",
    "new",
    "new_string",
    "new_str",
    "newString",
    "new_text",
    "newText",
    "replacement",
    "updated",
];
const CONTENT: &[&str] = &["content", "newContent", "new_content", "contents"];
const ALL: &[&str] = &["replace_all", "replaceAll"];
const DIFF: &[&str] = &["diff", "patch"];

/// Reads a reply that is one JSON value and nothing else; `None` if it is none, or holds no edit.
pub(crate) fn whole_reply(reply: &str, source: &dyn Source) -> Result<Option<Vec<FileEdit>>, Refusal> {
    let text = reply.trim_start_matches('\u{feff}').trim();
    if !text.starts_with('{') && !text.starts_with('[') {
        return Ok(None);
    }
    match serde_json::from_str::<Node>(text) {
        Ok(node) if is_answer(&node) => answer(&node, source).map(Some),
        Ok(_) => Ok(None),
        Err(error) if names_edit(text) && error.classify() != serde_json::error::Category::Syntax => {
            Err(unreadable(&error))
        }
        Err(_) => Ok(None),
    }
}

/// Reads a JSON value that starts on this line, in a fence or amid prose; gives the line after it.
pub(crate) fn embedded(reply: &str, lines: &Lines, at: usize) -> Result<(Vec<FileEdit>, usize), Refusal> {
    let from = lines.get(at).as_ptr() as usize - reply.as_ptr() as usize;
    let text = reply.get(from..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Node>();
    match values.next() {
        Some(Ok(node)) if is_answer(&node) => {
            let n_lines = text.get(..values.byte_offset()).unwrap_or_default().matches('\n').count();
            Ok((answer(&node, lines.source)?, at + n_lines + 1))
        }
        Some(Err(error)) if names_edit(text) => Err(unreadable(&error)),
        _ => Ok((Vec::new(), at + 1)),
    }
}

/// Tells whether broken JSON starts like an answer, so that it must not be passed over.
fn names_edit(text: &str) -> bool {
    let head: String = text.chars().take(2_000).collect();
    let opens = head.trim_start_matches(['{', '[', ' ', '\n', '\r', '\t']).starts_with('"');
    let keys =
        ["\"diff\"", "\"patch\"", "\"edits\"", "\"files\"", "\"newContent\"", "\"search\"", "\"old_string\""];
    opens && keys.iter().any(|key| head.contains(key))
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    let code = if error.is_eof() { Code::Truncated } else { Code::Malformed };
    Refusal::new(code, format!("the JSON cannot be read: {error}"))
        .hint("write valid JSON: escape newlines, quotes and backslashes in strings, and name every key once")
}

/// Tells whether a value has the shape of an answer, and is not a piece of somebody's configuration.
fn is_answer(node: &Node) -> bool {
    let objects =
        |items: &[Node]| !items.is_empty() && items.iter().all(|item| matches!(item, Node::Object(_)));
    match node {
        Node::Array(items) => {
            objects(items) && items.iter().all(|item| item.text(PATH).is_some() && is_edit(item))
        }
        Node::Object(_) => {
            node.text(DIFF).is_some()
                || matches!(node.get(&["edits"]), Some(Node::Array(items)) if objects(items))
                || matches!(node.get(&["files"]), Some(Node::Array(items)) if objects(items) && items.iter().all(is_edit))
                || matches!(node.get(&["files"]), Some(Node::Object(items)) if items.iter().all(|(_, text)| matches!(text, Node::Text(_))))
                || node.text(&["newContent", "new_content"]).is_some()
                || node.text(PATH).is_some() && is_edit(node)
        }
        _ => false,
    }
}

fn is_edit(node: &Node) -> bool {
    node.text(CONTENT).is_some()
        || node.text(SEARCH).is_some() && node.text(REPLACE).is_some()
        || node.text(DIFF).is_some()
}

fn answer(node: &Node, source: &dyn Source) -> Result<Vec<FileEdit>, Refusal> {
    if let Node::Array(items) = node {
        return items
            .iter()
            .map(|item| edit(item, None, source))
            .collect::<Result<Vec<_>, _>>()
            .map(|edits| edits.concat());
    }
    let path = node.text(PATH);
    let mut edits = Vec::new();
    if let Some(diff) = node.text(DIFF).filter(|diff| !diff.trim().is_empty()) {
        edits.extend(inner(diff, path, source)?);
    }
    for list in [node.get(&["edits"]), node.get(&["files"])].into_iter().flatten() {
        match list {
            Node::Array(items) => {
                for item in items {
                    edits.extend(edit(item, path, source)?);
                }
            }
            Node::Object(items) => {
                for (path, text) in items {
                    edits.push(write(
                        text.as_text().ok_or_else(|| malformed("a file has no content"))?,
                        Some(path),
                    ));
                }
            }
            Node::Null => {}
            _ => return Err(malformed("a list of edits is no list")),
        }
    }
    if let Some(content) = node.text(&["newContent", "new_content"]) {
        edits.push(write(content, path));
    } else if edits.is_empty() && is_edit(node) && node.text(DIFF).is_none() {
        edits.extend(edit(node, None, source)?);
    }
    if edits.is_empty() {
        return Err(Refusal::new(Code::NoEdit, "the JSON holds no edit"));
    }
    Ok(edits)
}

/// Reads one object of a list; `outer` is the path that holds for the whole list.
fn edit(node: &Node, outer: Option<&str>, source: &dyn Source) -> Result<Vec<FileEdit>, Refusal> {
    let path = node.text(PATH).or(outer);
    match (node.text(SEARCH), node.text(REPLACE), node.text(CONTENT), node.text(DIFF)) {
        (Some(search), Some(replace), None, None) => {
            let all = node.get(ALL).is_some_and(|all| matches!(all, Node::Bool(true)));
            Ok(vec![replacement(search, replace, all, path)])
        }
        (None, None, Some(content), None) => Ok(vec![write(content, path)]),
        (None, None, None, Some(diff)) => inner(diff, path, source),
        _ => Err(malformed("an edit needs either search and replace, or content, or a diff")),
    }
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(Code::Malformed, why)
}

fn named(path: Option<&str>) -> PathName {
    path.map_or(PathName::Unnamed, |path| PathName::Named(path.to_owned()))
}

fn write(content: &str, path: Option<&str>) -> FileEdit {
    let ask = Ask::Write(NewText { text: content.to_owned(), exact_end: false });
    FileEdit { path: named(path), from: None, ask, mode: None }
}

fn replacement(search: &str, replace: &str, all: bool, path: Option<&str>) -> FileEdit {
    let (old, new) = (lines_of(search), lines_of(replace));
    let ask = if search.trim().is_empty() {
        Ask::Create(NewText { text: replace.to_owned(), exact_end: false })
    } else {
        let mut hunk = Hunk::replace(1, &old, &new);
        hunk.piece = Some(Piece { search: search.to_owned(), replace: replace.to_owned(), all });
        Ask::Edit(vec![hunk])
    };
    FileEdit { path: named(path), from: None, ask, mode: None }
}

fn lines_of(text: &str) -> Vec<&str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n').filter(|_| !text.is_empty()).collect()
}

/// Reads an edit in another format inside a string.
fn inner(text: &str, path: Option<&str>, source: &dyn Source) -> Result<Vec<FileEdit>, Refusal> {
    let mut edits = reply::read_text(text, source)?;
    for edit in &mut edits {
        if edit.path == PathName::Unnamed {
            edit.path = named(path);
        }
    }
    Ok(edits)
}
