//! Which checks judge a task: the first place that names any, all of them outside the patch's reach.

mod precommit;
mod wellknown;

use farm_core::task::Check;
use serde::Deserialize;

/// What is known of the base tree.
pub trait Tree {
    /// A file's text, if it is there and may be read.
    fn text(&self, path: &str) -> Option<String>;
}

/// Checks and where they stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// May be empty: waived.
    pub checks: Vec<Check>,
    /// `task`, `policy`, a file's name, or `waived`.
    pub found_in: String,
}

/// Why there is nothing to judge by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChecks {
    /// No place names any, and nobody waived them.
    #[error(
        "expected checks in the task, the policy, patchfarm.toml, .pre-commit-config.yaml or a well-known file, found none"
    )]
    NoneFound,
    /// The repository's own file cannot be read.
    #[error("patchfarm.toml: {detail}")]
    Unreadable {
        /// Which line, and what is wrong with it.
        detail: String,
    },
}

/// The repository's own settings; only the checks are read from it.
const REPOSITORY_FILE: &str = "patchfarm.toml";

#[derive(Deserialize)]
struct RepositoryFile {
    check: Option<Vec<Check>>,
}

/// Looks in order: task, policy, `patchfarm.toml`, `.pre-commit-config.yaml`, well-known files.
pub fn find(
    task: Option<Vec<Check>>,
    policy: Option<Vec<Check>>,
    tree: &impl Tree,
) -> Result<Found, NoChecks> {
    let found = |checks: Vec<Check>, place: &str| {
        let found_in = if checks.is_empty() { "waived" } else { place };
        Ok(Found { checks, found_in: found_in.to_owned() })
    };
    if let Some(checks) = task {
        return found(checks, "task");
    }
    if let Some(checks) = policy {
        return found(checks, "policy");
    }
    if let Some(text) = tree.text(REPOSITORY_FILE) {
        let file: RepositoryFile =
            toml::from_str(&text).map_err(|error| NoChecks::Unreadable { detail: error.to_string() })?;
        // Only the operator and the task may waive: a repository that says nothing has said nothing.
        if let Some(checks) = file.check.filter(|checks| !checks.is_empty()) {
            return found(checks, REPOSITORY_FILE);
        }
    }
    let precommit = tree.text(precommit::FILE).map(|text| precommit::checks(&text)).unwrap_or_default();
    if !precommit.is_empty() {
        return found(precommit, precommit::FILE);
    }
    match wellknown::checks(tree) {
        Some((checks, file)) => found(checks, file),
        None => Err(NoChecks::NoneFound),
    }
}

/// Whether a path looks like a test's, by the customs of the common languages.
pub fn is_test_file(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_test_folder =
        folders.split('/').any(|part| matches!(part, "test" | "tests" | "spec" | "__tests__" | "testdata"));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    in_test_folder
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with(".test")
        || stem.ends_with(".spec")
        || stem.ends_with("Test")
        || stem.ends_with("Tests")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use farm_core::task::CheckKind;

    use super::*;

    struct Files(HashMap<&'static str, &'static str>);

    impl Tree for Files {
        fn text(&self, path: &str) -> Option<String> {
            self.0.get(path).map(|text| (*text).to_owned())
        }
    }

    fn check(name: &str) -> Check {
        Check {
            name: name.into(),
            kind: CheckKind::Lint,
            argv: vec!["true".into()],
            expect: Default::default(),
            timeout_s: None,
            junit: None,
            files: Vec::new(),
        }
    }

    const OWN: (&str, &str) =
        ("patchfarm.toml", "[[check]]\nname = \"own\"\nkind = \"lint\"\nargv = [\"true\"]\n");
    const HOOKS: (&str, &str) = (
        ".pre-commit-config.yaml",
        "repos:\n- repo: local\n  hooks:\n  - id: hook\n    name: hook\n    entry: ./lint.sh --fast\n    language: script\n",
    );
    const GO: (&str, &str) = ("go.mod", "module x\n");

    #[test]
    fn the_first_place_that_names_checks_counts() {
        type Case = (Option<Vec<Check>>, Option<Vec<Check>>, Vec<(&'static str, &'static str)>, &'static str);
        let cases: Vec<Case> = vec![
            (Some(vec![check("t")]), Some(vec![check("p")]), vec![OWN], "task"),
            (Some(vec![]), Some(vec![check("p")]), vec![OWN], "waived"),
            (None, Some(vec![check("p")]), vec![OWN], "policy"),
            (None, Some(vec![]), vec![OWN], "waived"),
            (None, None, vec![OWN, HOOKS, GO], "patchfarm.toml"),
            (None, None, vec![("patchfarm.toml", "check = []"), GO], "go.mod"),
            (None, None, vec![HOOKS, GO], ".pre-commit-config.yaml"),
            (None, None, vec![GO], "go.mod"),
        ];
        for (task, policy, files, expected) in cases {
            let found = find(task, policy, &Files(files.into_iter().collect())).unwrap();
            assert_eq!(found.found_in, expected);
        }
    }

    #[test]
    fn nothing_found_is_no_waiver() {
        let empty = Files(HashMap::from([("README.md", "x")]));
        assert_eq!(find(None, None, &empty), Err(NoChecks::NoneFound));
    }

    #[test]
    fn a_broken_file_is_told_and_not_passed_over() {
        let broken = Files(HashMap::from([("patchfarm.toml", "[[check]]\nname = 1\n"), GO]));
        assert!(matches!(find(None, None, &broken), Err(NoChecks::Unreadable { .. })));
    }

    #[test]
    fn test_files_are_known_by_custom() {
        for path in
            ["tests/a.py", "a/test_b.py", "b_test.go", "src/x.test.js", "src/FooTest.java", "spec/a.rb"]
        {
            assert!(is_test_file(path), "{path}");
        }
        for path in ["src/latest.rs", "contest.py", "src/testing.rs", "attest/x.c"] {
            assert!(!is_test_file(path), "{path}");
        }
    }
}
