//! Files in memory, as a source and as the result of a patch.

use std::collections::BTreeMap;

use farm_patch::{File, Limits, Mode, Op, Outcome, Refusal, Request, Source, apply};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) BTreeMap<String, (Vec<u8>, u32)>);

impl Source for Files {
    fn read(&self, path: &str) -> Option<File> {
        self.0
            .get(path)
            .map(|(content, mode)| File { content: content.clone(), mode: Mode::from_bits(*mode) })
    }
}

impl Files {
    pub(crate) fn of(files: &[(&str, &str)]) -> Files {
        Files(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (text.as_bytes().to_vec(), 0o100_644)))
                .collect(),
        )
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.0[path].0).into_owned()
    }

    pub(crate) fn apply(&self, reply: &str) -> Result<Outcome, Refusal> {
        apply(&Request { reply, path: None, limits: Limits::default() }, self)
    }

    /// Gives the files as they are after an outcome.
    pub(crate) fn after(&self, outcome: &Outcome) -> Files {
        let mut files = self.clone();
        if let Outcome::Applied(patch) = outcome {
            for change in &patch.files {
                if change.op == Op::Rename {
                    files.0.remove(change.from.as_deref().unwrap());
                }
                match &change.content {
                    Some(content) => {
                        files.0.insert(change.path.clone(), (content.clone(), change.mode.bits()))
                    }
                    None => files.0.remove(&change.path),
                };
            }
        }
        files
    }
}
