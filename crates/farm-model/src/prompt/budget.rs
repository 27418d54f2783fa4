//! Room in a prompt, and texts cut to it.

/// Bytes that a token stands for; about right for code and English.
const BYTES_PER_TOKEN: usize = 4;

/// A text is never cut below this: enough for a message and a line of code.
pub(super) const LEAST: usize = 400;

/// What is left of a prompt's room, in bytes.
pub(super) struct Room {
    left: usize,
}

impl Room {
    pub(super) fn new(tokens: usize) -> Self {
        Self { left: tokens.saturating_mul(BYTES_PER_TOKEN) }
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The `n`th part of what is left.
    pub(super) fn part(&self, n: usize) -> usize {
        self.left / n
    }
}

/// `text`, or its first whole lines and how much is missing, in about `max` bytes.
pub(super) fn cut_end(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = head(text, max);
    format!("{head}[{} bytes left out]\n", text.len() - head.len())
}

/// `text`, or its first and last lines and how much is missing between, in about `max` bytes. The end tells more.
pub(super) fn cut_middle(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = head(text, max / 3);
    let mut tail = text.len() - (max - max / 3).min(text.len());
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    // Begin with a whole line, unless that would leave nothing.
    if let Some(newline) = text[tail..].find('\n').filter(|newline| tail + newline + 1 < text.len()) {
        tail += newline + 1;
    }
    let tail = tail.max(head.len());
    format!("{head}[{} bytes left out]\n{}", tail - head.len(), &text[tail..])
}

/// The lines that end within the first `max` bytes.
pub(super) fn head(text: &str, max: usize) -> &str {
    let newline = text.as_bytes()[..max.min(text.len())].iter().rposition(|byte| *byte == b'\n');
    newline.map_or("", |newline| &text[..=newline])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_keep_whole_lines_and_say_what_is_missing() {
        assert_eq!(cut_end("ab\ncd\nef\n", 9), "ab\ncd\nef\n");
        assert_eq!(cut_end("ab\ncd\nef\n", 7), "ab\ncd\n[3 bytes left out]\n");
        assert_eq!(cut_end("abcdefgh", 3), "[8 bytes left out]\n");
        assert_eq!(cut_middle("a\nb\nc\nd\ne\nf\n", 6), "a\n[8 bytes left out]\nf\n");
        assert_eq!(cut_middle("äöüäöüäöü", 6), "[14 bytes left out]\nöü");
    }

    proptest! {
        #[test]
        fn cuts_are_short_and_never_panic(text in any::<String>(), max in 0usize..200) {
            prop_assert!(cut_end(&text, max).len() <= max + 40);
            prop_assert!(cut_middle(&text, max).len() <= max + 40);
        }
    }
}
