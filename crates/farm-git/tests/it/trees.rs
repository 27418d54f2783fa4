//! Writing, comparing and merging trees, against a model and against the git command.

use std::collections::BTreeMap;

use farm_core::delta::{FileMode, RepoPath, TreeDelta};
use farm_core::id::Oid;
use farm_git::error::GitError;
use farm_git::objects::{Content, FileWrite, Merge, NewFile, Objects};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Lab, git, oid, put, remove, write};

fn objects() -> (Lab, Objects) {
    let lab = Lab::empty();
    let objects = Objects::open(lab.bare()).unwrap();
    (lab, objects)
}

fn tree(objects: &Objects, files: &[FileWrite]) -> Oid {
    objects.apply(&objects.empty_tree().unwrap(), files).unwrap()
}

fn paths(objects: &Objects, tree: &Oid) -> Vec<String> {
    objects.list(tree).unwrap().iter().map(|file| file.path.to_string()).collect()
}

#[test]
fn writes_make_the_tree_that_git_makes() {
    let lab = Lab::new();
    let objects = Objects::open(lab.bare()).unwrap();
    let base = objects.tree_of(&lab.tip("main").unwrap()).unwrap();
    let made =
        objects.apply(&base, &[write("src/lib.rs", "fn g() {}\n"), write("new/deep/x", "x\n")]).unwrap();
    let expected = lab.commit("main", &[("src/lib.rs", "fn g() {}\n"), ("new/deep/x", "x\n")]);
    assert_eq!(made, objects.tree_of(&expected).unwrap());
    assert_eq!(objects.apply(&base, &[]).unwrap(), base);
    // Back again: emptied directories are gone.
    let back = [write("src/lib.rs", "fn f() {}\n"), remove("new/deep/x")];
    assert_eq!(objects.apply(&made, &back).unwrap(), base);
}

#[test]
fn files_and_directories_may_change_places_but_not_share_one() {
    let (_lab, objects) = objects();
    let base = tree(&objects, &[write("f", "f"), write("d/x", "x"), put("l", FileMode::Link, b"d")]);
    let apply = |writes: &[FileWrite]| objects.apply(&base, writes);

    let swapped = apply(&[remove("f"), write("f/y", "y"), remove("d/x"), write("d", "d")]).unwrap();
    assert_eq!(paths(&objects, &swapped), ["d", "f/y", "l"]);
    let empty = apply(&[remove("f"), remove("d/x"), remove("l")]).unwrap();
    assert_eq!(empty, objects.empty_tree().unwrap());

    for writes in [
        &[write("f/y", "y")][..],
        &[write("d", "d")],
        &[write("l/x", "through a link")],
        &[write("f", "1"), write("f", "2")],
        &[write("n", "1"), write("n/y", "2")],
        &[remove("f"), remove("f")],
    ] {
        assert!(matches!(apply(writes), Err(GitError::PathConflict { .. })), "{writes:?}");
    }
    for missing in ["none", "d", "d/none", "none/x"] {
        assert!(matches!(apply(&[remove(missing)]), Err(GitError::PathMissing { .. })), "{missing}");
    }
    for refused in ["", "../x", "a/../b", "/x", ".git/hooks/x", "x/.GIT", "git~1", ".g\u{200c}it/config"] {
        assert!(matches!(apply(&[write(refused, "x")]), Err(GitError::PathRefused { .. })), "{refused:?}");
    }
    let modules = put(".gitmodules", FileMode::Link, b"f");
    assert!(matches!(apply(&[modules]), Err(GitError::PathRefused { .. })));
    let absent = NewFile { content: Content::Blob(oid(&"1".repeat(40))), mode: FileMode::Regular };
    assert!(apply(&[FileWrite { path: "n".into(), new: Some(absent) }]).is_err(), "a blob that is not there");
}

#[test]
fn a_delta_shows_every_kind_of_change_with_sizes() {
    let (lab, objects) = objects();
    let module = |digit: &str| {
        let content = Content::Blob(oid(&digit.repeat(40)));
        let new = Some(NewFile { content, mode: FileMode::Submodule });
        FileWrite { path: "module".into(), new }
    };
    let old = tree(
        &objects,
        &[
            write("same", "same"),
            write("text", "1"),
            write("script", "#!"),
            write("gone", "12345"),
            write("turns", "file"),
            write("place", "file"),
            write("deep/a/b", "b"),
            put(b"caf\xe9", FileMode::Regular, b"old"),
            module("1"),
        ],
    );
    let new = objects
        .apply(
            &old,
            &[
                write("text", "22"),
                put("script", FileMode::Executable, b"#!"),
                remove("gone"),
                put("turns", FileMode::Link, b"text"),
                remove("place"),
                write("place/in", "dir"),
                write("deep/a/c", "c"),
                put(b"caf\xe9", FileMode::Regular, b"newer"),
                module("2"),
            ],
        )
        .unwrap();
    let delta = objects.delta(&old, &new).unwrap();
    let shown: Vec<String> = delta
        .changes
        .iter()
        .map(|change| {
            let side = |entry: &Option<farm_core::delta::Entry>| {
                entry
                    .as_ref()
                    .map_or("-".to_owned(), |entry| format!("{:o}:{}", entry.mode.bits(), entry.size))
            };
            format!("{} {} {}", change.path, side(&change.old), side(&change.new))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "caf\\xe9 100644:3 100644:5",
            "deep/a/c - 100644:1",
            "gone 100644:5 -",
            "module 160000:0 160000:0",
            "place 100644:4 -",
            "place/in - 100644:3",
            "script 100644:2 100755:2",
            "text 100644:1 100644:2",
            "turns 100644:4 120000:4",
        ]
    );
    assert!(objects.delta(&new, &new).unwrap().is_empty());
    let raw =
        git(&lab.bare(), &["diff-tree", "-r", "--no-renames", "--name-only", old.as_str(), new.as_str()]);
    assert_eq!(raw.lines().count(), shown.len(), "{raw}");

    let text = objects.unified_diff(&delta, 10_000).unwrap();
    assert!(!text.truncated);
    for part in [
        "--- a/text\n+++ b/text\n@@ -1 +1 @@\n-1\n",
        "old mode 100644\nnew mode 100755\n",
        "deleted file mode 100644\n--- a/gone\n+++ /dev/null\n",
        "-Subproject commit 1111",
        "caf\\xe9",
    ] {
        assert!(text.text.contains(part), "{part:?} in\n{}", text.text);
    }
    let cut = objects.unified_diff(&delta, 100).unwrap();
    assert!(cut.truncated && cut.text.len() <= 100);
}

#[test]
fn merges_take_what_goes_together_and_name_what_does_not() {
    let (_lab, objects) = objects();
    let lines = |edit: &[(usize, &str)]| {
        let mut lines: Vec<String> = (0..20).map(|i| format!("line {i}\n")).collect();
        for (line, text) in edit {
            lines[*line] = format!("{text}\n");
        }
        lines.concat()
    };
    let text = lines(&[]);
    let base = tree(
        &objects,
        &[write("f", &text), write("d/g", "g\n"), write("d/h", "h\n"), put("b", FileMode::Regular, b"\0one")],
    );
    let on_base = |writes: &[FileWrite]| objects.apply(&base, writes).unwrap();
    type Case<'a> = (&'a str, Vec<FileWrite>, Vec<FileWrite>, Result<Vec<FileWrite>, Vec<&'a str>>);
    let cases: Vec<Case<'_>> = vec![
        ("nothing", vec![], vec![], Ok(vec![])),
        ("one side", vec![], vec![write("f", "x")], Ok(vec![write("f", "x")])),
        (
            "other files",
            vec![write("n", "1")],
            vec![write("d/g", "2")],
            Ok(vec![write("n", "1"), write("d/g", "2")]),
        ),
        (
            "other lines",
            vec![write("f", &lines(&[(1, "ours")]))],
            vec![write("f", &lines(&[(15, "theirs")]))],
            Ok(vec![write("f", &lines(&[(1, "ours"), (15, "theirs")]))]),
        ),
        (
            "mode and content",
            vec![put("f", FileMode::Executable, text.as_bytes())],
            vec![write("f", &lines(&[(1, "theirs")]))],
            Ok(vec![put("f", FileMode::Executable, lines(&[(1, "theirs")]).as_bytes())]),
        ),
        ("same change", vec![write("f", "x")], vec![write("f", "x")], Ok(vec![write("f", "x")])),
        ("same addition", vec![write("n/m", "x")], vec![write("n/m", "x")], Ok(vec![write("n/m", "x")])),
        ("both remove", vec![remove("d/g")], vec![remove("d/g")], Ok(vec![remove("d/g")])),
        (
            "both remove, all gone",
            vec![remove("d/g"), remove("d/h")],
            vec![remove("d/h")],
            Ok(vec![remove("d/g"), remove("d/h")]),
        ),
        (
            "same line",
            vec![write("f", &lines(&[(1, "ours")]))],
            vec![write("f", &lines(&[(1, "theirs")]))],
            Err(vec!["f"]),
        ),
        (
            "removed and changed",
            vec![remove("d/g"), remove("d/h")],
            vec![write("d/g", "x")],
            Err(vec!["d/g"]),
        ),
        ("added differently", vec![write("n", "1\n")], vec![write("n", "2\n")], Err(vec!["n"])),
        ("file against directory", vec![write("n", "1")], vec![write("n/m", "2")], Err(vec!["n"])),
        (
            "binary",
            vec![put("b", FileMode::Regular, b"\0two")],
            vec![put("b", FileMode::Regular, b"\0three")],
            Err(vec!["b"]),
        ),
        ("link against text", vec![put("f", FileMode::Link, b"x")], vec![write("f", "y")], Err(vec!["f"])),
    ];
    for (name, ours, theirs, expected) in cases {
        let expected = match expected {
            Ok(writes) => Merge::Clean(on_base(&writes)),
            Err(paths) => Merge::Conflicts(paths.into_iter().map(RepoPath::from).collect()),
        };
        let (ours, theirs) = (on_base(&ours), on_base(&theirs));
        assert_eq!(objects.merge_trees(&base, &ours, &theirs).unwrap(), expected, "{name}");
        assert_eq!(objects.merge_trees(&base, &theirs, &ours).unwrap(), expected, "{name}, swapped");
    }
}

/// A tree as a map; directories are implied.
type Model = BTreeMap<Vec<u8>, (FileMode, Vec<u8>)>;

fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![&b"a"[..], b"b", b"c", b"a.b", b"\xff"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join(&b'/'))
}

fn file() -> impl Strategy<Value = (FileMode, Vec<u8>)> {
    let mode = prop::sample::select(vec![FileMode::Regular, FileMode::Executable, FileMode::Link]);
    (mode, prop::collection::vec(0u8..4, 0..4))
}

/// A tree without a file in the place of a directory.
fn model() -> impl Strategy<Value = Model> {
    prop::collection::btree_map(path(), file(), 0..12).prop_map(|mut files| {
        let paths: Vec<Vec<u8>> = files.keys().cloned().collect();
        for path in &paths {
            let below = [path.as_slice(), b"/"].concat();
            if paths.iter().any(|other| other.starts_with(&below)) {
                files.remove(path);
            }
        }
        files
    })
}

/// The writes that lead from one tree to another.
fn difference(old: &Model, new: &Model) -> Vec<FileWrite> {
    let removed = old.keys().filter(|path| !new.contains_key(*path));
    let removed = removed.map(|path| FileWrite { path: RepoPath(path.clone()), new: None });
    let put_all = new.iter().filter(|(path, file)| old.get(*path) != Some(file));
    removed.chain(put_all.map(|(path, (mode, bytes))| put(path, *mode, bytes))).collect()
}

fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })
}

#[test]
fn any_tree_becomes_any_other_and_the_delta_says_how() {
    let (_lab, objects) = objects();
    let check = |(old, new): (Model, Model)| {
        let old_tree = tree(&objects, &difference(&Model::new(), &old));
        let writes = difference(&old, &new);
        let new_tree = objects.apply(&old_tree, &writes).unwrap();
        prop_assert_eq!(&new_tree, &tree(&objects, &difference(&Model::new(), &new)));

        let files = objects.list(&new_tree).unwrap().into_iter();
        let content = |blob: &Oid| objects.blob(blob, 100).unwrap().unwrap();
        let listed: Model = files.map(|file| (file.path.0, (file.mode, content(&file.oid)))).collect();
        prop_assert_eq!(&listed, &new);

        let delta: TreeDelta = objects.delta(&old_tree, &new_tree).unwrap();
        let mut changed: Vec<RepoPath> = writes.into_iter().map(|write| write.path).collect();
        changed.sort();
        prop_assert_eq!(delta.changes.iter().map(|change| change.path.clone()).collect::<Vec<_>>(), changed);
        prop_assert_eq!(
            objects.merge_trees(&old_tree, &old_tree, &new_tree).unwrap(),
            Merge::Clean(new_tree)
        );
        Ok(())
    };
    runner().run(&(model(), model()), check).unwrap();
}

#[test]
fn paths_of_any_bytes_are_judged_without_harm() {
    let (lab, objects) = objects();
    let empty = objects.empty_tree().unwrap();
    let check = |bytes: Vec<u8>| {
        match objects.apply(&empty, &[put(&bytes, FileMode::Regular, b"x")]) {
            Ok(tree) => {
                prop_assert_eq!(&objects.list(&tree).unwrap()[0].path.0, &bytes);
                // Git takes whatever we took.
                git(&lab.bare(), &["-c", "core.protectHFS=true", "read-tree", tree.as_str()]);
            }
            Err(error) => prop_assert!(matches!(error, GitError::PathRefused { .. }), "{error}"),
        }
        Ok(())
    };
    runner().run(&prop::collection::vec(any::<u8>(), 0..40), check).unwrap();
}
