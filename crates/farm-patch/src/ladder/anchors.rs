//! Lines that the reply names above a place, as in `@@ class A`: the place stands in the block that such a line opens.

use std::ops::Range;

use crate::edit::Hunk;
use crate::index::{Budget, View};
use crate::refusal::{Code, Refusal};

/// Narrows candidates to those that the anchors allow: inside the anchored block if any is, else below it.
pub(super) fn narrowed(
    hunk: &Hunk,
    view: &View,
    candidates: Vec<usize>,
    budget: &Budget,
) -> Result<Vec<usize>, Refusal> {
    if hunk.anchors.is_empty() {
        return Ok(candidates);
    }
    let blocks = blocks(hunk, view, budget)?;
    let inside: Vec<usize> = candidates.iter().copied().filter(|at| holds(&blocks, *at)).collect();
    if !inside.is_empty() {
        return Ok(inside);
    }
    let first = blocks.first().map_or(0, |block| block.start);
    Ok(candidates.into_iter().filter(|at| *at >= first).collect())
}

/// Tells whether a place stands in an anchored block.
pub(super) fn allow(hunk: &Hunk, view: &View, start: usize, budget: &Budget) -> bool {
    hunk.anchors.is_empty() || blocks(hunk, view, budget).is_ok_and(|blocks| holds(&blocks, start))
}

/// Finds the blocks, by indentation, that open with the innermost anchor inside the outer ones; rising.
fn blocks(hunk: &Hunk, view: &View, budget: &Budget) -> Result<Vec<Range<usize>>, Refusal> {
    let mut blocks: Vec<Range<usize>> = std::iter::once(0..view.lines.len()).collect();
    for anchor in &hunk.anchors {
        let wanted = anchor.trim();
        let equal = view.lines_like(view.key(wanted)).iter().map(|at| *at as usize);
        let mut heads: Vec<usize> = equal.filter(|at| view.lines[*at].trim() == wanted).collect();
        if heads.is_empty() {
            budget.spend(view.lines.len())?;
            heads = (0..view.lines.len()).filter(|at| view.lines[*at].trim().starts_with(wanted)).collect();
        }
        heads.retain(|head| holds(&blocks, *head));
        if heads.is_empty() {
            let message = "the line that the edit is anchored to is not in the file";
            return Err(Refusal::new(Code::NoMatch, message).expected(vec![anchor.clone()]));
        }
        blocks.clear();
        for head in heads {
            // A block inside another adds nothing.
            if blocks.last().is_none_or(|outer: &Range<usize>| outer.end <= head) {
                blocks.push(head..block_end(view, head, budget)?);
            }
        }
    }
    Ok(blocks)
}

/// Tells whether a line stands in one of the blocks, which rise and do not overlap.
fn holds(blocks: &[Range<usize>], line: usize) -> bool {
    let before = blocks.partition_point(|block| block.start <= line);
    before.checked_sub(1).is_some_and(|idx| line < blocks[idx].end)
}

fn block_end(view: &View, head: usize, budget: &Budget) -> Result<usize, Refusal> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(&view.lines[head]);
    let opens_another = |line: &str| {
        indent(line) <= depth
            && line.trim_start().starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '@')
    };
    let end =
        (head + 1..view.lines.len()).find(|at| opens_another(&view.lines[*at])).unwrap_or(view.lines.len());
    budget.spend(end - head)?;
    Ok(end)
}
