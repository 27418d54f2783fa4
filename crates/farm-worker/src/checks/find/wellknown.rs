//! Checks that a repository's own files imply, language by language.

use farm_core::task::{Check, CheckKind, Expectation};

use super::Tree;

/// The checks of the first well-known file that the tree has at its top, and that file's name.
pub(super) fn checks(tree: &impl Tree) -> Option<(Vec<Check>, &'static str)> {
    type Reader = fn(&str) -> Vec<Check>;
    const FILES: [(&str, Reader); 5] = [
        ("Cargo.toml", cargo),
        ("pyproject.toml", pyproject),
        ("package.json", package_json),
        ("go.mod", go),
        ("Makefile", makefile),
    ];
    FILES.into_iter().find_map(|(file, read)| {
        let checks = read(&tree.text(file)?);
        (!checks.is_empty()).then_some((checks, file))
    })
}

fn check(name: &str, kind: CheckKind, argv: &[&str], files: &[&str]) -> Check {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Check {
        name: name.to_owned(),
        kind,
        argv: owned(argv),
        expect: Expectation::NoWorse,
        timeout_s: None,
        junit: None,
        files: owned(files),
    }
}

fn cargo(_: &str) -> Vec<Check> {
    vec![
        check("cargo-fmt", CheckKind::Format, &["cargo", "fmt"], &["**/*.rs"]),
        check("cargo-test", CheckKind::Test, &["cargo", "test", "--offline", "--workspace"], &[]),
    ]
}

fn pyproject(text: &str) -> Vec<Check> {
    let Ok(file) = text.parse::<toml::Table>() else { return Vec::new() };
    let tool = |name: &str| file.get("tool").and_then(|tools| tools.get(name)).is_some();
    let mut checks = Vec::new();
    if tool("black") {
        checks.push(check("black", CheckKind::Format, &["black", "-q", "{files}"], &["**/*.py"]));
    } else if tool("ruff") {
        checks.push(check("ruff-format", CheckKind::Format, &["ruff", "format", "{files}"], &["**/*.py"]));
    }
    if tool("ruff") {
        checks.push(check("ruff", CheckKind::Lint, &["ruff", "check", "{files}"], &["**/*.py"]));
    }
    // `-rA` names every test, so that old failures can be told from new ones.
    checks.push(check("pytest", CheckKind::Test, &["python3", "-m", "pytest", "-q", "-rA"], &[]));
    checks
}

fn package_json(text: &str) -> Vec<Check> {
    let Ok(file) = serde_json::from_str::<serde_json::Value>(text) else { return Vec::new() };
    let script = |name: &str| file["scripts"][name].as_str();
    let mut checks = Vec::new();
    if script("lint").is_some() {
        checks.push(check("npm-lint", CheckKind::Lint, &["npm", "run", "--silent", "lint"], &[]));
    }
    // What `npm init` writes fails always and tests nothing.
    if script("test").is_some_and(|test| !test.contains("no test specified")) {
        checks.push(check("npm-test", CheckKind::Test, &["npm", "test", "--silent"], &[]));
    }
    checks
}

fn go(_: &str) -> Vec<Check> {
    vec![
        check("gofmt", CheckKind::Format, &["gofmt", "-w", "{files}"], &["**/*.go"]),
        check("go-vet", CheckKind::Lint, &["go", "vet", "./..."], &[]),
        check("go-test", CheckKind::Test, &["go", "test", "-json", "./..."], &[]),
    ]
}

fn makefile(text: &str) -> Vec<Check> {
    let has =
        |target: &str| text.lines().any(|line| line.split(':').next() == Some(target) && line.contains(':'));
    let mut checks = Vec::new();
    if has("lint") {
        checks.push(check("make-lint", CheckKind::Lint, &["make", "lint"], &[]));
    }
    if let Some(target) = ["test", "check"].into_iter().find(|target| has(target)) {
        checks.push(check("make-test", CheckKind::Test, &["make", target], &[]));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, &'static str);

    impl Tree for One {
        fn text(&self, path: &str) -> Option<String> {
            (path == self.0).then(|| self.1.to_owned())
        }
    }

    #[test]
    fn each_file_implies_its_checks() {
        for (file, text, expected) in [
            ("Cargo.toml", "[package]", &["cargo-fmt", "cargo-test"][..]),
            ("pyproject.toml", "[tool.ruff]\n", &["ruff-format", "ruff", "pytest"]),
            ("pyproject.toml", "[tool.black]\n[tool.ruff]\n", &["black", "ruff", "pytest"]),
            ("pyproject.toml", "[project]\n", &["pytest"]),
            ("package.json", r#"{"scripts":{"lint":"eslint .","test":"jest"}}"#, &["npm-lint", "npm-test"]),
            ("package.json", r#"{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#, &[]),
            ("go.mod", "module x", &["gofmt", "go-vet", "go-test"]),
            ("Makefile", "lint:\n\ttrue\ntest: lint\n\ttrue\n", &["make-lint", "make-test"]),
            ("Makefile", "check:\n\ttrue\n", &["make-test"]),
            ("Makefile", "all:\n\ttrue\n", &[]),
            ("Makefile", "# test it\nTEST = x\n", &[]),
        ] {
            let names: Vec<String> = checks(&One(file, text))
                .map(|(checks, _)| checks.into_iter().map(|check| check.name).collect())
                .unwrap_or_default();
            assert_eq!(names, expected, "{file}: {text}");
        }
    }
}
