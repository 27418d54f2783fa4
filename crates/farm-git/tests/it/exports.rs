//! Trees as files: complete, in place, and nowhere else.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use farm_core::delta::FileMode;
use farm_core::id::Oid;
use farm_git::error::GitError;
use farm_git::exports::Exports;
use farm_git::objects::{Content, ExportOptions, FileWrite, NewFile, Objects};
use rustix::fs::Mode;

use crate::support::{Lab, git, git_with, oid, put, write};

const BIG: u64 = 200 << 20;

fn objects(lab: &Lab) -> Objects {
    Objects::open(lab.bare()).unwrap()
}

fn tree(objects: &Objects, files: &[FileWrite]) -> Oid {
    objects.apply(&objects.empty_tree().unwrap(), files).unwrap()
}

/// A tree of entries that no tool would write, by their raw names.
fn raw_tree(lab: &Lab, entries: &[(&str, &[u8], &Oid)]) -> Oid {
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name);
        raw.push(0);
        let digits = id.as_str();
        raw.extend((0..20).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()));
    }
    oid(&git_with(&lab.bare(), &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &raw))
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn every_kind_of_entry_is_written_with_its_mode() {
    // A narrow umask, which the other tests of this process do not mind.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let lab = Lab::empty();
    let objects = objects(&lab);
    let module = NewFile { content: Content::Blob(oid(&"1".repeat(40))), mode: FileMode::Submodule };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let tree = tree(
        &objects,
        &[
            write("a/b/c.txt", "c"),
            put("a/run.sh", FileMode::Executable, b"#!/bin/sh\n"),
            put("up", FileMode::Link, b"../../etc/passwd"),
            put("abs", FileMode::Link, b"/etc/passwd"),
            put(b"caf\xe9", FileMode::Regular, b"x"),
            put("big.bin", FileMode::Regular, pointer),
            write("Case", "1"),
            write("case", "2"),
            write(".gitattributes", "*.txt filter=evil text eol=crlf\n"),
            FileWrite { path: "module".into(), new: Some(module) },
        ],
    );
    let dest = lab.dir.path().join("out");
    let done = objects.export(&tree, &dest, ExportOptions::default()).unwrap();
    assert_eq!((done.files, done.directories, done.skipped.as_slice()), (9, 3, &[][..]));
    assert_eq!(done.bytes, 1 + 10 + 1 + pointer.len() as u64 + 2 + 32);
    for (path, expected) in [
        ("", 0o755),
        ("a/b", 0o755),
        ("module", 0o755),
        ("a/b/c.txt", 0o644),
        ("a/run.sh", 0o755),
        ("Case", 0o644),
    ] {
        assert_eq!(mode(&dest.join(path)), expected, "{path}");
    }
    assert_eq!(std::fs::read_link(dest.join("up")).unwrap(), Path::new("../../etc/passwd"));
    assert_eq!(std::fs::read_link(dest.join("abs")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(std::fs::read(dest.join(std::ffi::OsStr::from_bytes(b"caf\xe9"))).unwrap(), b"x");
    assert_eq!(std::fs::read(dest.join("big.bin")).unwrap(), pointer);
    assert_eq!(std::fs::read(dest.join("case")).unwrap(), b"2");
    assert_eq!(std::fs::read_dir(dest.join("module")).unwrap().count(), 0);
    assert!(!dest.join(".git").exists());
    let again = objects.export(&tree, &dest, ExportOptions::default());
    assert!(matches!(again, Err(GitError::Io { .. })), "only into a fresh directory");
    assert!(dest.join("case").exists(), "which is not touched");
}

#[test]
fn a_hostile_tree_writes_nothing_outside() {
    let lab = Lab::empty();
    let objects = objects(&lab);
    let blob = objects.write_blob(b"evil").unwrap();
    let target = objects.write_blob(lab.dir.path().join("victim").as_os_str().as_bytes()).unwrap();
    let empty = objects.write_blob(b"").unwrap();
    let inner = raw_tree(&lab, &[("100644", b"x", &blob)]);
    std::fs::create_dir(lab.dir.path().join("victim")).unwrap();
    let tree = raw_tree(
        &lab,
        &[
            ("100644", b"..", &blob),
            ("100644", b"../escaped", &blob),
            ("100644", b".", &blob),
            ("40000", b".git", &inner),
            ("40000", b".GIT", &inner),
            ("120000", b"a", &target),
            // The link's name again, as a directory: a careless writer would follow the link.
            ("40000", b"a", &inner),
            ("100644", b"a", &blob),
            ("120000", b"empty-link", &empty),
            ("100644", b"good", &blob),
            ("100644", b"x/../../escaped", &blob),
        ],
    );
    let dest = lab.dir.path().join("out");
    let done = objects.export(&tree, &dest, ExportOptions::default()).unwrap();
    assert_eq!(done.files, 2, "the link and the good one");
    assert_eq!(done.skipped.len(), 9);
    assert_eq!(std::fs::read_dir(lab.dir.path().join("victim")).unwrap().count(), 0);
    assert!(!lab.dir.path().join("escaped").exists());
    let names: Vec<_> = std::fs::read_dir(&dest).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    // A tree that is deeper than any path can be.
    let mut deep = inner;
    for _ in 0..300 {
        deep = raw_tree(&lab, &[("40000", b"d", &deep)]);
    }
    let dest = lab.dir.path().join("deep");
    let error = objects.export(&deep, &dest, ExportOptions::default()).unwrap_err();
    assert!(matches!(error, GitError::TooLarge { .. }), "{error}");
    assert!(!dest.exists(), "a failed export leaves nothing");
    assert!(objects.list(&deep).is_err());
    assert!(objects.delta(&deep, &tree).is_err());
}

#[test]
fn limits_hold() {
    let lab = Lab::empty();
    let objects = objects(&lab);
    let tree = tree(&objects, &[write("a", "12345"), write("b", "12345")]);
    for (options, fits) in [
        (ExportOptions { max_entries: 2, max_bytes: 10 }, true),
        (ExportOptions { max_entries: 1, max_bytes: 10 }, false),
        (ExportOptions { max_entries: 2, max_bytes: 9 }, false),
    ] {
        let dest = lab.dir.path().join("out");
        assert_eq!(objects.export(&tree, &dest, options).is_ok(), fits, "{options:?}");
        assert_eq!(dest.exists(), fits);
        if fits {
            std::fs::remove_dir_all(dest).unwrap();
        }
    }
}

#[tokio::test]
async fn a_blob_of_200_megabytes_passes_through_without_being_held() {
    let lab = Lab::new();
    let file = lab.dir.path().join("big");
    std::fs::File::create(&file).unwrap().set_len(BIG).unwrap();
    let blob = oid(&git(
        &lab.bare(),
        &["-c", "core.bigFileThreshold=1m", "hash-object", "-w", file.to_str().unwrap()],
    ));
    let before = peak_kib();
    let mirror = lab.mirror().await;
    let main = {
        let objects = objects(&lab);
        let base = objects.tree_of(&lab.tip("main").unwrap()).unwrap();
        let new = NewFile { content: Content::Blob(blob), mode: FileMode::Regular };
        let tree = objects.apply(&base, &[FileWrite { path: "big.bin".into(), new: Some(new) }]).unwrap();
        let parents = vec![lab.tip("main").unwrap()];
        let spec = farm_git::objects::CommitSpec { tree, parents, message: "big\n".into(), time_s: 1 };
        let commit = objects.commit(&spec).unwrap();
        git(&lab.bare(), &["update-ref", "refs/heads/main", commit.as_str()]);
        commit
    };
    mirror.ensure_commit(&main, Some("main")).await.unwrap();
    let objects = mirror.objects();
    let tree = objects.tree_of(&main).unwrap();
    let big = objects.read(&tree, &"big.bin".into(), 1 << 20).unwrap().unwrap();
    assert_eq!((big.size, big.content), (BIG, None));
    let edited = objects.apply(&tree, &[write("a.txt", "edited\n")]).unwrap();
    assert_eq!(objects.delta(&tree, &edited).unwrap().changes.len(), 1);
    let dest = lab.dir.path().join("out");
    assert!(objects.export(&edited, &dest, ExportOptions::default()).unwrap().bytes > BIG);
    assert_eq!(dest.join("big.bin").metadata().unwrap().len(), BIG);
    let held = peak_kib() - before;
    assert!(held < 100 << 10, "{held} KiB more than before");
}

/// The most memory that this process ever held, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_tree_is_made_once_and_stays_while_it_is_held() {
    let lab = Lab::empty();
    let objects = objects(&lab);
    let root = lab.dir.path().join("exports");
    let trees: Vec<Oid> = (0..4)
        .map(|i| tree(&objects, &[write("f", &format!("{i}")), write("pad", &"x".repeat(60_000))]))
        .collect();
    // Room for two trees.
    let exports = Exports::open(&root, 150_000).unwrap();
    std::fs::create_dir(root.join(format!("{}.new", trees[0]))).unwrap();

    let calls: Vec<_> = (0..8)
        .map(|i| {
            // Every other call as if from another process.
            let exports = if i % 2 == 0 { exports.clone() } else { Exports::open(&root, 150_000).unwrap() };
            let (objects, tree) = (objects.clone(), trees[0].clone());
            tokio::spawn(async move {
                let shared = exports.shared(&objects, &tree).await.unwrap();
                let metadata = shared.path().join("f").metadata().unwrap();
                (shared, metadata.ino(), metadata.nlink())
            })
        })
        .collect();
    let mut held = Vec::new();
    for call in calls {
        held.push(call.await.unwrap());
    }
    assert!(held.iter().all(|(_, ino, links)| *ino == held[0].1 && *links == 1), "made once, no hard link");
    assert!(!root.join(format!("{}.new", trees[0])).exists());
    let first = held.swap_remove(0).0;
    drop(held);

    let on_disk = |tree: &Oid| root.join(tree.as_str()).is_dir();
    drop(exports.shared(&objects, &trees[1]).await.unwrap());
    assert!(on_disk(&trees[1]));
    drop(exports.shared(&objects, &trees[2]).await.unwrap());
    assert!(!on_disk(&trees[1]), "nobody holds it, and space is short");
    assert!(on_disk(&trees[0]), "held");
    assert_eq!(std::fs::read(first.path().join("f")).unwrap(), b"0");
    drop(first);
    drop(exports.shared(&objects, &trees[3]).await.unwrap());
    assert!(!on_disk(&trees[0]) && on_disk(&trees[2]) && on_disk(&trees[3]), "the least recently used goes");
    assert!(on_disk(&trees[2]));
    assert_eq!(
        std::fs::read(exports.shared(&objects, &trees[0]).await.unwrap().path().join("f")).unwrap(),
        b"0"
    );
}
