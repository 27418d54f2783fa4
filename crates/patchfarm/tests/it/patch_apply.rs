//! `patch apply`, to the letter of its contract (DESIGN §9); the expected trees are git's own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use farm_testkit::git::Repo;
use farm_testkit::program::{Program, Ran};
use serde_json::{Value, json};

use crate::BINARY;
use crate::script::replacing;

const GREET: &str = "def greet(name):\n    return \"hello \" + name\n\n\ndef part():\n    return \"bye\"\n";
const GREET_AFTER: &str =
    "def greet(name):\n    return \"hi \" + name\n\n\ndef part():\n    return \"bye\"\n";
const NOTES: &str = "one\ntwo\nthree\n";

fn repo() -> Repo {
    Repo::new(&[("src/greet.py", GREET), ("notes.txt", NOTES), ("old.txt", "old\n")])
}

/// Changes one file, adds one and removes one, in one git diff.
fn diff() -> String {
    "```diff
diff --git a/src/greet.py b/src/greet.py
--- a/src/greet.py
+++ b/src/greet.py
@@ -1,3 +1,3 @@
 def greet(name):
-    return \"hello \" + name
+    return \"hi \" + name
 
diff --git a/src/new.py b/src/new.py
new file mode 100644
--- /dev/null
+++ b/src/new.py
@@ -0,0 +1,1 @@
+NEW = 1
diff --git a/old.txt b/old.txt
deleted file mode 100644
--- a/old.txt
+++ /dev/null
@@ -1,1 +0,0 @@
-old
```
"
    .to_owned()
}

fn good() -> String {
    replacing("src/greet.py", "    return \"hello \" + name", "    return \"hi \" + name")
}

/// Its first file would go, its second one does not.
fn half_good() -> String {
    good() + &replacing("notes.txt", "nine", "ten")
}

async fn apply(repo: &Repo, args: &[&str], reply: &str) -> Ran {
    let dir = repo.git_dir();
    let args = [&["patch", "apply", "-o", "json", "--repo", dir.to_str().unwrap()], args].concat();
    Program::new(BINARY, repo.path()).run_with(&args, reply).await
}

async fn apply_in(dir: &Path, args: &[&str], reply: &str) -> Ran {
    let args = [&["patch", "apply", "-o", "json", "--dir", dir.to_str().unwrap()], args].concat();
    Program::new(BINARY, dir).run_with(&args, reply).await
}

#[tokio::test]
async fn an_applied_reply_is_the_tree_that_git_makes() {
    let repo = repo();
    let expected =
        repo.tree_with(&[("src/greet.py", GREET_AFTER), ("src/new.py", "NEW = 1\n")], &["old.txt"]);
    let head = repo.git(&["rev-parse", "HEAD"]);
    let ran = apply(&repo, &["--rev", "main"], &diff()).await.good();
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let file = |path: &str, op: &str| json!({ "path": path, "op": op, "tier": "exact", "offset": 0 });
    let mut answer = ran.json();
    answer["files"].as_array_mut().unwrap().sort_by_key(|file| file["path"].to_string());
    let files = [file("old.txt", "delete"), file("src/greet.py", "modify"), file("src/new.py", "add")];
    assert_eq!(answer, json!({ "status": "applied", "tree": expected, "files": files }));
    // Objects are written; nothing is checked out, and no branch moves.
    assert_eq!(repo.git(&["cat-file", "-t", &expected]), "tree");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
}

#[tokio::test]
async fn a_revision_is_what_git_means_by_it_and_head_if_none_is_named() {
    let repo = repo();
    repo.write(&[("notes.txt", "four\n")]);
    repo.commit();
    let newer = repo.tree_with(&[("notes.txt", "five\n")], &[]);
    let reply = replacing("notes.txt", "four", "five");
    assert_eq!(apply(&repo, &[], &reply).await.good().json()["tree"], json!(newer));
    assert_eq!(apply(&repo, &["--rev", "HEAD~1"], &reply).await.exits(1).json()["status"], "refused");
}

#[tokio::test]
async fn a_refused_reply_says_where_and_changes_nothing() {
    let repo = repo();
    let objects = repo.git(&["count-objects"]);
    let ran = apply(&repo, &[], &half_good()).await.exits(1);
    let answer = ran.json();
    assert_eq!((&answer["status"], &answer["code"]), (&json!("refused"), &json!("no_match")), "{answer}");
    assert_eq!((&answer["file"], &answer["hunk"]), (&json!("notes.txt"), &json!(1)), "{answer}");
    assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    assert_eq!(repo.git(&["count-objects"]), objects);

    let empty = apply(&repo, &[], "I cannot do that.").await.exits(1).json();
    assert_eq!((&empty["status"], &empty["code"]), (&json!("refused"), &json!("no_edit")), "{empty}");
    let fields = empty.as_object().unwrap();
    assert!(fields["file"].is_null() && fields["hunk"].is_null(), "{empty}");
}

#[tokio::test]
async fn what_is_there_already_is_unchanged() {
    let repo = repo();
    repo.write(&[("src/greet.py", GREET_AFTER)]);
    repo.commit();
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let unified = "--- a/src/greet.py\n+++ b/src/greet.py\n@@ -1,3 +1,3 @@\n def greet(name):\n-    return \"hello \" + name\n+    return \"hi \" + name\n \n";
    let answer = apply(&repo, &[], unified).await.good().json();
    assert_eq!(answer, json!({ "status": "unchanged", "tree": tree }));
}

#[tokio::test]
async fn anything_else_is_an_error_with_a_message() {
    let repo = repo();
    let (dir, nowhere) = (repo.git_dir(), repo.path().join("nowhere"));
    for (place, rev, input) in [
        (dir.as_path(), "no-such-branch", "-"),
        (nowhere.as_path(), "HEAD", "-"),
        (dir.as_path(), "HEAD", "no-such-file"),
    ] {
        let args = [
            "patch",
            "apply",
            "-o",
            "json",
            "--repo",
            place.to_str().unwrap(),
            "--rev",
            rev,
            "--input",
            input,
        ];
        let ran = Program::new(BINARY, repo.path()).run_with(&args, &good()).await.exits(1);
        let answer = ran.json();
        assert_eq!(answer["status"], "error", "{args:?}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    }
}

#[tokio::test]
async fn a_folder_is_edited_in_place_all_or_nothing() {
    let repo = repo();
    let tool = repo.path().join("src/greet.py");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o750)).unwrap();
    let refused = apply_in(repo.path(), &[], &half_good()).await.exits(1).json();
    assert_eq!((&refused["status"], &refused["file"]), (&json!("refused"), &json!("notes.txt")), "{refused}");
    assert_eq!(std::fs::read_to_string(&tool).unwrap(), GREET);

    let applied = apply_in(repo.path(), &[], &diff()).await.good().json();
    assert_eq!(applied["status"], "applied");
    assert_eq!(std::fs::read_to_string(&tool).unwrap(), GREET_AFTER);
    assert_eq!(std::fs::read_to_string(repo.path().join("src/new.py")).unwrap(), "NEW = 1\n");
    assert_eq!(std::fs::read_to_string(repo.path().join("notes.txt")).unwrap(), NOTES);
    let mode = std::fs::metadata(&tool).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o750, "an edit neither takes the executable bit nor opens a private file");
    let mut left: Vec<_> =
        std::fs::read_dir(repo.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".git", "notes.txt", "src"], "old.txt goes, and nothing is left beside");
}

#[tokio::test]
async fn a_folder_is_not_left_by_a_path_or_a_link() {
    let repo = repo();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("x.txt"), "one\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), repo.path().join("out")).unwrap();
    let above = format!("../{}/x.txt", outside.path().file_name().unwrap().to_str().unwrap());
    for path in ["out/x.txt", above.as_str()] {
        let ran = apply_in(repo.path(), &[], &replacing(path, "one", "two")).await.exits(1);
        assert_ne!(ran.json()["status"], "applied", "{path}");
    }
    let new = "--- /dev/null\n+++ b/out/new.txt\n@@ -0,0 +1,1 @@\n+two\n";
    let ran = apply_in(repo.path(), &[], new).await.exits(1);
    assert_ne!(ran.json()["status"], "applied");
    assert_eq!(std::fs::read_to_string(outside.path().join("x.txt")).unwrap(), "one\n");
    assert!(!outside.path().join("new.txt").exists());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let repo = repo();
    let objects = repo.git(&["count-objects"]);
    let answer = apply(&repo, &["--dry-run"], &diff()).await.good().json();
    assert_eq!((&answer["status"], answer["files"].as_array().unwrap().len()), (&json!("applied"), 3));
    assert_eq!(repo.git(&["count-objects"]), objects);
    let answer = apply_in(repo.path(), &["--dry-run"], &diff()).await.good().json();
    assert_eq!(answer["status"], "applied");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_batch_has_one_answer_a_line() {
    let repo = repo();
    let line = |rev: &str, reply: String| json!({ "rev": rev, "reply": reply }).to_string();
    let input = [
        line("HEAD", good()),
        "no JSON".to_owned(),
        line("HEAD", half_good()),
        line("nowhere", good()),
        String::new(),
        line("HEAD", good()),
    ];
    let ran = apply(&repo, &["--batch"], &(input.join("\n") + "\n")).await.good();
    let answers: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<&str> = answers.iter().map(|answer| answer["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["applied", "error", "refused", "error", "error", "applied"]);
    assert_eq!(answers[0], answers[5]);
    let expected = repo.tree_with(&[("src/greet.py", GREET_AFTER)], &[]);
    assert_eq!(answers[0]["tree"], json!(expected));
}

#[tokio::test]
async fn explanations_stand_beside_the_answer() {
    let repo = repo();
    let plain = apply(&repo, &[], &good()).await.good();
    assert_eq!(plain.stderr, "");
    let explained = apply(&repo, &["--explain"], &good()).await.good();
    assert_eq!(explained.stdout, plain.stdout);
    assert!(explained.stderr.contains("src/greet.py: modify; "), "{}", explained.stderr);
    let refused = apply(&repo, &["--explain"], &half_good()).await.exits(1);
    assert!(refused.stderr.contains("notes.txt"), "{}", refused.stderr);
}
