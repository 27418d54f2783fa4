//! Reads a well-formed section a second time with unidiff: where two readers disagree, nobody knows what was meant.
//!
//! unidiff panics on numbers that overflow and reads what it does not know as nothing, so it is shown only sections whose headers and
//! counts our reader has found right.

use unidiff::PatchSet;

use crate::edit::{Hunk, Kind};
use crate::refusal::{Code, Refusal};

/// Refuses a section whose lines another reader takes otherwise.
pub(super) fn agrees(text: &str, hunks: &[Hunk]) -> Result<(), Refusal> {
    let disagree =
        || Refusal::new(Code::Disagreement, "a second reader of the diff takes its lines otherwise");
    let mut set = PatchSet::new();
    set.parse(text).map_err(|_| disagree())?;
    let [file] = set.files() else {
        return Err(disagree());
    };
    let same = file.hunks().len() == hunks.len()
        && file.hunks().iter().zip(hunks).all(|(theirs, ours)| same_lines(theirs, ours));
    if same { Ok(()) } else { Err(disagree()) }
}

fn same_lines(theirs: &unidiff::Hunk, ours: &Hunk) -> bool {
    let sign = |kind: Kind| match kind {
        Kind::Keep => " ",
        Kind::Drop => "-",
        Kind::Add => "+",
    };
    let theirs = theirs.lines().iter().filter(|line| line.line_type != "\\");
    theirs
        .map(|line| (line.line_type.as_str(), line.value.trim_end_matches('\r')))
        .eq(ours.lines.iter().map(|line| (sign(line.kind), line.text.trim_end_matches('\r'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Line;

    #[test]
    fn a_line_more_or_less_is_a_disagreement() {
        let text = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file";
        let lines = vec![Line::new(Kind::Keep, "a"), Line::new(Kind::Drop, "b"), Line::new(Kind::Add, "c")];
        let hunk = |lines: &[Line]| Hunk { lines: lines.to_vec(), ..Hunk::default() };
        assert!(agrees(text, &[hunk(&lines)]).is_ok());
        for wrong in [vec![hunk(&lines[..2])], vec![], vec![hunk(&lines), hunk(&lines)]] {
            assert_eq!(agrees(text, &wrong).unwrap_err().code, Code::Disagreement);
        }
    }
}
