//! The samples as git has them.

use farm_demo::samples::{SAMPLES, SampleError};
use tempfile::TempDir;

use crate::{checks, git};

#[test]
fn every_machine_builds_the_same_commits_with_the_same_files() {
    for sample in SAMPLES {
        let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (first, second) = (sample.build(one.path()).unwrap(), sample.build(two.path()).unwrap());
        assert_eq!(first.commit, second.commit, "{}", sample.name);
        assert_eq!(first.path, one.path().join(format!("{}.git", sample.name)));
        assert_eq!(git::ok(&first.path, &["symbolic-ref", "HEAD"]), "refs/heads/main");
        git::ok(&first.path, &["fsck", "--strict"]);
        let listed = git::ok(&first.path, &["ls-tree", "-r", "main", "--format=%(objectmode) %(path)"]);
        let files: Vec<_> = sample
            .files
            .iter()
            .map(|file| format!("{} {}", if file.executable { "100755" } else { "100644" }, file.path))
            .collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), files);
        for file in sample.files {
            let content = git::run(&first.path, &["cat-file", "blob", &format!("main:{}", file.path)]).stdout;
            assert!(content == file.content.as_bytes(), "{} {}", sample.name, file.path);
        }
    }
}

#[test]
fn nothing_is_built_over_what_is_there() {
    let folder = TempDir::new().unwrap();
    SAMPLES[1].build(folder.path()).unwrap();
    assert!(matches!(SAMPLES[1].build(folder.path()), Err(SampleError::Exists { .. })));
    let absent = folder.path().join("file");
    std::fs::write(&absent, "").unwrap();
    assert!(matches!(SAMPLES[1].build(&absent), Err(SampleError::Failed { step: "init", .. })));
}

#[test]
fn every_check_is_green_before_anything_changes() {
    let folder = TempDir::new().unwrap();
    for sample in SAMPLES {
        let built = sample.build(folder.path()).unwrap();
        git::ok(folder.path(), &["clone", "-q", built.path.to_str().unwrap(), sample.name]);
        let tree = folder.path().join(sample.name);
        assert!(!checks::of(&tree).is_empty());
        assert_eq!(checks::failures(&tree), [], "{}", sample.name);
    }
}
