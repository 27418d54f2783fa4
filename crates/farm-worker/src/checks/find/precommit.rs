//! `.pre-commit-config.yaml`: hooks that run without being fetched (local ones, and tools known by their id).

use farm_core::task::{Check, CheckKind, Expectation};
use saphyr::{LoadableYamlNode, Yaml};

/// Where it stands.
pub(super) const FILE: &str = ".pre-commit-config.yaml";

/// Tools that a hook's id names, and how they are run here: from the prepared environment, never fetched.
const KNOWN: &[(&str, CheckKind, &[&str], &str)] = &[
    ("black", CheckKind::Format, &["black", "-q", "{files}"], "*.py"),
    ("ruff-format", CheckKind::Format, &["ruff", "format", "{files}"], "*.py"),
    ("gofmt", CheckKind::Format, &["gofmt", "-w", "{files}"], "*.go"),
    ("go-fmt", CheckKind::Format, &["gofmt", "-w", "{files}"], "*.go"),
    (
        "prettier",
        CheckKind::Format,
        &["prettier", "--write", "{files}"],
        "*.{js,jsx,ts,tsx,css,md,json,yaml,yml}",
    ),
    ("fmt", CheckKind::Format, &["cargo", "fmt"], "*.rs"),
    ("ruff", CheckKind::Lint, &["ruff", "check", "{files}"], "*.py"),
    ("ruff-check", CheckKind::Lint, &["ruff", "check", "{files}"], "*.py"),
    ("flake8", CheckKind::Lint, &["flake8", "{files}"], "*.py"),
    ("mypy", CheckKind::Lint, &["mypy", "{files}"], "*.py"),
    ("shellcheck", CheckKind::Lint, &["shellcheck", "{files}"], "*.sh"),
    ("eslint", CheckKind::Lint, &["eslint", "{files}"], "*.{js,jsx,ts,tsx}"),
    ("clippy", CheckKind::Lint, &["cargo", "clippy", "--offline", "-q"], "*.rs"),
    ("cargo-check", CheckKind::Lint, &["cargo", "check", "--offline", "-q"], "*.rs"),
];

/// The hooks that can run; what cannot be read yields none.
pub(super) fn checks(text: &str) -> Vec<Check> {
    let Ok(documents) = Yaml::load_from_str(text) else { return Vec::new() };
    let repos = documents.first().and_then(|document| document.as_mapping_get("repos"));
    let hooks = repos.and_then(Yaml::as_vec).into_iter().flatten().flat_map(|repo| {
        let local = field(repo, "repo").is_some_and(|name| name == "local");
        let hooks = repo.as_mapping_get("hooks").and_then(Yaml::as_vec);
        hooks.into_iter().flatten().map(move |hook| (local, hook))
    });
    hooks.filter_map(|(local, hook)| if local { local_hook(hook) } else { known_hook(hook) }).collect()
}

fn known_hook(hook: &Yaml<'_>) -> Option<Check> {
    let id = field(hook, "id")?;
    let (id, kind, argv, files) = KNOWN.iter().find(|(known, ..)| *known == id)?;
    let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
    Some(check((*id).to_owned(), *kind, argv, vec![format!("**/{files}"), (*files).to_owned()]))
}

/// A local hook whose program is in the repository or on the machine. Languages that need an installation do not run here.
fn local_hook(hook: &Yaml<'_>) -> Option<Check> {
    if !matches!(field(hook, "language"), Some("system" | "script" | "unsupported" | "unsupported_script")) {
        return None;
    }
    let mut argv: Vec<String> = field(hook, "entry")?.split_whitespace().map(str::to_owned).collect();
    // Words that a shell would have to read are not split here.
    if argv.is_empty() || argv.iter().any(|word| word.contains(['"', '\'', '$', '`', '|', ';', '&', '\\'])) {
        return None;
    }
    let more = hook.as_mapping_get("args").and_then(Yaml::as_vec);
    argv.extend(more.into_iter().flatten().filter_map(Yaml::as_str).map(str::to_owned));
    if hook.as_mapping_get("pass_filenames").and_then(Yaml::as_bool).unwrap_or(true) {
        argv.push("{files}".to_owned());
    }
    Some(check(field(hook, "id")?.to_owned(), CheckKind::Lint, argv, Vec::new()))
}

fn field<'a>(node: &'a Yaml<'_>, name: &str) -> Option<&'a str> {
    node.as_mapping_get(name).and_then(Yaml::as_str)
}

fn check(name: String, kind: CheckKind, argv: Vec<String>, files: Vec<String>) -> Check {
    Check { name, kind, argv, expect: Expectation::NoWorse, timeout_s: None, junit: None, files }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = "
repos:
- repo: https://example.test/ruff
  rev: v1
  hooks:
  - id: ruff
    args: [--fix]
  - id: ruff-format
- repo: https://example.test/other
  rev: v1
  hooks: [{id: check-yaml}]
- repo: local
  hooks:
  - {id: unit, name: unit, entry: ./run-tests.sh fast, language: script, pass_filenames: false}
  - {id: shell, name: shell, entry: sh -c 'a | b', language: system}
  - {id: fetched, name: fetched, entry: tool, language: python}
";

    #[test]
    fn hooks_that_can_run_without_being_fetched_are_found() {
        let found: Vec<(String, Vec<String>)> =
            checks(CONFIG).into_iter().map(|check| (check.name, check.argv)).collect();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("ruff".to_owned(), words(&["ruff", "check", "{files}"])),
            ("ruff-format".to_owned(), words(&["ruff", "format", "{files}"])),
            ("unit".to_owned(), words(&["./run-tests.sh", "fast"])),
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[a-z:\\- \n{}\\[\\]&*!\"']{0,200}") {
            checks(&text);
        }
    }
}
