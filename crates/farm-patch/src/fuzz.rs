//! What the fuzzers run: every reader alone, and the engine as a whole. Nothing here may panic, whatever the bytes are.

use crate::format::{begin_patch, blocks, json, unified, whole};
use crate::reply::Lines;
use crate::source::{File, Limits, Mode, Request, Source};
use crate::{Outcome, apply};

/// One file that every path means.
struct Everywhere<'a>(&'a [u8]);

impl Source for Everywhere<'_> {
    fn read(&self, path: &str) -> Option<File> {
        (!path.contains('/')).then(|| File { content: self.0.to_vec(), mode: Mode::Regular })
    }
}

/// Gives the bytes as a reply, read line by line by one reader: it answers with the line after what it has read.
fn each_line(bytes: &[u8], mut read: impl FnMut(&Lines, usize) -> Option<usize>) {
    let text = String::from_utf8_lossy(bytes);
    let lines = Lines::new(&text, &Everywhere(b"a\nb\n"));
    let mut at = 0;
    while at < lines.len() {
        let next = read(&lines, at).unwrap_or(at + 1);
        assert!(next > at, "a reader stands still");
        at = next;
    }
}

pub fn unified(bytes: &[u8]) {
    each_line(bytes, |lines, at| {
        unified::opens(lines, at).then(|| unified::read(lines, at).ok()).flatten().map(|read| read.1)
    });
}

pub fn blocks(bytes: &[u8]) {
    each_line(bytes, |lines, at| {
        blocks::opens(lines.get(at)).then(|| blocks::read(lines, at, None).ok()).flatten().map(|read| read.1)
    });
}

pub fn begin_patch(bytes: &[u8]) {
    each_line(bytes, |lines, at| {
        begin_patch::opens(lines, at).then(|| begin_patch::read(lines, at).ok()).flatten().map(|read| read.1)
    });
}

pub fn whole(bytes: &[u8]) {
    each_line(bytes, |lines, at| {
        lines.opens_fence(at).then(|| whole::read(lines, at).ok()).flatten().map(|read| read.1)
    });
}

pub fn json(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Whether it is one is other tests' affair.
    drop(json::whole_reply(&text, &Everywhere(b"a\n")));
}

/// The first NUL parts the file from the reply. What is applied once is applied, or refused, when it comes again.
pub fn engine(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (file, reply) = (&bytes[..cut], String::from_utf8_lossy(&bytes[cut..]));
    let request =
        Request { reply: reply.trim_start_matches('\0'), path: Some("x"), limits: Limits::default() };
    if let Ok(Outcome::Applied(patch)) = apply(&request, &Everywhere(file)) {
        assert!(!patch.files.is_empty(), "a patch changes nothing");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Gives the replies of the conformance corpus, and what the fuzzers have found.
    fn inputs() -> Vec<Vec<u8>> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        walk(&root.join("corpus"), &mut files);
        files.retain(|path| path.ends_with("reply"));
        walk(&root.join("fuzz/corpus"), &mut files);
        files.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    #[test]
    fn every_target_takes_the_corpus() {
        let inputs = inputs();
        assert!(inputs.len() >= 200, "only {} inputs were found", inputs.len());
        for input in &inputs {
            for target in
                [super::unified, super::blocks, super::begin_patch, super::whole, super::json, super::engine]
            {
                target(input);
                target(&input[..input.len() / 2]);
                target(&[b"a\nb\nc\n\0", input.as_slice()].concat());
            }
        }
    }
}
