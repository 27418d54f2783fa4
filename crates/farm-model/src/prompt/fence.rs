//! Fences that the text between them cannot close.

/// The shortest fence; one longer than what models write themselves.
const LEAST: usize = 4;

/// A fenced text and the line above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) heading: &'a str,
    /// Where the text begins in the prompt.
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

/// `text` between two lines of backticks that are longer than every run of backticks in it.
pub(super) fn fenced(text: &str) -> String {
    let fence = "`".repeat(LEAST.max(longest_run(text) + 1));
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}\n{text}{newline}{fence}\n")
}

/// Names and short texts on one line: nothing in them can begin a line, hence no fence and no heading.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// Text that stands outside fences, such as a goal, without lines that would open one.
pub(super) fn unfenced(text: &str) -> String {
    let lines = text.split('\n').map(|line| if is_fence(line.trim_end_matches('\r')) { "```" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_fence(line: &str) -> bool {
    line.len() >= LEAST && line.bytes().all(|byte| byte == b'`')
}

/// The fenced texts of a prompt, as a careful reader sees them.
pub(crate) fn blocks(prompt: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut heading = "";
    let mut open: Option<(&str, usize)> = None;
    let mut position = 0;
    for whole_line in prompt.split_inclusive('\n') {
        let line = whole_line.strip_suffix('\n').unwrap_or(whole_line);
        let start = position;
        position += whole_line.len();
        match open {
            Some((fence, text_start)) if line == fence => {
                blocks.push(Block { heading, start: text_start, text: &prompt[text_start..start] });
                open = None;
            }
            Some(_) => {}
            None if is_fence(line) => open = Some((line, position)),
            None => heading = line,
        }
    }
    blocks
}

/// Where the lines of `needle` first end outside all fences.
pub(crate) fn find_outside(prompt: &str, needle: &str) -> Option<usize> {
    let blocks = blocks(prompt);
    let inside =
        |at: usize| blocks.iter().any(|block| (block.start..block.start + block.text.len()).contains(&at));
    prompt.match_indices(needle).map(|(at, _)| at).find(|at| !inside(at + needle.len() - 1))
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for byte in text.bytes() {
        run = if byte == b'`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fenced_text_comes_back_whole(text in "[`a\r\n ]{0,60}", after in "[`a\n]{0,5}") {
            let prompt = format!("heading\n{}behind {after}", fenced(&text));
            let first = blocks(&prompt)[0];
            prop_assert_eq!(first.heading, "heading");
            let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            prop_assert_eq!(first.text, format!("{text}{newline}"));
        }
    }
}
