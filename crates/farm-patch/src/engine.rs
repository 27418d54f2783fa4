//! From a reply to the new contents: read all, place all, and only then answer.

mod file;
mod sections;
mod typography;

use crate::index::Budget;
use crate::patch::{FileChange, Outcome, Patch};
use crate::refusal::{Code, Refusal};
use crate::reply;
use crate::source::{Limits, Request, Source};
use sections::Section;

/// What one section comes to.
pub(crate) enum Effect {
    Change(FileChange),
    /// The file reads as asked already. A removal of what is not there proves little, so it is `sure` of nothing.
    Already {
        path: String,
        sure: bool,
    },
}

/// Applies a reply to the files of a source: all of it, or nothing (I4).
pub fn apply(request: &Request, source: &dyn Source) -> Result<Outcome, Refusal> {
    let limits = request.limits;
    if request.reply.len() > limits.max_reply_bytes {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("the reply has more than {} bytes", limits.max_reply_bytes),
        ));
    }
    let edits = reply::read(request.reply, source)?;
    let mut sections = sections::settle(edits, request, source)?;
    typography::straighten(&mut sections, source)?;
    let budget = Budget::new(limits.max_comparisons);
    budget.grant(request.reply.lines().count());
    work_out(&sections, source, &limits, &budget)
}

/// Works out all sections within one budget.
fn work_out(
    sections: &[Section],
    source: &dyn Source,
    limits: &Limits,
    budget: &Budget,
) -> Result<Outcome, Refusal> {
    let mut files = Vec::new();
    let mut done = Vec::new();
    for section in sections {
        match file::effect(section, source, limits, budget).map_err(|refusal| refusal.file(&section.path))? {
            Effect::Change(change) => files.push(change),
            Effect::Already { path, sure } => done.push((path, sure)),
        }
    }
    if files.is_empty() {
        let mut paths: Vec<String> = done.into_iter().map(|(path, _)| path).collect();
        paths.sort();
        return Ok(Outcome::Unchanged(paths));
    }
    if let Some((path, _)) = done.iter().find(|(_, sure)| !sure) {
        return Err(Refusal::new(Code::NoSuchFile, "the file to be removed is not there").file(path));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Outcome::Applied(Patch { files }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{File, Mode};

    struct OneFile(String);

    impl Source for OneFile {
        fn read(&self, path: &str) -> Option<File> {
            (path == "x").then(|| File { content: self.0.clone().into_bytes(), mode: Mode::Regular })
        }
    }

    /// Gives the line comparisons that a reply costs, whatever it comes to.
    fn work(reply: &str, file: &str) -> u64 {
        let source = OneFile(file.to_owned());
        let request = Request { reply, path: None, limits: Limits::default() };
        let sections = sections::settle(reply::read(reply, &source).unwrap(), &request, &source).unwrap();
        let budget = Budget::new(u64::MAX);
        budget.grant(reply.lines().count());
        // Whether the reply is applied or refused is other tests' affair.
        drop(work_out(&sections, &source, &request.limits, &budget));
        Budget::BASE + Budget::PER_LINE * (reply.lines().count() + file.lines().count()) as u64
            - budget.left()
    }

    /// Long hunks that fit almost everywhere in a file of equal lines: a naive search compares each line of the one with each of the other.
    #[test]
    fn work_grows_like_the_input() {
        const N: usize = 40_000;
        let equal = "a\n".repeat(N);
        let in_turn = "a\nb\n".repeat(N / 2);
        let spaced = "a\n\n".repeat(N / 2);
        let shapes = [
            (&equal, format!("{}-b\n+c\n", " a\n".repeat(N / 4))),
            (&equal, format!("{}-a \n+c\n", " a\n".repeat(N / 4))),
            (&equal, format!("{}-a \n+c\n", " a  \n".repeat(N / 4))),
            (&equal, format!("{0} new\n{0}", " a\n".repeat(N / 8))),
            (&in_turn, format!("{}-b\n+c\n", " a\n b\n".repeat(N / 8))),
            (&in_turn, format!("{}-b \n+c\n", " a\n b\n".repeat(N / 8))),
            (&in_turn, format!("{0} ...\n{0}-a\n+c\n", " a\n b\n".repeat(N / 16))),
            (&spaced, format!("{}-a\n+c\n", " a\n".repeat(N / 8))),
        ];
        for (file, hunk) in shapes {
            let reply = format!("```diff\n--- a/x\n+++ b/x\n@@ @@\n{hunk}```\n");
            let n_lines = (reply.lines().count() + file.lines().count()) as u64;
            let spent = work(&reply, file);
            assert!(spent > n_lines / 100, "nothing was counted in {}", &hunk[..20]);
            assert!(spent <= 150 * n_lines, "{spent} comparisons for {n_lines} lines of {}", &hunk[..20]);
        }
    }
}
