//! Reading `git push --porcelain`: a line a ref, of flag, TAB, `from:to`, TAB, summary.

use crate::command::Output;

/// What was said of one ref.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Moved, made or deleted.
    Done,
    /// It stood there already.
    UpToDate,
    /// It did not stand where it should, as git saw before it sent anything.
    Stale,
    /// The remote did not move it.
    Rejected(String),
}

/// Finds a ref's line; `None` if nothing was said of it, or only that the pack could not be handled.
pub(super) fn report(output: &Output, name: &str) -> Option<Report> {
    let said = output.stderr.lines().filter(|line| line.starts_with("remote:"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
        if refs.rsplit_once(':')?.1 != name {
            return None;
        }
        match flag {
            " " | "+" | "*" | "-" => Some(Report::Done),
            "=" => Some(Report::UpToDate),
            _ if summary.contains("(stale info)") => Some(Report::Stale),
            _ if summary.contains("unpacker error") || summary.contains("failed to report status") => None,
            _ => {
                let words: Vec<&str> = std::iter::once(summary).chain(said.clone()).map(str::trim).collect();
                let clean = words.join("; ").chars().filter(|c| !c.is_control()).take(600).collect();
                Some(Report::Rejected(clean))
            }
        }
    })
}
