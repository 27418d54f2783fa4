//! Looks at what an edit adds: text that stands for code, markers of an edit format, a file that lost most of itself.

use std::collections::HashSet;

use crate::index::View;
use crate::refusal::{Code, Refusal};
use crate::text::is_weak;

/// Refuses added lines that are not code but talk about it. Lines that the file has already are its own affair.
pub(crate) fn added_lines<'a>(
    path: &str,
    base: Option<&View>,
    added: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let known: HashSet<&str> = base.iter().flat_map(|view| &view.lines).map(|line| line.trim()).collect();
    let suspects: Vec<&str> = added.filter(|line| !known.contains(line.trim())).collect();
    let refuse = |code, message: &str, line: &str| {
        Err(Refusal::new(code, message).file(path).expected(vec![line.to_owned()]))
    };
    let mut conflict = [None; 3];
    for (idx, line) in suspects.iter().enumerate() {
        if is_placeholder(
            path,
            line,
            suspects[..idx].iter().rev().find(|line| !line.trim().is_empty()).copied(),
        ) {
            return refuse(Code::Placeholder, "a new line stands for code that is not written out", line);
        }
        if is_edit_marker(path, line) {
            return refuse(Code::LeakedMarker, "a new line is a marker of an edit format", line);
        }
        for (slot, mark) in ["<<<<<<< ", "=======", ">>>>>>> "].iter().enumerate() {
            if line.starts_with(mark) {
                conflict[slot] = Some(*line);
            }
        }
    }
    match conflict {
        [Some(line), _, Some(_)] | [Some(line), Some(_), _] | [_, Some(_), Some(line)] => {
            refuse(Code::ConflictMarker, "new lines are merge conflict markers", line)
        }
        _ => Ok(()),
    }
}

fn suffix(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, suffix)| suffix)
}

/// Tells whether files with this suffix are text about code, in which dots are dots.
fn is_document(suffix: &str) -> bool {
    matches!(suffix, "md" | "markdown" | "mdx" | "rst" | "rdoc" | "txt" | "adoc" | "tex" | "org" | "textile")
}

/// Tells whether a line says that something is left out.
fn is_placeholder(path: &str, line: &str, above: Option<&str>) -> bool {
    const OPENERS: [&str; 8] = ["//", "#", "/*", "<!--", "--", ";", "%", "{/*"];
    let text = line.trim().to_lowercase().replace('\u{2026}', "...");
    if text == "..." {
        // A body of its own in Python, a mark of its own in YAML, mere text in documents.
        let suffix = suffix(path);
        let body = above.is_some_and(|above| above.trim_end().ends_with([':', '"', '\'']));
        return match suffix {
            "py" | "pyi" => !body && suffix == "py",
            "yml" | "yaml" | "out" | "stderr" | "stdout" | "snap" => false,
            _ => !is_document(suffix),
        };
    }
    // The last parameter of a variadic function, on a line of its own.
    let closes =
        text.strip_prefix("...").is_some_and(|rest| rest.bytes().all(|byte| b") ];,{".contains(&byte)));
    if closes && above.is_some_and(|above| above.trim_end().ends_with([',', '('])) {
        return false;
    }
    // More dots than three frame a listing in AsciiDoc and underline a title elsewhere.
    if text.len() > 3 && text.bytes().all(|byte| byte == b'.') {
        return false;
    }
    let bracketed = text.starts_with(['[', '(']) && text.ends_with([']', ')']);
    let Some(comment) = OPENERS
        .iter()
        .find_map(|opener| text.strip_prefix(opener))
        .or_else(|| (bracketed || text.starts_with("...")).then_some(text.as_str()))
    else {
        return false;
    };
    let dotted = comment.trim_start_matches(['/', '#', '*', '-', '!', ' ', '[', '(']).starts_with("...")
        || comment.trim_end_matches(['*', '/', '-', '>', '}', ' ', ')', ']', ';']).ends_with("...");
    let words = comment.trim_matches(|c: char| !c.is_alphanumeric());
    if words.is_empty() {
        return dotted && !is_document(suffix(path));
    }
    const ALWAYS: [&str; 16] = [
        "rest of the code",
        "rest of code",
        "rest of the file",
        "rest of file",
        "rest of the function",
        "rest of the class",
        "rest of the method",
        "rest of the implementation",
        "rest of your code",
        "remaining code",
        "existing code here",
        "omitted for brevity",
        "code unchanged",
        "remains unchanged",
        "remains the same",
        "same as before",
    ];
    const DOTTED: [&str; 9] = [
        "existing",
        "unchanged",
        "rest of",
        "remaining",
        "omitted",
        "previous",
        "same as",
        "other ",
        "your code",
    ];
    ALWAYS.iter().any(|phrase| words.contains(phrase)) && (dotted || words.split_whitespace().count() <= 9)
        || dotted
            && DOTTED.iter().any(|phrase| words.starts_with(phrase) || words.contains(&format!(" {phrase}")))
}

fn is_edit_marker(path: &str, line: &str) -> bool {
    let text = line.trim_end();
    let is_patch_file = matches!(suffix(path), "diff" | "patch" | "rej");
    let marker = |sign: char, words: [&str; 2]| {
        let rest = text.trim_start_matches(sign);
        text.len() - rest.len() >= 5 && words.contains(&rest.trim())
    };
    let words = ["SEARCH", "ORIGINAL"];
    let ends = ["REPLACE", "UPDATED"];
    let blocks = marker('<', words) || marker('-', words) || marker('>', ends) || marker('+', ends);
    let numbered = text.strip_prefix("@@ -").is_some_and(|rest| rest.contains(" +") && rest.contains(" @@"));
    let patch = text.starts_with("diff --git a/") || numbered;
    let begin =
        ["*** Begin Patch", "*** End Patch", "*** Update File: ", "*** Add File: ", "*** Delete File: "];
    blocks || begin.iter().any(|start| text.starts_with(start)) || patch && !is_patch_file
}

/// Refuses a whole new content that keeps only a fragment of the file.
pub(crate) fn fragment(path: &str, base: &View, new: &View) -> Result<(), Refusal> {
    const SMALL: usize = 10;
    let strong = |view: &View| view.lines.iter().filter(|line| !is_weak(line)).count();
    let (n_old, n_new) = (strong(base), strong(new));
    if n_old < SMALL && n_new > 0 || n_old == 0 {
        return Ok(());
    }
    let kept: HashSet<&str> = new.lines.iter().map(|line| line.trim()).collect();
    let telling = || base.lines.iter().map(|line| line.trim()).filter(|line| !is_weak(line));
    let loses_head = telling().take(3).all(|line| !kept.contains(line));
    let loses_tail = telling().rev().take(3).all(|line| !kept.contains(line));
    let keeps_some = telling().any(|line| kept.contains(line));
    if 2 * n_new < n_old || 5 * n_new < 4 * n_old && loses_head && loses_tail && keeps_some {
        return Err(Refusal::new(
            Code::Fragment,
            format!("the new content has {n_new} lines of substance, the file has {n_old}"),
        )
        .file(path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str, base: &str, added: &[&str]) -> Option<Code> {
        let view = View::new(base.as_bytes());
        added_lines(path, Some(&view), added.iter().copied()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn placeholders_are_told_from_code() {
        for line in [
            "...",
            "    // ... existing code ...",
            "# ... rest of the code ...",
            "// rest of the code remains the same",
            "/* ... */",
            "<!-- existing content ... -->",
            "    // … unchanged …",
            "# (rest of the file unchanged)",
            "[... rest of the function ...]",
            "// ... other methods ...",
        ] {
            assert_eq!(code("a.rs", "", &[line]), Some(Code::Placeholder), "{line}");
            assert_eq!(code("a.rs", line, &[line]), None, "{line} is the file's own");
        }
        for line in [
            "let a = [..b];",
            "f(...args);",
            "// waits for the existing lock",
            "# loading...",
            "println!(\"...\");",
            "..",
            "....",
            "// make another request to confirm that it can be reused...",
            "// and so on",
        ] {
            assert_eq!(code("a.js", "", &[line]), None, "{line}");
        }
        assert_eq!(code("a.py", "", &["def f():", "    ..."]), None);
        assert_eq!(code("a.py", "", &["x = 1", "..."]), Some(Code::Placeholder));
        assert_eq!(code("a.md", "", &["..."]), None);
        assert_eq!(code("a.rdoc", "", &["  # ..."]), None);
        assert_eq!(code("a.md", "", &["<!-- existing content ... -->"]), Some(Code::Placeholder));
    }

    #[test]
    fn markers_are_told_from_text() {
        for line in [
            "<<<<<<< SEARCH",
            ">>>>>>> REPLACE",
            "*** End Patch",
            "@@ -1,2 +1,3 @@",
            "diff --git a/x b/x",
            "+++++++ REPLACE",
        ] {
            assert_eq!(code("a.rs", "", &[line]), Some(Code::LeakedMarker), "{line}");
        }
        assert_eq!(code("fix.patch", "", &["@@ -1,2 +1,3 @@"]), None);
        assert_eq!(
            code("a.rs", "", &["<<<<<<< HEAD", "a", "=======", "b", ">>>>>>> other"]),
            Some(Code::ConflictMarker)
        );
        assert_eq!(code("a.rst", "", &["Title", "======="]), None);
    }

    #[test]
    fn a_fragment_is_told_from_a_rewrite() {
        let old: String = (0..20).map(|n| format!("line {n}\n")).collect();
        let part: String = (6..15).map(|n| format!("line {n}\n")).collect();
        let more: String = (5..17).map(|n| format!("line {n}\n")).collect();
        let check =
            |new: &str| fragment("a", &View::new(old.as_bytes()), &View::new(new.as_bytes())).is_err();
        assert!(check(&part) && check(&more) && check(""));
        assert!(!check(&old) && !check(&old.replace("line 3\n", "")));
    }
}
