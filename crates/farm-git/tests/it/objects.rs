//! Reading and committing: deterministic, whatever the repository holds.

use farm_core::delta::FileMode;
use farm_core::id::Token;
use farm_git::error::GitError;
use farm_git::objects::{CommitSpec, Objects, Trailers};

use crate::support::{Lab, edit, git, oid, put, write};

#[test]
fn a_commit_is_the_same_for_the_same_input_and_reads_back() {
    let (one, two) = (Lab::new(), Lab::new());
    let base = one.tip("main").unwrap();
    let trailers = Trailers {
        task: Some("fix-1".parse().unwrap()),
        change: Some("c-1".parse().unwrap()),
        base: Some(base.clone()),
        attempt: 1,
        token: Token(1_700_000_000_123),
    };
    let commits = [&one, &two].map(|lab| {
        let objects = Objects::open(lab.bare()).unwrap();
        let tree = objects.apply(&objects.empty_tree().unwrap(), &[write("a", "a\n")]).unwrap();
        let message = trailers.message("modify", "make it faster", "w-1");
        let commit =
            objects.commit(&CommitSpec { tree, parents: vec![], message, time_s: 1_700_000_000 }).unwrap();
        assert_eq!(objects.trailers(&commit).unwrap(), Some(trailers.clone()));
        assert_eq!(objects.parents_of(&commit).unwrap(), []);
        commit
    });
    assert_eq!(commits[0], commits[1]);
    let shown = git(
        &one.bare(),
        &["show", "-s", "--format=%an|%cn|%at|%ct|%(trailers:key=Task-Id)", commits[0].as_str()],
    );
    assert_eq!(shown.trim(), "Patchfarm|Patchfarm|1700000000|1700000000|Task-Id: fix-1");
    let objects = Objects::open(one.bare()).unwrap();
    assert_eq!(objects.trailers(&base).unwrap(), None, "not ours");
}

#[test]
fn files_are_read_by_exact_path_and_within_the_limit() {
    let lab = Lab::empty();
    let objects = Objects::open(lab.bare()).unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    let tree = objects
        .apply(
            &objects.empty_tree().unwrap(),
            &[
                put("d/x", FileMode::Executable, b"12345"),
                put(b"caf\xe9", FileMode::Regular, b"latin"),
                put("big.bin", FileMode::Regular, pointer),
                put("link", FileMode::Link, b"/etc/passwd"),
            ],
        )
        .unwrap();
    let read =
        |path: &[u8], limit| objects.read(&tree, &farm_core::delta::RepoPath(path.to_vec()), limit).unwrap();
    let x = read(b"d/x", 5).unwrap();
    assert_eq!((x.mode, x.size, x.content.as_deref()), (FileMode::Executable, 5, Some(&b"12345"[..])));
    assert_eq!(read(b"d/x", 4).unwrap().content, None, "over the limit");
    assert_eq!(read(b"caf\xe9", 9).unwrap().content.unwrap(), b"latin");
    assert_eq!(read(b"big.bin", 999).unwrap().content.unwrap(), pointer, "an LFS pointer is what it is");
    assert_eq!(read(b"link", 99).unwrap().content.unwrap(), b"/etc/passwd", "a link is not followed");
    for path in
        [&b"d"[..], b"none", b"d/none", b"d/x/y", b"D/x", b"", b"/d/x", b"d//x", b"./d/x", b"caf\xc3\xa9"]
    {
        assert_eq!(read(path, 9), None, "{path:?}");
    }
}

#[test]
fn ancestry_and_revisions_are_known() {
    let lab = Lab::new();
    let first = lab.tip("main").unwrap();
    let second = lab.commit("main", &[("b", "b")]);
    let objects = Objects::open(lab.bare()).unwrap();
    let side = edit(&objects, Some(&first), "side");
    for (ancestor, commit, expected) in
        [(&first, &second, true), (&first, &first, true), (&second, &first, false), (&second, &side, false)]
    {
        assert_eq!(objects.is_ancestor(ancestor, commit).unwrap(), expected);
    }
    assert_eq!(objects.resolve("main").unwrap(), second);
    assert_eq!(objects.resolve("main~1").unwrap(), first);
    assert!(matches!(objects.resolve("none"), Err(GitError::Object { .. })));
    for absent in ["1".repeat(40), "1".repeat(64)] {
        assert!(matches!(objects.tree_of(&oid(&absent)), Err(GitError::Object { .. })));
        assert!(!objects.has_commit(&oid(&absent)).unwrap());
    }
}

#[test]
fn a_working_tree_and_its_git_directory_can_be_opened() {
    let lab = Lab::new();
    git(lab.dir.path(), &["clone", "-q", "remote.git", "work"]);
    let work = lab.dir.path().join("work");
    for dir in [work.clone(), work.join(".git")] {
        assert_eq!(Objects::open(dir).unwrap().resolve("HEAD").unwrap(), lab.tip("main").unwrap());
    }
    assert!(Objects::open(lab.dir.path().join("none")).is_err());
    assert!(Objects::open(work.join("src")).is_err(), "parents are not searched");
}

#[test]
fn one_handle_serves_many_threads() {
    let lab = Lab::new();
    let main = lab.tip("main").unwrap();
    let objects = Objects::open(lab.bare()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (objects, main) = (objects.clone(), &main);
            scope.spawn(move || {
                for i in 0..20 {
                    let commit = edit(&objects, Some(main), &format!("{thread} {i}"));
                    let tree = objects.tree_of(&commit).unwrap();
                    let read = objects.read(&tree, &"a.txt".into(), 100).unwrap().unwrap();
                    assert_eq!(read.content.unwrap(), format!("{thread} {i}").into_bytes());
                }
            });
        }
    });
    git(&lab.bare(), &["fsck", "--strict"]);
}
