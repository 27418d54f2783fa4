//! Gives new lines the file's own punctuation, where the reply spelled it differently.

use super::Placement;
use crate::edit::{Hunk, Kind, Line};
use crate::index::View;
use crate::refusal::{Code, Refusal};
use crate::text::{is_typographic_quote, plain, plain_punctuation};

/// Rewrites the new lines of a contiguous match that starts at `start`.
///
/// Where the reply has typographic characters that the file does not, they are the transport's, and the new lines lose them
/// too. Where the file has them and the reply does not, a new line gets back those that stand in the part it shares with the
/// line it replaces.
pub(super) fn restore(hunk: &Hunk, view: &View, start: usize, place: &mut Placement) -> Result<(), Refusal> {
    let mut foreign: Vec<char> = Vec::new();
    for (line, have) in hunk.before().zip(&view.lines[start..]) {
        foreign.extend(line.text.chars().filter(|c| plain_punctuation(*c).is_some() && !have.contains(*c)));
    }
    let quotes_are_foreign = foreign.iter().any(|c| is_typographic_quote(*c));
    let window = &view.lines[start..start + hunk.before().count()];
    let is_foreign = |c: char| {
        foreign.contains(&c)
            || quotes_are_foreign && is_typographic_quote(c) && !window.iter().any(|have| have.contains(c))
    };

    let mut file_line = start;
    let mut n_done = 0;
    for run in hunk.lines.chunk_by(|a, b| (a.kind == Kind::Keep) == (b.kind == Kind::Keep)) {
        let dropped: Vec<&Line> = run.iter().filter(|line| line.kind == Kind::Drop).collect();
        let added: Vec<&Line> = run.iter().filter(|line| line.kind == Kind::Add).collect();
        let old = &view.lines
            [file_line..file_line + if added.len() == run.len() { 0 } else { run.len() - added.len() }];
        let lost = dropped.iter().zip(old).any(|(line, have)| {
            have.chars().any(|c| plain_punctuation(c).is_some() && !line.text.contains(c))
        });
        if lost && !added.is_empty() && added.len() != dropped.len() {
            return Err(Refusal::new(
                Code::NoMatch,
                "the file has typographic characters where the edit has plain ones",
            )
            .hint("copy the quotation marks, dashes and ellipses of the file exactly"));
        }
        for (idx, line) in added.iter().enumerate() {
            let text = match (lost, dropped.get(idx), old.get(idx)) {
                (true, Some(dropped), Some(have)) => shared_parts(&dropped.text, have, &line.text),
                _ => line.text.clone(),
            };
            place.added[n_done].text =
                text.chars().map(|c| if is_foreign(c) { plain_or_same(c) } else { c.to_string() }).collect();
            n_done += 1;
        }
        file_line += old.len();
    }
    Ok(())
}

fn plain_or_same(character: char) -> String {
    plain_punctuation(character).map_or_else(|| character.to_string(), str::to_owned)
}

/// Takes the common beginning and end of `said` and `new` from `have`, the line as the file spells it.
fn shared_parts(said: &str, have: &str, new: &str) -> String {
    let same = |(a, b): &(char, char)| a == b;
    let n_head: usize = said.chars().zip(new.chars()).take_while(same).map(|(a, _)| a.len_utf8()).sum();
    let n_tail: usize = said[n_head..]
        .chars()
        .rev()
        .zip(new[n_head..].chars().rev())
        .take_while(same)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let head_end = spelled(have, &said[..n_head]);
    let tail_len = have.len() - spelled(have, &said[..said.len() - n_tail]).unwrap_or(have.len());
    match head_end {
        Some(head_end) if head_end + tail_len <= have.len() => {
            let tail = if spelled(have, &said[..said.len() - n_tail]).is_some() {
                &have[have.len() - tail_len..]
            } else {
                &said[said.len() - n_tail..]
            };
            format!("{}{}{tail}", &have[..head_end], &new[n_head..new.len() - n_tail])
        }
        _ => new.to_owned(),
    }
}

/// Gives the length of the prefix of `have` that reads like `said` in plain characters.
fn spelled(have: &str, said: &str) -> Option<usize> {
    let wanted = plain(said);
    let mut length = 0;
    for (at, character) in have.char_indices() {
        if length == wanted.len() {
            return Some(at);
        }
        length += plain_punctuation(character).map_or(character.len_utf8(), str::len);
    }
    (length == wanted.len()).then_some(have.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_parts_keep_the_files_spelling() {
        let have = "// it\u{2019}s the \u{201c}old\u{201d} way\u{2026}";
        let said = "// it's the \"old\" way...";
        assert_eq!(
            shared_parts(said, have, "// it's the \"new\" way..."),
            "// it\u{2019}s the \u{201c}new\u{201d} way\u{2026}"
        );
        assert_eq!(shared_parts(said, have, "gone"), "gone");
        assert_eq!(shared_parts(said, have, "// it's mine"), "// it\u{2019}s mine");
    }
}
