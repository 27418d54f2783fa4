//! What is found, and how it is packed.

use std::time::Duration;

use farm_core::port::Snippet;
use farm_rag::extract::heuristic::Heuristic;
use farm_rag::extract::tree_sitter::TreeSitter;
use farm_rag::index::{Index, Limits};

use crate::tree::{Tree, blob_id, project};

const LIMITS: Limits = Limits { cache_bytes: 16 << 20, read_time: Duration::MAX };

fn indexes() -> [Index; 2] {
    [Index::new(Heuristic, LIMITS), Index::new(TreeSitter::new().unwrap(), LIMITS)]
}

fn places(results: &[Snippet]) -> Vec<String> {
    results.iter().map(|s| format!("{}:{}", s.path, s.symbol)).collect()
}

#[test]
fn the_definition_that_the_goal_speaks_of_comes_first() {
    let tree = project();
    for index in indexes() {
        for (goal, expect) in [
            ("Sending should retry more often", "src/session.rs:Session.send_with_retry"),
            ("parsing a header line fails", "src/http.rs:parse_header"),
            ("evicting from the cache", "py/cache.py:Cache.evict"),
            ("`expire_all` is slow", "py/cache.py:expire_all"),
            ("add routes to the engine", "go/router.go:Engine.addRoute"),
            ("File \"/app/py/cache.py\", line 8, in evict\nKeyError", "py/cache.py:Cache.evict"),
            ("crash in session.rs:12", "src/session.rs:Session.send_with_retry"),
            ("the test of session retry is not bounded", "tests/session.rs:session_retry_is_bounded"),
            ("README should tell of the router", "README.md:"),
        ] {
            let found = index.search(&tree.query(goal), 5, &tree);
            assert_eq!(places(&found.results).first().map(String::as_str), Some(expect), "{goal}: {found:?}");
        }
    }
}

#[test]
fn without_time_to_read_the_file_of_the_goal_is_shown_all_the_same() {
    let tree = project();
    let in_a_hurry = Index::new(Heuristic, Limits { read_time: Duration::ZERO, ..LIMITS });
    let mut query = tree.query("the session");
    assert_eq!(in_a_hurry.search(&query, 0, &tree).results, []);
    query.path = Some("src/session.rs".into());
    assert_eq!(in_a_hurry.search(&query, 0, &tree).results[0].path, "src/session.rs");
    assert_eq!(in_a_hurry.warm(&tree).definitions, 0);
    assert!(Index::new(Heuristic, LIMITS).warm(&tree).definitions > 0);
}

#[test]
fn tests_and_foreign_code_stand_behind_source() {
    let tree = project();
    for index in indexes() {
        let found = index.search(&tree.query("session retry"), 0, &tree);
        let at = |path: &str| found.results.iter().position(|s| s.path == path).unwrap();
        assert!(at("src/session.rs") < at("tests/session.rs"));
        assert!(at("src/session.rs") < at("vendor/retry/retry.rs"));
    }
}

#[test]
fn scores_fall_and_the_answer_is_the_same_twice() {
    let tree = project();
    for index in indexes() {
        let cold = index.search(&tree.query("session retry header"), 0, &tree);
        let warm = index.search(&tree.query("session retry header"), 0, &tree);
        assert_eq!(cold, warm);
        assert!(cold.results.len() > 2 && cold.results.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[test]
fn limits_hold_and_what_did_not_fit_is_counted() {
    let tree = project();
    for index in indexes() {
        let all = index.search(&tree.query("session retry header"), 0, &tree);
        assert_eq!(all.dropped, 0);
        let one = index.search(&tree.query("session retry header"), 1, &tree);
        assert_eq!((one.results.len(), one.dropped as usize), (1, all.results.len() - 1));
        assert_eq!(one.results[0], all.results[0]);
        for tokens in [0, 10, 60, 100, 200] {
            let mut query = tree.query("session retry header");
            query.tokens = tokens;
            let found = index.search(&query, 0, &tree);
            let used: usize = found.results.iter().map(|s| s.text.len() / 4).sum();
            assert!(used <= tokens, "{used} of {tokens}");
            assert_eq!(found.results.len() + found.dropped as usize, all.results.len());
        }
    }
}

#[test]
fn the_named_file_is_whole_and_first() {
    let tree = project();
    for index in indexes() {
        let mut query = tree.query("session retry");
        query.path = Some("go/router.go".into());
        query.blob_ids = vec![blob_id(tree.text("src/lib.rs").as_bytes()).to_string()];
        let found = index.search(&query, 0, &tree);
        assert_eq!(
            places(&found.results)[..3],
            ["go/router.go:", "src/lib.rs:", "src/session.rs:Session.send_with_retry"]
        );
        assert_eq!(found.results[0].text, tree.text("go/router.go").trim_end());
        assert!(found.results.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[test]
fn a_large_named_file_gives_its_best_parts_and_leaves_room() {
    let body: String = (0..400).map(|n| format!("def step_{n}(x):\n    return x + {n}\n\n\n")).collect();
    let tree = project().with("py/steps.py", format!("{body}def parse_header(x):\n    return x\n"));
    let mut query = tree.query("parse_header loses the value");
    query.path = Some("py/steps.py".into());
    query.tokens = 400;
    for index in indexes() {
        let found = index.search(&query, 0, &tree);
        assert_eq!(places(&found.results)[0], "py/steps.py:parse_header");
        assert!(places(&found.results).contains(&"src/http.rs:parse_header".to_owned()));
    }
}

#[test]
fn many_files_come_before_much_of_one() {
    let many: String = (0..40).map(|n| format!("fn retry_{n}() {{\n    retry();\n}}\n\n")).collect();
    let tree = Tree::of([("src/a.rs", many.as_str()), ("src/b.rs", "fn other() {\n    retry();\n}\n")]);
    for index in indexes() {
        let found = index.search(&tree.query("retry"), 6, &tree);
        assert!(found.results.iter().any(|s| s.path == "src/b.rs"), "{found:?}");
    }
}

#[test]
fn a_path_that_is_not_there_points_at_its_neighbours() {
    let tree = project();
    for index in indexes() {
        let mut query = tree.query("a new thing");
        query.path = Some("go/middleware.go".into());
        assert_eq!(index.search(&query, 1, &tree).results[0].path, "go/router.go");
    }
}
