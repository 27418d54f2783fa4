//! The lines of a text, as byte ranges, numbered from 1.

/// A text cut at each line feed. A last line feed ends the last line; it does not begin another.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let after_feeds = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after_feeds).filter(|start| *start < text.len()).collect();
        Self { text, starts }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// One line without its line feed; empty outside the text.
    pub(crate) fn get(&self, line: u32) -> &'a str {
        self.span(line, line)
    }

    /// The lines `first..=last` with the feeds between them, without the last one.
    pub(crate) fn span(&self, first: u32, last: u32) -> &'a str {
        let start_of = |line: u32| self.starts.get((line as usize).wrapping_sub(1)).copied();
        let Some(start) = start_of(first) else { return "" };
        let end = start_of(last.saturating_add(1)).unwrap_or(self.text.len());
        let span = self.text.get(start..end).unwrap_or("");
        span.strip_suffix('\n').unwrap_or(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_an_editor_counts() {
        for (text, expect) in [
            ("", vec![]),
            ("\n", vec![""]),
            ("a", vec!["a"]),
            ("a\n", vec!["a"]),
            ("a\n\nb\r\nc", vec!["a", "", "b\r", "c"]),
        ] {
            let lines = Lines::of(text);
            let found: Vec<_> = (1..=lines.count()).map(|line| lines.get(line)).collect();
            assert_eq!(found, expect, "{text:?}");
        }
    }

    #[test]
    fn a_span_keeps_the_feeds_inside() {
        let lines = Lines::of("a\nb\nc\n");
        assert_eq!(lines.span(1, 2), "a\nb");
        assert_eq!(lines.span(3, 9), "c");
        assert_eq!(lines.span(0, 2), "");
        assert_eq!(lines.span(3, 1), "");
    }
}
