//! `context search` (DESIGN §9, exact): needs no server and no working tree.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use farm_core::delta::FileMode;
use farm_core::id::Oid;
use farm_core::port::{Blobs, ContextQuery, TreeFile};
use farm_git::objects::Objects;
use farm_rag::extract::tree_sitter::TreeSitter;
use farm_rag::index::{Index, Limits};
use serde_json::json;

use crate::cli::ContextSearch;
use crate::failure::{Failure, Outcome, exit};
use crate::output::{Form, say};
use crate::verbs::print_list;

/// The largest file that is searched, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What results may fill if nobody says.
const TOKENS: usize = 8_000;

struct Tree {
    objects: Objects,
    files: Vec<TreeFile>,
}

impl Blobs for Tree {
    fn files(&self) -> Vec<TreeFile> {
        self.files.clone()
    }

    fn read(&self, oid: &Oid) -> Option<Vec<u8>> {
        self.objects.blob(oid, MAX_FILE_BYTES).ok().flatten()
    }
}

/// Searches one revision, in a process that holds no credentials: C parsers read the repository's bytes here (I6).
pub(crate) fn run(search: &ContextSearch) -> Outcome {
    drop_environment()?;
    let objects = Objects::open(&search.repo)?;
    let tree = objects.tree_of(&objects.resolve(&search.rev)?)?;
    let files = objects
        .list(&tree)?
        .into_iter()
        .filter(|file| matches!(file.mode, FileMode::Regular | FileMode::Executable))
        .filter_map(|file| Some(TreeFile { path: file.path.as_str()?.to_owned(), oid: file.oid, size: 0 }))
        .collect();
    let extractor =
        TreeSitter::new().map_err(|error| Failure::new(exit::FAILURE, format!("no parsers: {error}")))?;
    let index = Index::new(extractor, Limits { cache_bytes: 1 << 30, read_time: Duration::MAX });
    let query = ContextQuery {
        tree,
        goal: search.query.clone(),
        path: None,
        blob_ids: Vec::new(),
        tokens: search.tokens.unwrap_or(TOKENS),
    };
    let found = index.search(&query, search.limit, &Tree { objects, files });
    let results: Vec<_> = found
        .results
        .iter()
        .map(|snippet| {
            json!({
                "path": snippet.path,
                "start_line": snippet.start_line,
                "end_line": snippet.end_line,
                "symbol": snippet.symbol,
                "score": snippet.score,
                "snippet": snippet.text,
            })
        })
        .collect();
    match search.output.form {
        Form::Json => {
            say(&json!({ "results": results, "dropped": found.dropped }).to_string());
            Ok(())
        }
        form => {
            let columns = [
                ("score", "score"),
                ("path", "path"),
                ("from", "start_line"),
                ("to", "end_line"),
                ("symbol", "symbol"),
            ];
            print_list(form, &results, &columns)
        }
    }
}

/// Becomes this program anew without any environment, unless it has none already.
fn drop_environment() -> Outcome {
    if std::env::vars_os().next().is_none() {
        return Ok(());
    }
    let error = std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env_clear()
        .exec();
    Err(error.into())
}
