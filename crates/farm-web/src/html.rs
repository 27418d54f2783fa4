//! The only way into a page. Markup is `&'static str`, so it was written here; everything else is text and is escaped.

use std::fmt::{self, Display, Write};

/// A growing piece of HTML.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Appends markup.
    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Appends text, escaped for content and for quoted attributes alike.
    pub(crate) fn text(&mut self, text: impl Display) {
        // Writing to a string fails only if a `Display` of ours says so; what came until then is escaped.
        let _ = write!(Escaping(&mut self.0), "{text}");
    }

    /// Appends what is HTML already.
    pub(crate) fn html(&mut self, html: Html) {
        self.0.push_str(&html.0);
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Appends literals as markup and `(values)` as text.
macro_rules! put {
    ($out:expr;) => {};
    ($out:expr; ($text:expr) $($rest:tt)*) => { $out.text(&$text); $crate::html::put!($out; $($rest)*) };
    ($out:expr; $markup:literal $($rest:tt)*) => { $out.raw($markup); $crate::html::put!($out; $($rest)*) };
}
pub(crate) use put;

/// Whether a reader would not see this character, or would see others in another order because of it.
pub(crate) fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Soft hyphen, Arabic letter mark, Hangul fillers, Mongolian vowel separator.
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}' => true,
        // Zero-width characters, marks, line separators, bidirectional embeddings, overrides and isolates.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        // Byte-order mark, interlinear annotations, tags.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c if is_hidden(c) => write!(self.0, "{}", c.escape_unicode())?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// A moment as people read it, UTC: `2026-11-20 13:49:07`.
pub(crate) struct Moment(pub(crate) u64);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// The Gregorian date of a day since 1970-01-01: years are counted from March, so that the leap day is their last
/// (<https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let month_of_year = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month_of_year <= 2), month_of_year, day - (153 * month + 2) / 5 + 1)
}

/// A length of time as people read it.
pub(crate) struct Length(pub(crate) u64);

impl Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1000 => write!(f, "{ms} ms"),
            ms @ 1000..60_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 60_000..3_600_000 => write!(f, "{} min {} s", ms / 60_000, ms / 1000 % 60),
            ms => write!(f, "{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
        }
    }
}

/// Micro-dollars as people read them.
pub(crate) struct Dollars(pub(crate) u64);

impl Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:04}", self.0 / 1_000_000, self.0 % 1_000_000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.into_string()
    }

    /// What a browser makes of it.
    fn unescaped(html: &str) -> String {
        let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        pairs.iter().fold(html.to_owned(), |text, (entity, c)| text.replace(entity, c))
    }

    #[test]
    fn markup_bidi_and_terminal_controls_come_out_as_text() {
        for (text, html) in [
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("&lt;", "&amp;lt;"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\0\u{feff}\u{200b}", "\\u{0}\\u{feff}\\u{200b}"),
            ("zwei\n\tZeilen, größer", "zwei\n\tZeilen, größer"),
        ] {
            assert_eq!(escaped(text), html, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_markup_and_none_is_lost(text in any::<String>(), salt in "[<>&\"'\u{202e}\u{1b}a]{0,20}") {
            let text = format!("{text}{salt}");
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']), "{html}");
            prop_assert!(!html.chars().any(is_hidden), "{html:?}");
            let seen: String = text
                .chars()
                .map(|c| if is_hidden(c) { c.escape_unicode().to_string() } else { c.to_string() })
                .collect();
            prop_assert_eq!(unescaped(&html), seen);
        }

        #[test]
        fn dates_follow_each_other(day in 0_u64..3_000_000) {
            let ((y, m, d), next) = (date(day), date(day + 1));
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let length = match m { 2 => 28 + u64::from(leap), 4 | 6 | 9 | 11 => 30, _ => 31 };
            let expected = match (m, d) {
                (12, 31) => (y + 1, 1, 1),
                (m, d) if d == length => (y, m + 1, 1),
                (m, d) => (y, m, d + 1),
            };
            prop_assert_eq!(next, expected);
        }
    }

    #[test]
    fn moments_and_lengths_read_well() {
        assert_eq!(Moment(0).to_string(), "1970-01-01 00:00:00");
        assert_eq!(Moment(1_767_225_599_999).to_string(), "2025-12-31 23:59:59");
        for (ms, text) in [(7, "7 ms"), (1_250, "1.2 s"), (61_000, "1 min 1 s"), (7_260_000, "2 h 1 min")] {
            assert_eq!(Length(ms).to_string(), text);
        }
        assert_eq!(Dollars(1_234_560).to_string(), "$1.2345");
    }
}
