//! Text to terms: identifiers whole and in their parts, with a light stem, so that `parseHTTPHeader`, `parse_http_header`
//! and "parsing headers" meet.

/// Longer runs of letters and digits are data (hashes, base64), not names.
const MAX_WORD_BYTES: usize = 64;

/// A term, as its hash: an index holds no strings. Two terms that collide only blur a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(u32);

impl Term {
    fn of(word: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in word.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        #[allow(clippy::cast_possible_truncation)] // Folding is the point.
        Self((hash ^ (hash >> 32)) as u32)
    }
}

/// The terms of `text`, in order.
pub(crate) fn terms(text: &str) -> Vec<Term> {
    let mut found = Vec::new();
    each_word(text, |word| found.push(Term::of(word)));
    found
}

/// The runs of letters, digits and underscores in `text`.
pub(crate) fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Gives each stemmed part of each identifier and, where it has several parts, the identifier as one word.
fn each_word(text: &str, mut give: impl FnMut(&str)) {
    let mut whole = String::new();
    let mut part = String::new();
    for identifier in identifiers(text).filter(|word| word.len() <= MAX_WORD_BYTES) {
        whole.clear();
        let mut n_parts = 0;
        for piece in parts(identifier) {
            part.clear();
            part.extend(piece.chars().flat_map(char::to_lowercase));
            whole.push_str(&part);
            n_parts += 1;
            if part.chars().nth(1).is_some() {
                give(stem(&mut part));
            }
        }
        if n_parts > 1 {
            give(&whole);
        }
    }
}

/// Splits `parseHTTPHeader_2` into `parse`, `HTTP`, `Header`, `2`.
fn parts(identifier: &str) -> impl Iterator<Item = &str> {
    identifier.split('_').flat_map(CamelParts).filter(|part| !part.is_empty())
}

struct CamelParts<'a>(&'a str);

impl<'a> Iterator for CamelParts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let mut chars = self.0.char_indices().peekable();
        let mut before: Option<char> = None;
        let mut end = self.0.len();
        while let Some((at, c)) = chars.next() {
            let after = chars.peek().map(|(_, c)| *c);
            let starts_part = c.is_uppercase()
                && before.is_some_and(|before| {
                    !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
                });
            if starts_part {
                end = at;
                break;
            }
            before = Some(c);
        }
        let (part, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(part)
    }
}

/// Takes off the endings that English and code share: plural, `-ing`, `-ed` and a last `e`. Only what keeps a vowel and
/// three letters is taken off, so that `string` and `red` stay what they are.
fn stem(word: &mut String) -> &str {
    if !word.is_ascii() || word.len() < 4 {
        return word;
    }
    if word.len() > 4 && word.ends_with("ies") {
        word.truncate(word.len() - 3);
        word.push('y');
    } else if word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end)) {
        word.truncate(word.len() - 1);
    }
    for ending in ["ing", "ed"] {
        let Some(rest) = word.strip_suffix(ending) else { continue };
        if rest.len() >= 3 && rest.bytes().any(|b| b"aeiouy".contains(&b)) {
            let keep = rest.len();
            word.truncate(keep);
            undouble(word);
            break;
        }
    }
    if word.len() > 3 && word.ends_with('e') {
        word.truncate(word.len() - 1);
    }
    word
}

/// `runn` to `run`, but `call`, `pass` and `add` stay.
fn undouble(word: &mut String) {
    let bytes = word.as_bytes();
    if let [.., a, b] = bytes
        && a == b
        && bytes.len() > 3
        && !b"lsz".contains(b)
    {
        word.truncate(word.len() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_word(text, |word| found.push(word.to_owned()));
        found
    }

    #[test]
    fn an_identifier_gives_its_parts_and_itself() {
        for (text, expect) in [
            ("parse_header", vec!["pars", "header", "parseheader"]),
            ("parseHTTPHeaders", vec!["pars", "http", "header", "parsehttpheaders"]),
            ("HTTPServer", vec!["http", "server", "httpserver"]),
            ("L031", vec!["l031"]),
            ("x", vec![]),
            ("__init__", vec!["init"]),
            ("utf8", vec!["utf8"]),
            ("Straße_groß", vec!["straße", "groß", "straßegroß"]),
            ("a-b, cd.ef()", vec!["cd", "ef"]),
        ] {
            assert_eq!(words(text), expect, "{text}");
        }
    }

    #[test]
    fn inflections_meet() {
        for group in [
            ["parse", "parses", "parsed", "parsing"].as_slice(),
            &["run", "runs", "running"],
            &["call", "calls", "called", "calling"],
            &["retry", "retries"],
            &["add", "adds", "adding", "added"],
            &["cache", "caches", "cached", "caching"],
            &["commit", "commits", "committed", "committing"],
        ] {
            let stems: Vec<_> = group.iter().map(|word| words(word)).collect();
            assert!(stems.windows(2).all(|pair| pair[0] == pair[1]), "{group:?}: {stems:?}");
        }
        for kept in ["string", "red", "bus", "pass", "this", "ring"] {
            assert_eq!(words(kept), [kept]);
        }
    }

    #[test]
    fn data_is_not_a_word() {
        assert!(words(&"A".repeat(65)).is_empty());
        assert_eq!(words(&"a".repeat(64)).len(), 1);
    }
}
