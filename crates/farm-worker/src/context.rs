//! Step 3: the code that the goal is about, packed into a budget. Optional: without the context service the worker's own
//! search serves, and the result says so.

use std::time::Instant;

use farm_core::port::{ContextQuery, Snippet};
use farm_core::service::{Phase, Run};

use crate::base::Base;
use crate::checks::find::Tree;
use crate::kit::Kit;
use crate::steps::Steps;

/// What the prompt shows of the repository.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// Best first.
    pub snippets: Vec<Snippet>,
    /// `rag`, `local` or `none`.
    pub source: &'static str,
    /// The repository's own words to agents, nearest first: untrusted data.
    pub rules: Vec<(String, String)>,
}

/// The file in which repositories address agents.
const RULES_FILE: &str = "AGENTS.md";

/// Searches, first the service, then here.
pub async fn gather(kit: &Kit, run: &Run, base: &Base, steps: &Steps) -> Gathered {
    let step = steps.begin(Phase::Context);
    let query = ContextQuery {
        tree: base.tree.clone(),
        goal: run.task.goal.clone(),
        path: run.task.path.clone(),
        blob_ids: run.task.blob_ids.clone(),
        tokens: kit.settings.context_tokens,
    };
    let since = Instant::now();
    let (snippets, source) = search(kit, base, query).await;
    kit.metrics.context_seconds.with_label_values(&[source]).observe(since.elapsed().as_secs_f64());
    let rules = rules(base, run.task.path.clone()).await;
    let paths: Vec<String> =
        snippets.iter().map(|s| format!("{}:{}-{} {}", s.path, s.start_line, s.end_line, s.symbol)).collect();
    steps.end(step, format!("{} snippets ({source})", snippets.len()), paths.join("\n"));
    Gathered { snippets, source, rules }
}

async fn search(kit: &Kit, base: &Base, query: ContextQuery) -> (Vec<Snippet>, &'static str) {
    if let Some(rag) = &kit.rag {
        let blobs = base.readable();
        match tokio::time::timeout(kit.settings.context_timeout, rag.search(&query, &blobs)).await {
            Ok(Ok(snippets)) => return (snippets, "rag"),
            Ok(Err(error)) => tracing::warn!(%error, "searching here instead"),
            Err(_) => {
                let limit = kit.settings.context_timeout;
                tracing::warn!(?limit, "the context service is too slow, searching here instead");
            }
        }
    }
    match kit.local_search.search(&query, &base.readable()).await {
        Ok(snippets) => (snippets, "local"),
        Err(error) => {
            tracing::warn!(%error, "no context");
            (Vec::new(), "none")
        }
    }
}

/// The rules of the folder of `path` and of those above it, the nearest first.
async fn rules(base: &Base, path: Option<String>) -> Vec<(String, String)> {
    let readable = base.readable();
    let read = move || {
        let path = path.unwrap_or_default();
        let mut folder = path.rsplit_once('/').map(|(folder, _)| folder);
        let mut rules = Vec::new();
        while let Some(name) = folder {
            rules.push(format!("{name}/{RULES_FILE}"));
            folder = name.rsplit_once('/').map(|(above, _)| above);
        }
        rules.push(RULES_FILE.to_owned());
        rules.into_iter().filter_map(|path| readable.text(&path).map(|text| (path, text))).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}
