//! Words and lines.

/// Words: whatever white space separates.
pub fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Lines, each ended by a newline.
pub fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// The longest line, in characters.
pub fn longest_line(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_any_white_space() {
        assert_eq!(words("one two\n\tthree "), 3);
        assert_eq!(words(""), 0);
    }

    #[test]
    fn lines_end_with_a_newline() {
        assert_eq!(lines("a\nb\n"), 2);
        assert_eq!(lines(""), 0);
    }

    #[test]
    fn the_longest_line_is_measured_in_characters() {
        assert_eq!(longest_line("a\näöü\nbb"), 3);
    }
}
