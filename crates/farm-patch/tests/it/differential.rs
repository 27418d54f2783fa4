//! Where git applies a diff exactly, so does the engine, to the same files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use farm_patch::{Code, Outcome};

use crate::corpus::{cases, read_tree};
use crate::files::Files;

/// Refusals of what git would write, but nobody should ask for: the detectors, paths, modes and what is no text.
const ON_PURPOSE: [Code; 14] = [
    Code::Placeholder,
    Code::LeakedMarker,
    Code::ConflictMarker,
    Code::PathInvalid,
    Code::PathMismatch,
    Code::CaseCollision,
    Code::Conflict,
    Code::Symlink,
    Code::Submodule,
    Code::Mode,
    Code::Binary,
    Code::Encoding,
    Code::AmbiguousReply,
    Code::Truncated,
];

/// Replies that git reads otherwise than a person would: it drops lines beyond the count, and writes what nobody may have meant.
const READ_OTHERWISE: [&str; 2] = ["reply/lines-beyond-the-count", "ladder/typography-that-nothing-explains"];

fn write_tree(files: &Files, root: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for (path, (content, mode)) in &files.0 {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if *mode == 0o120_000 {
            symlink(String::from_utf8_lossy(content).as_ref(), place).unwrap();
            continue;
        }
        fs::write(&place, content).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(mode & 0o777)).unwrap();
    }
}

/// Gives what git makes of a reply that is a diff as it stands; `None` where it refuses, or searches for a place.
fn by_git(before: &Files, reply: &str, scratch: &Path) -> Option<Files> {
    let work = scratch.join("work");
    fs::create_dir_all(&work).unwrap();
    write_tree(before, &work);
    fs::write(scratch.join("reply"), reply).unwrap();
    let done = Command::new("git")
        .args(["apply", "--verbose", "../reply"])
        .current_dir(&work)
        .env("GIT_CEILING_DIRECTORIES", scratch)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.success() && !said.contains("offset") && !said.contains("Skipped")).then(|| read_tree(&work))
}

#[test]
fn what_git_applies_exactly_comes_out_the_same() {
    let scratch = std::env::temp_dir().join(format!("farm-patch-differential-{}", std::process::id()));
    let mut n_exact = 0;
    let mut failures = Vec::new();
    for (number, case) in cases().iter().enumerate() {
        let reply = fs::read_to_string(case.join("reply")).unwrap();
        if READ_OTHERWISE.iter().any(|name| case.ends_with(name)) {
            continue;
        }
        if !reply.starts_with("--- ") && !reply.starts_with("diff --git ") || case.join("path").exists() {
            continue;
        }
        let before = read_tree(&case.join("before"));
        let Some(want) = by_git(&before, &reply, &scratch.join(number.to_string())) else { continue };
        n_exact += 1;
        match before.apply(&reply) {
            Ok(outcome) if before.after(&outcome) == want => {}
            Ok(Outcome::Unchanged(_)) if want == before => {}
            Err(refusal) if ON_PURPOSE.contains(&refusal.code) => {}
            other => failures.push(format!("{}: {other:?}", case.display())),
        }
    }
    fs::remove_dir_all(&scratch).unwrap();
    assert!(n_exact >= 15, "git applied only {n_exact} of the corpus");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
