//! The conformance corpus: `corpus/<class>/<case>/` with `reply`, `before/`, and either `after/`, `unchanged` or `refusal`.
//!
//! `path` holds the task's path where a case needs one, `tier` the loosest tier that the case is about. `refusal` starts with the code.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use farm_patch::{Limits, Outcome, Request, apply};

use crate::files::Files;

/// Reads a folder as files, with modes and links.
pub(crate) fn read_tree(root: &Path) -> Files {
    fn walk(dir: &Path, prefix: &str, files: &mut BTreeMap<String, (Vec<u8>, u32)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes();
                files.insert(name, (target, 0o120_000));
            } else if kind.is_dir() {
                walk(&entry.path(), &format!("{name}/"), files);
            } else {
                let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
                let mode = if executable { 0o100_755 } else { 0o100_644 };
                files.insert(name, (fs::read(entry.path()).unwrap(), mode));
            }
        }
    }
    let mut files = BTreeMap::new();
    if root.exists() {
        walk(root, "", &mut files);
    }
    Files(files)
}

fn check(case: &Path) -> Result<(), String> {
    let text = |name: &str| fs::read_to_string(case.join(name)).ok();
    let reply = text("reply").ok_or("the case has no reply")?;
    let path = text("path");
    let before = read_tree(&case.join("before"));
    let request = Request { reply: &reply, path: path.as_deref().map(str::trim), limits: Limits::default() };
    let result = apply(&request, &before);
    if let Some(refusal) = text("refusal") {
        let wanted = refusal.split_whitespace().next().unwrap_or_default().to_owned();
        return match result {
            Err(refusal) if refusal.code.as_str() == wanted => Ok(()),
            Err(refusal) => Err(format!("refused with {}, not {wanted}: {refusal}", refusal.code)),
            Ok(outcome) => Err(format!("not refused with {wanted}: {:?}", before.after(&outcome))),
        };
    }
    let outcome = result.map_err(|refusal| refusal.describe())?;
    let unchanged = case.join("unchanged").exists();
    if unchanged != matches!(outcome, Outcome::Unchanged(_)) {
        return Err(format!("unchanged is {unchanged} in the case, but the outcome is {outcome:?}"));
    }
    let want = if unchanged { before.clone() } else { read_tree(&case.join("after")) };
    let have = before.after(&outcome);
    if have != want {
        return Err(format!("the files differ\n  want {}\n  have {}", shown(&want), shown(&have)));
    }
    if let (Some(tier), Outcome::Applied(patch)) = (text("tier"), &outcome) {
        let loosest = patch.files.iter().map(farm_patch::FileChange::tier).max().unwrap();
        if loosest.as_str() != tier.trim() {
            return Err(format!("the tier is {}, not {}", loosest.as_str(), tier.trim()));
        }
    }
    // Applying twice is applying once, or a refusal, and never a third thing.
    match apply(&request, &have) {
        Ok(again) if have.after(&again) != have => {
            Err(format!("applied twice: {}", shown(&have.after(&again))))
        }
        _ => Ok(()),
    }
}

fn shown(files: &Files) -> String {
    files
        .0
        .iter()
        .map(|(path, (content, mode))| format!("{path} {mode:o} {:?}; ", String::from_utf8_lossy(content)))
        .collect()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Gives the folders of all cases.
pub(crate) fn cases() -> Vec<PathBuf> {
    folders(&root()).iter().flat_map(|class| folders(class)).collect()
}

#[test]
fn every_case_of_the_corpus_holds() {
    let (root, cases) = (root(), cases());
    assert!(cases.len() >= 200, "only {} cases were found", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            check(case).err().map(|why| format!("{}: {why}", case.strip_prefix(&root).unwrap().display()))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
