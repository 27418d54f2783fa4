//! What a path tells of a file: its language, and whether it is source at all.

/// A language whose definitions can be found, by the tree-sitter grammar or by a line's looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// `.rs`
    Rust,
    /// `.py`, `.pyi`
    Python,
    /// `.go`
    Go,
    /// `.js`, `.mjs`, `.cjs`, `.jsx`
    JavaScript,
    /// `.ts`, `.mts`, `.cts`
    TypeScript,
    /// `.tsx`
    Tsx,
    /// `.java`
    Java,
    /// `.c`, `.h`
    C,
    /// Source in another language that marks definitions with words: C++, C#, Kotlin, Scala, Swift, Ruby, PHP, Lua, Elixir…
    OtherSource,
    /// Anything else that is text.
    Text,
}

impl Language {
    /// The language that the path's suffix names.
    pub fn of(path: &str) -> Self {
        match suffix(path) {
            "rs" => Self::Rust,
            "py" | "pyi" => Self::Python,
            "go" => Self::Go,
            "js" | "mjs" | "cjs" | "jsx" => Self::JavaScript,
            "ts" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            "java" => Self::Java,
            "c" | "h" => Self::C,
            "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" | "cs" | "kt" | "kts" | "scala" | "swift" | "rb"
            | "php" | "lua" | "ex" | "exs" | "dart" | "groovy" | "m" | "mm" | "jl" | "zig" | "sh"
            | "bash" | "pl" | "pm" | "r" | "vue" | "svelte" | "proto" | "sql" => Self::OtherSource,
            _ => Self::Text,
        }
    }

    /// Whether files of this language are code.
    pub(crate) fn is_source(self) -> bool {
        self != Self::Text
    }
}

/// How likely a file is what somebody wants to change, by where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    /// Tests and examples: they use what is wanted.
    Usage,
    /// Other people's code and machines' output.
    Foreign,
    /// Prose and data.
    Document,
}

impl Role {
    pub(crate) fn of(path: &str) -> Self {
        let lower = path.to_ascii_lowercase();
        let (folders, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
        let in_folder = |names: &[&str]| folders.split('/').any(|folder| names.contains(&folder));
        let stem = name.split('.').next().unwrap_or(name);
        if in_folder(FOREIGN_FOLDERS) || FOREIGN_ENDS.iter().any(|end| name.ends_with(end)) {
            Self::Foreign
        } else if in_folder(USAGE_FOLDERS)
            || stem.starts_with("test_")
            || stem.ends_with("_test")
            || stem.ends_with("_tests")
            || stem == "conftest"
            || name.contains(".test.")
            || name.contains(".spec.")
            || (Language::of(name) == Language::Java && (stem.ends_with("test") || stem.ends_with("tests")))
        {
            Self::Usage
        } else if Language::of(name).is_source() {
            Self::Source
        } else {
            Self::Document
        }
    }
}

const FOREIGN_FOLDERS: &[&str] = &[
    "vendor",
    "vendored",
    "third_party",
    "third-party",
    "node_modules",
    "bower_components",
    "external",
    "dist",
    "generated",
    "gen",
    "target",
    ".git",
    ".venv",
    "site-packages",
];

const FOREIGN_ENDS: &[&str] = &[
    ".min.js",
    ".min.css",
    ".map",
    ".lock",
    "package-lock.json",
    "go.sum",
    ".pb.go",
    "_pb2.py",
    "_pb2_grpc.py",
    ".pb.cc",
    ".pb.h",
    ".generated.ts",
    ".g.dart",
    ".snap",
];

const USAGE_FOLDERS: &[&str] = &[
    "test",
    "tests",
    "testing",
    "testdata",
    "__tests__",
    "spec",
    "specs",
    "fixtures",
    "example",
    "examples",
    "bench",
    "benches",
    "benchmark",
    "benchmarks",
    "demo",
    "demos",
    "samples",
];

/// What stands after the last dot of the name, or nothing.
pub(crate) fn suffix(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(stem, suffix)| if stem.is_empty() { "" } else { suffix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_folders_and_names() {
        for (path, expect) in [
            ("src/lib.rs", Role::Source),
            ("src/latest.rs", Role::Source),
            ("contest/main.go", Role::Source),
            ("tests/it/main.rs", Role::Usage),
            ("router_test.go", Role::Usage),
            ("pkg/test_router.py", Role::Usage),
            ("a/GsonTest.java", Role::Usage),
            ("web/app.test.tsx", Role::Usage),
            ("vendor/x/y.go", Role::Foreign),
            ("Cargo.lock", Role::Foreign),
            ("api/v1/task.pb.go", Role::Foreign),
            ("README.md", Role::Document),
            ("Makefile", Role::Document),
        ] {
            assert_eq!(Role::of(path), expect, "{path}");
        }
    }

    #[test]
    fn a_hidden_file_has_no_suffix() {
        assert_eq!(suffix(".gitignore"), "");
        assert_eq!(suffix("a.b/c"), "");
        assert_eq!(suffix("a/b.tar.gz"), "gz");
    }
}
