//! From a reply to the new contents: read all, place all, and only then answer.

mod file;
mod sections;
mod typography;

use crate::index::Budget;
use crate::patch::{FileChange, Outcome, Patch};
use crate::refusal::{Code, Refusal};
use crate::reply;
use crate::source::{Request, Source};

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

    let mut files = Vec::new();
    let mut done = Vec::new();
    for section in sections {
        match file::effect(&section, source, &limits, &budget)
            .map_err(|refusal| refusal.file(&section.path))?
        {
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
