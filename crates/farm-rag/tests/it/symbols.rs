//! Definitions, and what a change touches.

use std::time::Duration;

use farm_rag::extract::Extractor;
use farm_rag::extract::heuristic::Heuristic;
use farm_rag::extract::tree_sitter::TreeSitter;
use farm_rag::index::{Index, Limits};
use farm_rag::touched::{TOP_LEVEL, Touched};
use farm_rag::{Kind, Language};

use crate::tree::project;

fn index() -> Index {
    Index::new(TreeSitter::new().unwrap(), Limits { cache_bytes: 16 << 20, read_time: Duration::MAX })
}

#[test]
fn grammars_find_definitions_with_their_spans() {
    let extractor = TreeSitter::new().unwrap();
    for (language, text, expect) in [
        (
            Language::Rust,
            "#[derive(Debug)]\nenum E {\n    A,\n}\nimpl<T> fmt::Display for a::Foo<T> {\n    fn f(&self) {\n    }\n}\nconst C: u8 = 1;\nmacro_rules! m { () => {} }\n",
            vec![
                "enum E 2-4",
                "constant A 3-3",
                "implementation Foo 5-8",
                "function f 6-7",
                "constant C 9-9",
                "macro m 10-10",
            ],
        ),
        (
            Language::Python,
            "X = 1\n@d\nclass A:\n    y = 2\n    def f(self):\n        def g(): pass\n        return g\n",
            vec!["constant X 1-1", "class A 3-7", "constant y 4-4", "function f 5-7", "function g 6-6"],
        ),
        (
            Language::Go,
            "package p\nconst (\n\tA = 1\n)\ntype I interface {\n\tM()\n}\ntype S[T any] struct{}\nfunc (s *S[T]) M() {\n}\ntype F func()\n",
            vec![
                "constant A 3-3",
                "interface I 5-7",
                "function M 6-6",
                "class S 8-8",
                "method S.M 9-10",
                "type F 11-11",
            ],
        ),
        (
            Language::JavaScript,
            "const f = () => {\n};\nclass A {\n  m() {\n  }\n}\napp.use = function () {};\nexport const k = 1;\n",
            vec!["function f 1-2", "class A 3-6", "method m 4-5", "function use 7-7", "constant k 8-8"],
        ),
        (
            Language::TypeScript,
            "interface I {\n  m(): void;\n}\ntype T = string;\nenum E { A }\nabstract class C {\n  private x(): number { return 1; }\n}\n",
            vec![
                "interface I 1-3",
                "function m 2-2",
                "type T 4-4",
                "enum E 5-5",
                "class C 6-8",
                "method x 7-7",
            ],
        ),
        (
            Language::Java,
            "@X\npublic class A<T> {\n  int n = 1;\n  A() {}\n  List<T> get(int i) {\n    return null;\n  }\n  enum E { P }\n}\n",
            vec![
                "class A 1-9",
                "constant n 3-3",
                "method A 4-4",
                "method get 5-7",
                "enum E 8-8",
                "constant P 8-8",
            ],
        ),
        (
            Language::C,
            "#define N 1\nstruct s {\n  int a;\n};\nint declared(void);\nstatic char *\nname(int a)\n{\n  return 0;\n}\nenum e { ONE };\n",
            vec!["constant N 1-1", "class s 2-4", "function name 6-10", "enum e 11-11", "constant ONE 11-11"],
        ),
    ] {
        let found = extractor.definitions(language, text);
        let mut list = found.list;
        list.sort_by_key(|d| (d.start_line, std::cmp::Reverse(d.end_line)));
        list.dedup_by(|a, b| (&a.name, a.start_line, a.end_line) == (&b.name, b.start_line, b.end_line));
        let list: Vec<_> = list
            .iter()
            .map(|d| format!("{} {} {}-{}", d.kind, d.qualified(), d.start_line, d.end_line))
            .collect();
        assert_eq!(list, expect, "{language:?}");
        assert!(found.exact, "{language:?}");
    }
}

#[test]
fn symbols_are_found_by_name_container_and_kind() {
    let tree = project();
    let index = index();
    let find = |name: &str, kind| -> Vec<String> {
        let found = index.find_symbol(name, kind, 0, &tree);
        let line = |s: &farm_rag::Symbol| {
            let d = &s.definition;
            format!("{} {} {}:{}-{}", d.kind, d.qualified(), s.path, d.start_line, d.end_line)
        };
        found.iter().map(line).collect()
    };
    assert_eq!(find("evict", None), ["method Cache.evict py/cache.py:7-8"]);
    assert_eq!(find("Engine.addRoute", None), ["method Engine.addRoute go/router.go:7-9"]);
    assert_eq!(find("Session::close", Some(Kind::Method)), ["method Session.close src/session.rs:17-17"]);
    assert_eq!(
        find("Session", None),
        ["class Session src/session.rs:4-6", "implementation Session src/session.rs:8-18"]
    );
    assert_eq!(find("Session", Some(Kind::Class)).len(), 1);
    assert!(find("nothing", None).is_empty() && find("", None).is_empty());
}

#[test]
fn a_change_touches_the_definitions_whose_own_lines_differ() {
    let base = "import os\n\n\nclass A:\n    x = 1\n\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n\n\ndef h():\n    pass\n";
    let index = index();
    for (what, from, to, expect) in [
        ("nothing", "", "", vec![]),
        ("one method", "return 1", "return 3", vec!["A.f"]),
        ("a field", "x = 1", "x = 2", vec!["A"]),
        ("an import", "import os", "import sys", vec![TOP_LEVEL]),
        (
            "a new method",
            "        return 2\n",
            "        return 2\n\n    def k(self):\n        pass\n",
            vec!["A.k"],
        ),
        ("a removed function", "\n\ndef h():\n    pass\n", "", vec!["h"]),
        ("a renamed function", "def h", "def i", vec!["h", "i"]),
        ("blank lines", "\n\n\nclass", "\n\nclass", vec![]),
    ] {
        let after = base.replacen(from, to, usize::from(!from.is_empty()));
        let touched = index.touched_symbols("a.py", base.as_bytes(), after.as_bytes());
        let expect: Vec<String> = expect.into_iter().map(str::to_owned).collect();
        assert_eq!(touched, Touched { symbols: expect, known_language: true }, "{what}");
    }
}

#[test]
fn a_new_file_touches_all_that_it_defines() {
    let touched = index().touched_symbols("a.go", b"", b"package a\n\nfunc F() {}\n");
    assert_eq!(touched, Touched { symbols: vec![TOP_LEVEL.into(), "F".into()], known_language: true });
}

#[test]
fn what_is_not_understood_touches_the_whole_file() {
    let index = index();
    for (path, before, after) in [
        ("a.txt", "a", "b"),
        ("a.rb", "def f\nend\n", "def g\nend\n"),
        ("a.py", "def f():\n    pass\n", "def f(:\n    pass\n"),
        ("a.py", "def f():\n    pass\n", "\0"),
    ] {
        let touched = index.touched_symbols(path, before.as_bytes(), after.as_bytes());
        assert_eq!(touched, Touched::default(), "{path} {after:?}");
    }
    let by_looks = Index::new(Heuristic, Limits { cache_bytes: 1 << 20, read_time: Duration::MAX });
    assert!(!by_looks.touched_symbols("a.py", b"", b"def f():\n    pass\n").known_language);
}
