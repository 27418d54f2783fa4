//! Input made to be slow: repeats that would make a naive search quadratic, long replies, deep nesting.
//!
//! The bound is generous, because these run unoptimized on a busy machine; quadratic work would take hours here.

use std::time::{Duration, Instant};

use farm_patch::{Code, Outcome, Refusal};

use crate::files::Files;

const BOUND: Duration = Duration::from_secs(60);

fn timed(files: &Files, reply: &str) -> Result<Outcome, Refusal> {
    let start = Instant::now();
    let result = files.apply(reply);
    assert!(start.elapsed() < BOUND, "took {:?}", start.elapsed());
    result
}

#[test]
fn a_long_file_and_a_long_reply() {
    let before: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    let reply: String = (0..20_000)
        .map(|n| 10 * n + 5)
        .map(|n| {
            let (above, below) = (n - 1, n + 1);
            format!("@@ -{n},3 +{n},3 @@\n line {above}\n-line {n}\n+Line {n}\n line {below}\n")
        })
        .collect();
    let files = Files::of(&[("x", &before)]);
    let outcome = timed(&files, &format!("--- a/x\n+++ b/x\n{reply}")).unwrap();
    assert_eq!(files.after(&outcome).text("x").matches("Line").count(), 20_000);
}

#[test]
fn repeats_are_refused_and_not_searched_for_ever() {
    let same = "a\n".repeat(100_000);
    let files = Files::of(&[("x", &same), ("x.c", &same)]);
    let hunk = format!("@@ @@\n{}-a \n+b\n", " a\n".repeat(2_000));
    let hunks = format!("```diff\n--- a/x\n+++ b/x\n{}```\n", hunk.repeat(100));
    assert!(matches!(timed(&files, &hunks).unwrap_err().code, Code::Ambiguous | Code::TooComplex));

    let blocks = format!("x.c\n{}", "<<<<<<< SEARCH\na\na\n=======\nb\nb\n>>>>>>> REPLACE\n".repeat(20_000));
    assert!(matches!(timed(&files, &blocks).unwrap_err().code, Code::Ambiguous | Code::TooComplex));

    let edits: Vec<_> = (0..5_000)
        .map(|n| serde_json::json!({"path": "x", "search": format!("z{n}"), "replace": "y"}))
        .collect();
    let json = serde_json::json!({ "edits": edits }).to_string();
    assert!(matches!(timed(&files, &json).unwrap_err().code, Code::NoMatch | Code::TooComplex));

    let missing = "@@ @@\n-zz\n+b\n".repeat(5_000);
    let code = timed(&files, &format!("```diff\n--- a/x\n+++ b/x\n{missing}```\n")).unwrap_err().code;
    assert!(matches!(code, Code::NoMatch | Code::TooComplex));
}

#[test]
fn readers_stay_linear_on_openings_that_never_close() {
    let files = Files::of(&[("x", "a\n")]);
    for opening in [
        "{\n",
        "{\"edits\": [\n",
        "<<<<<<< SEARCH\n",
        "@@ -1 +1 @@\n",
        "--- a/x\n",
        "```\n",
        "diff --git a/x b/x\n",
        "*** Update File: x\n",
        "@@\n",
        "x\n```\n",
        "[{\n",
        "\n",
        "-\n",
        "...\n",
    ] {
        let reply = opening.repeat(200_000 / opening.len());
        assert!(timed(&files, &reply).is_err(), "{opening:?}");
        assert!(
            timed(&files, &format!("```diff\n--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n{reply}")).is_err(),
            "{opening:?}"
        );
    }
}

#[test]
fn sizes_are_limited() {
    let files = Files::of(&[("x", "a\n")]);
    assert_eq!(timed(&files, &"x\n".repeat(9 << 20)).unwrap_err().code, Code::TooLarge);
}
