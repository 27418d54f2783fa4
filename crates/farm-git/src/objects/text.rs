//! A delta as text, for people and for models. Nothing is ever applied from it.

use std::fmt::Write;

use farm_core::delta::{Entry, FileMode, PathChange, TreeDelta};
use git2::{DiffOptions, Patch, Repository};

use crate::error::GitError;
use crate::objects::{Objects, id, load};

/// A larger file is named with its sizes, not shown.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A unified diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffText {
    /// The text; bytes that are no UTF-8 are replaced. It may hold terminal controls: escape it where it is shown.
    pub text: String,
    /// Whether it was cut at the limit.
    pub truncated: bool,
}

impl Objects {
    /// Shows `delta` as a unified diff of at most `limit` bytes.
    pub fn unified_diff(&self, delta: &TreeDelta, limit: usize) -> Result<DiffText, GitError> {
        self.with(|repo| {
            let mut text = String::new();
            for change in &delta.changes {
                show(repo, change, &mut text)?;
                if text.len() > limit {
                    let mut end = limit;
                    while !text.is_char_boundary(end) {
                        end -= 1;
                    }
                    text.truncate(end);
                    return Ok(DiffText { text, truncated: true });
                }
            }
            Ok(DiffText { text, truncated: false })
        })
    }
}

fn show(repo: &Repository, change: &PathChange, text: &mut String) -> Result<(), GitError> {
    let path = &change.path;
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    line(format_args!("diff --git a/{path} b/{path}"));
    match (&change.old, &change.new) {
        (None, Some(new)) => line(format_args!("new file mode {:o}", new.mode.bits())),
        (Some(old), None) => line(format_args!("deleted file mode {:o}", old.mode.bits())),
        (Some(old), Some(new)) if old.mode != new.mode => {
            line(format_args!("old mode {:o}", old.mode.bits()));
            line(format_args!("new mode {:o}", new.mode.bits()));
        }
        _ => {}
    }
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && old.oid == new.oid
    {
        return Ok(());
    }
    let (Some(old), Some(new)) = (content(repo, change.old.as_ref())?, content(repo, change.new.as_ref())?)
    else {
        let size = |side: &Option<Entry>| side.as_ref().map_or(0, |entry| entry.size);
        line(format_args!("Binary or large file: {} -> {} bytes", size(&change.old), size(&change.new)));
        return Ok(());
    };
    let side = |prefix: char, entry: &Option<Entry>| match entry {
        Some(_) => format!("{prefix}/{path}"),
        None => "/dev/null".to_owned(),
    };
    if old != new {
        line(format_args!("--- {}", side('a', &change.old)));
        line(format_args!("+++ {}", side('b', &change.new)));
    }
    hunks(&old, &new, text)
}

/// The text of one side; `None` if it is not to be shown.
fn content(repo: &Repository, entry: Option<&Entry>) -> Result<Option<Vec<u8>>, GitError> {
    let Some(entry) = entry else { return Ok(Some(Vec::new())) };
    if entry.mode == FileMode::Submodule {
        return Ok(Some(format!("Subproject commit {}\n", entry.oid).into_bytes()));
    }
    if entry.size > MAX_FILE_BYTES {
        return Ok(None);
    }
    let bytes = load(repo, id(&entry.oid)?)?;
    Ok(Some(bytes).filter(|bytes| !bytes.iter().take(8000).any(|byte| *byte == 0)))
}

fn hunks(old: &[u8], new: &[u8], text: &mut String) -> Result<(), GitError> {
    let showing = || GitError::object("compare two blobs");
    let mut options = DiffOptions::new();
    options.context_lines(3).force_text(true);
    let patch = Patch::from_buffers(old, None, new, None, Some(&mut options)).map_err(showing())?;
    for hunk in 0..patch.num_hunks() {
        let (header, lines) = patch.hunk(hunk).map_err(showing())?;
        text.push_str(&String::from_utf8_lossy(header.header()));
        for i in 0..lines {
            let line = patch.line_in_hunk(hunk, i).map_err(showing())?;
            if matches!(line.origin(), ' ' | '+' | '-') {
                text.push(line.origin());
            }
            text.push_str(&String::from_utf8_lossy(line.content()));
        }
    }
    Ok(())
}
