//! Lines that the reply names above a place, as in `@@ class A`: the place stands in the block that such a line opens.

use crate::edit::Hunk;
use crate::index::View;
use crate::refusal::{Code, Refusal};

/// Narrows candidates to those that the anchors allow: inside the anchored block if any is, else below it.
pub(super) fn narrowed(hunk: &Hunk, view: &View, candidates: Vec<usize>) -> Result<Vec<usize>, Refusal> {
    if hunk.anchors.is_empty() {
        return Ok(candidates);
    }
    let blocks = blocks(hunk, view)?;
    let inside: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|at| blocks.iter().any(|(from, to)| from <= at && at < to))
        .collect();
    if !inside.is_empty() {
        return Ok(inside);
    }
    let first = blocks.iter().map(|(from, _)| *from).min().unwrap_or(0);
    Ok(candidates.into_iter().filter(|at| *at >= first).collect())
}

/// Tells whether a place stands in an anchored block.
pub(super) fn allow(hunk: &Hunk, view: &View, start: usize) -> bool {
    hunk.anchors.is_empty()
        || blocks(hunk, view)
            .is_ok_and(|blocks| blocks.iter().any(|(from, to)| *from <= start && start < *to))
}

/// Finds the blocks, by indentation, that open with the innermost anchor inside the outer ones.
fn blocks(hunk: &Hunk, view: &View) -> Result<Vec<(usize, usize)>, Refusal> {
    let mut blocks = vec![(0, view.lines.len())];
    for anchor in &hunk.anchors {
        let wanted = anchor.trim();
        let within = |idx: usize| blocks.iter().any(|(from, to)| *from <= idx && idx < *to);
        let equal = |test: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..view.lines.len()).filter(|idx| test(view.lines[*idx].trim()) && within(*idx)).collect()
        };
        let mut heads = equal(&|line| line == wanted);
        if heads.is_empty() {
            heads = equal(&|line| line.starts_with(wanted));
        }
        if heads.is_empty() {
            return Err(Refusal::new(
                Code::NoMatch,
                "the line that the edit is anchored to is not in the file",
            )
            .expected(vec![anchor.clone()]));
        }
        blocks = heads.into_iter().map(|head| (head, block_end(view, head))).collect();
    }
    Ok(blocks)
}

fn block_end(view: &View, head: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(&view.lines[head]);
    let opens_another = |line: &str| {
        indent(line) <= depth
            && line.trim_start().starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '@')
    };
    (head + 1..view.lines.len()).find(|idx| opens_another(&view.lines[*idx])).unwrap_or(view.lines.len())
}
