//! Which paths a reply may name: plain, relative, and nobody's trick into a git directory.

use crate::refusal::{Code, Refusal};

const MAX_PATH_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 255;

/// Checks a path and gives it in the one spelling that the engine uses, without a leading `./`.
pub(crate) fn clean(path: &str) -> Result<String, Refusal> {
    let refuse = |why: &str| {
        let shown: String = path.escape_debug().take(200).collect();
        Err(Refusal::new(Code::PathInvalid, format!("the path \"{shown}\" {why}")))
    };
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter;
    }
    if rest.is_empty() || rest.len() > MAX_PATH_BYTES {
        return refuse("is empty or too long");
    }
    if rest.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if rest.chars().any(is_invisible) {
        return refuse("holds an invisible character");
    }
    if rest.contains('\\') {
        return refuse("holds a backslash");
    }
    if rest.starts_with('/') || rest.starts_with('~') || has_drive(rest) {
        return refuse("is absolute");
    }
    for name in rest.split('/') {
        match name {
            "" => return refuse("holds an empty name"),
            "." | ".." => return refuse("holds a name of dots only"),
            _ if name.len() > MAX_NAME_BYTES => return refuse("holds a name that is too long"),
            _ if name != name.trim() => return refuse("holds a name that starts or ends with white space"),
            _ if is_git_directory(name) => return refuse("leads into a git directory"),
            _ => {}
        }
    }
    Ok(rest.to_owned())
}

/// Tells whether a name is `.git` for git or for a file system that folds names (NTFS, HFS+).
fn is_git_directory(name: &str) -> bool {
    let lower = name.to_lowercase();
    // NTFS: `.git::$INDEX_ALLOCATION` is `.git`, and so is `.git. .`
    let stem = lower.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem == ".git"
        || stem.strip_prefix("git~").is_some_and(|tail| tail.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tells whether a character shows nothing or turns the reading order: Unicode's default-ignorable ones and the bidirectional controls.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn has_drive(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

/// Decodes a path that git wrote as a C string (`"b/\303\274.rs"`); one without quotes is given back as it is.
pub(crate) fn unquote(raw: &str) -> Result<String, Refusal> {
    let refuse = || Refusal::new(Code::PathInvalid, format!("the quoted path {raw} cannot be decoded"));
    let Some(inner) = raw.strip_prefix('"') else {
        return Ok(raw.to_owned());
    };
    let inner = inner.strip_suffix('"').ok_or_else(refuse)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut input = inner.bytes().peekable();
    while let Some(byte) = input.next() {
        if byte == b'"' {
            return Err(refuse());
        }
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let decoded = match input.next().ok_or_else(refuse)? {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            quoted @ (b'"' | b'\\') => quoted,
            digit @ b'0'..=b'3' => {
                let mut value = digit - b'0';
                for _ in 0..2 {
                    let next = input.next().filter(|next| (b'0'..=b'7').contains(next)).ok_or_else(refuse)?;
                    value = value * 8 + (next - b'0');
                }
                value
            }
            _ => return Err(refuse()),
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

/// Gives the directories above a path, nearest last.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_pass() {
        for path in [
            "a",
            "src/lib.rs",
            ".github/workflows/ci.yml",
            "ü/日本.txt",
            ".gitignore",
            "a..b",
            "git~x",
            "dir with space/a b.c",
        ] {
            assert_eq!(clean(path).unwrap(), path);
        }
        assert_eq!(clean("././a/b").unwrap(), "a/b");
    }

    #[test]
    fn hostile_paths_do_not() {
        for path in [
            "",
            "./",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "C:/x",
            "c:x",
            "~/x",
            "a\\b",
            "..\\x",
            ".git/hooks/x",
            "./.git/x",
            "sub/.GIT/x",
            "git~1/x",
            ".git./x",
            ".git::$INDEX_ALLOCATION/x",
            ".g\u{200c}it/x",
            "a\0b",
            "a\nb",
            "a\x1b[31m",
            "a\u{202e}b",
            "\u{feff}a",
            " a",
            "a /b",
            "a\u{85}b",
        ] {
            assert_eq!(clean(path).unwrap_err().code, Code::PathInvalid, "{path:?}");
        }
        assert!(clean(&"a/".repeat(3000)).is_err());
        assert!(clean(&"a".repeat(256)).is_err());
    }

    #[test]
    fn quoted_paths_are_decoded_before_they_are_judged() {
        assert_eq!(unquote("\"a\\tb\\\\\\\"\"").unwrap(), "a\tb\\\"");
        assert_eq!(unquote("\"\\303\\274.rs\"").unwrap(), "ü.rs");
        assert_eq!(clean(&unquote("\"\\056git/hooks/x\"").unwrap()).unwrap_err().code, Code::PathInvalid);
        for raw in ["\"a", "\"a\\\"", "\"\\400\"", "\"\\18\"", "\"\\q\"", "\"a\"b\"", "\"\\377\""] {
            assert!(unquote(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_stays_inside(path in "\\PC{0,40}") {
            if let Ok(path) = clean(&path) {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.split('/').all(|name| !name.is_empty() && name != ".." && !name.eq_ignore_ascii_case(".git")));
                prop_assert_eq!(clean(&path).unwrap(), path);
            }
        }
    }
}
