//! A file as lines, with everything that must survive an edit: byte order mark, line endings, the end of the last line.

use std::borrow::Cow;

/// The byte order mark of UTF-8.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Lf,
    CrLf,
    /// The last line of a file without a final newline.
    None,
}

impl Ending {
    pub(crate) fn bytes(self) -> &'static [u8] {
        match self {
            Ending::Lf => b"\n",
            Ending::CrLf => b"\r\n",
            Ending::None => b"",
        }
    }
}

/// One line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextLine<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) ending: Ending,
}

/// A file's content, split.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bom: bool,
    pub(crate) lines: Vec<TextLine<'a>>,
    /// The ending that most lines have.
    pub(crate) usual: Ending,
    pub(crate) utf8: bool,
}

impl<'a> Text<'a> {
    pub(crate) fn split(content: &'a [u8]) -> Text<'a> {
        let (bom, body) = match content.strip_prefix(BOM) {
            Some(rest) => (true, rest),
            None => (false, content),
        };
        let lines: Vec<TextLine> = body
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| match (line.strip_suffix(b"\r\n"), line.strip_suffix(b"\n")) {
                (Some(bytes), _) => TextLine { bytes, ending: Ending::CrLf },
                (None, Some(bytes)) => TextLine { bytes, ending: Ending::Lf },
                (None, None) => TextLine { bytes: line, ending: Ending::None },
            })
            .collect();
        let n_crlf = lines.iter().filter(|line| line.ending == Ending::CrLf).count();
        let n_lf = lines.iter().filter(|line| line.ending == Ending::Lf).count();
        let usual = if n_crlf > n_lf { Ending::CrLf } else { Ending::Lf };
        Text { bom, lines, usual, utf8: std::str::from_utf8(body).is_ok() }
    }

    /// Tells whether the last line has its newline; a file without lines is taken to have it.
    pub(crate) fn ends_with_newline(&self) -> bool {
        self.lines.last().is_none_or(|line| line.ending != Ending::None)
    }

    /// Gives the ending for a line put in before line `gap`: that of its neighbour.
    pub(crate) fn ending_at(&self, gap: usize) -> Ending {
        let above = gap.checked_sub(1).and_then(|idx| self.lines.get(idx));
        [above, self.lines.get(gap)]
            .into_iter()
            .flatten()
            .map(|line| line.ending)
            .find(|ending| *ending != Ending::None)
            .unwrap_or(self.usual)
    }
}

/// Tells whether content is not text that lines can be changed in: NUL bytes near the start, as git decides it, or UTF-16.
pub(crate) fn is_binary(content: &[u8]) -> bool {
    content.iter().take(8000).any(|byte| *byte == 0)
        || content.starts_with(b"\xff\xfe")
        || content.starts_with(b"\xfe\xff")
}

/// Gives a line as text to be shown; foreign bytes become replacement characters.
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Writes into `key` what is left of a line when no rung of the ladder is to tell it from its relatives: no white space, plain punctuation.
///
/// Two lines that any rung takes for equal have equal keys, so one index by key finds all candidates.
pub(crate) fn loose_key(line: &str, key: &mut Vec<u8>) {
    key.clear();
    for character in line.chars() {
        if character.is_ascii() {
            if !character.is_ascii_whitespace() && character != '\x0b' {
                key.push(character as u8);
            }
        } else if let Some(plain) = plain_punctuation(character) {
            key.extend(plain.bytes().filter(|byte| *byte != b' '));
        } else if !character.is_whitespace() {
            key.extend(character.encode_utf8(&mut [0; 4]).bytes());
        }
    }
}

/// Gives the ASCII spelling of a typographic character.
pub(crate) fn plain_punctuation(character: char) -> Option<&'static str> {
    Some(match character {
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' => "'",
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{2026}' => "...",
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        _ => return None,
    })
}

/// Tells whether a character is one of the quotation marks that word processors put for plain ones.
pub(crate) fn is_typographic_quote(character: char) -> bool {
    matches!(plain_punctuation(character), Some("'" | "\""))
}

/// Writes typographic characters as ASCII.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match plain_punctuation(character) {
            Some(plain) => out.push_str(plain),
            None => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Splits a line into its indentation and the rest.
pub(crate) fn split_indent(line: &str) -> (&str, &str) {
    line.split_at(line.len() - line.trim_start_matches([' ', '\t']).len())
}

/// Tells whether a line says nothing that could tell one place from another: no letter and no digit.
pub(crate) fn is_weak(line: &str) -> bool {
    !line.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endings_are_told_apart() {
        let text = Text::split(b"\xef\xbb\xbfa\r\nb\nc\r\nd");
        assert!(text.bom && text.utf8 && !text.ends_with_newline());
        assert_eq!(text.usual, Ending::CrLf);
        assert_eq!(text.lines.iter().map(|line| line.bytes).collect::<Vec<_>>(), [b"a", b"b", b"c", b"d"]);
        assert_eq!(
            [text.ending_at(0), text.ending_at(2), text.ending_at(4)],
            [Ending::CrLf, Ending::Lf, Ending::CrLf]
        );
    }

    #[test]
    fn keys_forget_space_and_typography_only() {
        let loose_key = |line: &str| {
            let mut key = Vec::new();
            super::loose_key(line, &mut key);
            key
        };
        assert_eq!(loose_key("  a\u{201c}b\u{201d} \u{2026}\t"), loose_key("a\"b\"..."));
        assert_ne!(loose_key("a-b"), loose_key("ab"));
        assert_ne!(loose_key("é"), loose_key("e"));
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(content in prop::collection::vec(prop::sample::select(b"ab\r\n\xef\xbb\xbf\xff".to_vec()), 0..40)) {
            let text = Text::split(&content);
            let mut back = if text.bom { BOM.to_vec() } else { Vec::new() };
            for line in &text.lines {
                back.extend_from_slice(line.bytes);
                back.extend_from_slice(line.ending.bytes());
            }
            prop_assert_eq!(back, content);
        }
    }
}
