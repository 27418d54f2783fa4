//! Foreign bytes: whatever stands in a repository, the search ends and tells the truth about lines.

use std::sync::LazyLock;
use std::time::Duration;

use farm_core::port::{Blobs, Context, TreeFile};
use farm_rag::Language;
use farm_rag::extract::heuristic::Heuristic;
use farm_rag::extract::tree_sitter::TreeSitter;
use farm_rag::extract::{Extractor, MAX_SOURCE_BYTES};
use farm_rag::index::{Index, Limits};
use farm_rag::remote::Remote;
use farm_rag::server::Settings;
use proptest::prelude::*;

use crate::contract::assert_lines;
use crate::tree::{Running, Tree, blob_id, project};

const LIMITS: Limits = Limits { cache_bytes: 16 << 20, read_time: Duration::MAX };

fn indexes() -> &'static [Index; 2] {
    static INDEXES: LazyLock<[Index; 2]> =
        LazyLock::new(|| [Index::new(Heuristic, LIMITS), Index::new(TreeSitter::new().unwrap(), LIMITS)]);
    &INDEXES
}

#[test]
fn odd_files_do_not_hide_the_others() {
    let one_line = "retry(x); ".repeat(5 << 20).into_bytes();
    let tree = project()
        .with("huge.js", &one_line[..5 << 20])
        .with("squeezed.js", &one_line[..MAX_SOURCE_BYTES - 1])
        .with("deep.c", format!("int retry = {}1{};\n", "(".repeat(400_000), ")".repeat(400_000)))
        .with("deep.rs", "fn retry() { mod a { ".repeat(20_000))
        .with("deep.py", (0..1_000).map(|n| format!("{}class A:\n", " ".repeat(n))).collect::<String>())
        .with("stairs.java", "class A {\n".repeat(50_000))
        .with("bad.py", b"def retry_\xff\xfe():\n    return b'\xc3\x28'\n")
        .with("binary.rs", b"fn retry() {}\0")
        .with("empty.rs", b"")
        .with("blank.rs", b"\n\n\n");
    for index in indexes() {
        let found = index.search(&tree.query("session retry"), 0, &tree);
        assert_eq!(found.results[0].path, "src/session.rs");
        for snippet in &found.results {
            assert_lines(snippet, &tree.text(&snippet.path));
            assert!(snippet.text.len() <= 4 * 8_000);
        }
        assert!(found.results.iter().any(|snippet| snippet.path == "bad.py"));
        assert!(
            !found.results.iter().any(|snippet| ["huge.js", "binary.rs"].contains(&snippet.path.as_str()))
        );
        for path in ["deep.c", "deep.rs", "stairs.java"] {
            index.touched_symbols(path, b"", tree.text(path).as_bytes());
        }
    }
}

/// Many files, one content: what counts is the listing.
struct Listing {
    files: Vec<TreeFile>,
}

impl Blobs for Listing {
    fn files(&self) -> Vec<TreeFile> {
        self.files.clone()
    }

    fn read(&self, _: &farm_core::id::Oid) -> Option<Vec<u8>> {
        Some(b"fn f() {}\n".to_vec())
    }
}

#[tokio::test]
async fn a_hundred_thousand_files_are_listed_in_parts() {
    let oid = blob_id(b"fn f() {}\n");
    let file =
        |n: usize| TreeFile { path: format!("src/part_{}/file_{n}.rs", n / 100), oid: oid.clone(), size: 10 };
    let listing = Listing { files: (0..100_000).map(file).collect() };
    let query = project().query("file_77777");

    let local = Index::new(Heuristic, LIMITS).search(&query, 1, &listing);
    assert_eq!(local.results[0].path, "src/part_777/file_77777.rs");

    let patience = Duration::from_secs(300);
    let running = Running::start(Settings { search_timeout: patience, ..Settings::default() }).await;
    let remote = Remote::new(&running.url(), patience).unwrap();
    let found = Context::search(&remote, &query, &listing).await.unwrap();
    assert_eq!(found[0], local.results[0]);
    running.stop().await;
}

const LANGUAGES: [&str; 10] = ["rs", "py", "go", "js", "ts", "tsx", "java", "c", "rb", "txt"];

static GRAMMARS: LazyLock<TreeSitter> = LazyLock::new(|| TreeSitter::new().unwrap());

/// Text that looks like source often enough to get past the first token.
fn source() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "fn ", "def ", "class ", "func (", "impl<", "for ", "if (", "type ", "{", "}", "(", ")", "\n",
        "\n    ", "\n  ", "\r\n", "\t", "\"", "'", "`", "//", "/*", "#", "@", ":", ";", "=>", "= ", "retry",
        "Session", "é", "x", "\u{0}",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn snippets_are_the_lines_that_they_say(content in source(), language in 0..LANGUAGES.len(), tokens in 0usize..400) {
        let path = format!("src/a.{}", LANGUAGES[language]);
        let tree = Tree::default().with(&path, &content);
        for index in indexes() {
            let mut query = tree.query("retry the Session x def é");
            query.tokens = tokens;
            for named in [None, Some(path.clone())] {
                query.path = named;
                for snippet in index.search(&query, 0, &tree).results {
                    assert_lines(&snippet, &tree.text(&path));
                }
            }
        }
    }

    #[test]
    fn definitions_lie_in_the_file(content in source(), language in 0..LANGUAGES.len()) {
        let text = String::from_utf8_lossy(&content);
        let language = Language::of(&format!("a.{}", LANGUAGES[language]));
        let n_lines = text.split_terminator('\n').count();
        for extractor in [&Heuristic as &dyn Extractor, &*GRAMMARS] {
            for definition in extractor.definitions(language, &text).list {
                prop_assert!(1 <= definition.start_line && definition.start_line <= definition.end_line);
                prop_assert!(definition.end_line as usize <= n_lines, "{definition:?} of {n_lines}");
            }
        }
    }

    #[test]
    fn a_file_compared_with_itself_is_not_touched(content in source(), language in 0..LANGUAGES.len()) {
        let path = format!("src/a.{}", LANGUAGES[language]);
        let [_, index] = indexes();
        prop_assert!(index.touched_symbols(&path, &content, &content).symbols.is_empty());
    }

    #[test]
    fn any_goal_is_a_query(goal in ".{0,200}") {
        let tree = project();
        for snippet in indexes()[0].search(&tree.query(&goal), 0, &tree).results {
            assert_lines(&snippet, &tree.text(&snippet.path));
        }
    }
}
