//! The calls of the context service.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use farm_core::port::{ContextQuery, Snippet};
use farm_wire::v1;
use farm_wire::v1::context_service_server::ContextService;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Settings;
use super::store::{Store, TreeBlobs};
use super::upload::{Upload, object_id};
use crate::definition::{Kind, Symbol};
use crate::extract::source_text;
use crate::index::Index;

/// What a search fills when its caller does not say.
const DEFAULT_TOKENS: usize = 8_000;
const MAX_TOKENS: usize = 200_000;

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) index: Arc<Index>,
    pub(crate) store: Arc<Store>,
    /// One permit for each processor: searches wait in line instead of sharing one.
    pub(crate) cpu: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) max_tree_bytes: usize,
    pub(crate) settings: Settings,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ContextService for Service {
    type SnippetsStream = Answers<v1::SnippetsResponse>;
    type IndexStream = Answers<v1::IndexResponse>;

    /// The texts of the blobs that are held; those that are not are left out.
    async fn snippets(
        &self,
        request: Request<v1::SnippetsRequest>,
    ) -> Result<Response<Self::SnippetsStream>, Status> {
        let store = Arc::clone(&self.store);
        let texts = request.into_inner().blob_ids.into_iter().filter_map(move |blob_id| {
            let content = store.content(&blob_id.parse().ok()?)?;
            let snippet = source_text(&content)?.into_owned();
            Some(Ok(v1::SnippetsResponse { blob_id, snippet }))
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(texts))))
    }

    async fn search(
        &self,
        request: Request<v1::SearchRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let request = request.into_inner();
        let tree = object_id("tree", request.tree)?;
        let blobs = self.tree(&tree)?;
        let tokens = if request.tokens == 0 { DEFAULT_TOKENS } else { request.tokens as usize };
        let query = ContextQuery {
            tree,
            goal: request.query,
            path: Some(request.path).filter(|path| !path.is_empty()),
            blob_ids: Vec::new(),
            tokens: tokens.min(MAX_TOKENS),
        };
        let limit = request.limit as usize;
        let timeout = match request.timeout_ms {
            0 => self.settings.search_timeout,
            ms => Duration::from_millis(u64::from(ms)).min(self.settings.search_timeout),
        };
        let found = self.compute(timeout, move |index| index.search(&query, limit, &blobs)).await?;
        let results = found.results.into_iter().map(snippet).collect();
        Ok(Response::new(v1::SearchResponse { results, dropped: found.dropped }))
    }

    async fn find_symbol(
        &self,
        request: Request<v1::FindSymbolRequest>,
    ) -> Result<Response<v1::FindSymbolResponse>, Status> {
        let v1::FindSymbolRequest { tree, name, kind, limit } = request.into_inner();
        let blobs = self.tree(&object_id("tree", tree)?)?;
        let kind = match kind.as_str() {
            "" => None,
            word => Some(Kind::from_word(word).ok_or_else(|| unknown_kind(word))?),
        };
        let find = move |index: &Index| index.find_symbol(&name, kind, limit as usize, &blobs);
        let found = self.compute(self.settings.search_timeout, find).await?;
        Ok(Response::new(v1::FindSymbolResponse { symbols: found.into_iter().map(symbol).collect() }))
    }

    async fn touched_symbols(
        &self,
        request: Request<v1::TouchedSymbolsRequest>,
    ) -> Result<Response<v1::TouchedSymbolsResponse>, Status> {
        let v1::TouchedSymbolsRequest { path, before, after } = request.into_inner();
        let touched = move |index: &Index| index.touched_symbols(&path, &before, &after);
        let touched = self.compute(self.settings.search_timeout, touched).await?;
        let (symbols, known_language) = (touched.symbols, touched.known_language);
        Ok(Response::new(v1::TouchedSymbolsResponse { symbols, known_language }))
    }

    async fn index(
        &self,
        request: Request<Streaming<v1::IndexRequest>>,
    ) -> Result<Response<Self::IndexStream>, Status> {
        let (answers, answered) = mpsc::channel(4);
        let service = self.clone();
        let steps = request.into_inner();
        // Ends with the call: both streams fail once the caller is gone, and silence is bounded.
        tokio::spawn(async move {
            if let Err(status) = service.receive(steps, &answers).await {
                tracing::info!(code = ?status.code(), reason = status.message(), "tree not indexed");
                // A caller that has gone needs no answer.
                answers.send(Err(status)).await.unwrap_or(());
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }
}

type Sender = mpsc::Sender<Result<v1::IndexResponse, Status>>;

impl Service {
    async fn receive(&self, mut steps: Streaming<v1::IndexRequest>, answers: &Sender) -> Result<(), Status> {
        let idle = self.settings.idle_timeout;
        let permit = tokio::time::timeout(idle, self.uploads.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(Status::resource_exhausted("too many trees are being brought at once; try again"));
        };
        let mut upload = Upload::new(&self.store, self.max_tree_bytes);
        loop {
            let step = tokio::time::timeout(idle, steps.message()).await;
            let Ok(step) = step else {
                return Err(Status::deadline_exceeded(format!("nothing came for {} s", idle.as_secs())));
            };
            match step?.map(|request| request.step) {
                Some(Some(v1::index_request::Step::Manifest(manifest))) => {
                    let missing = upload.manifest(manifest)?;
                    answer(answers, v1::index_response::Step::Missing(missing)).await?;
                }
                Some(Some(v1::index_request::Step::Blob(blob))) => upload.blob(blob)?,
                Some(None) => {
                    return Err(Status::invalid_argument("expected a manifest or a blob, found neither"));
                }
                None => break,
            }
        }
        let blobs = self.tree(&upload.finish()?)?;
        let size = self.compute(Duration::MAX, move |index| index.warm(&blobs)).await?;
        let indexed = v1::Indexed { files: size.files, definitions: size.definitions };
        answer(answers, v1::index_response::Step::Indexed(indexed)).await
    }

    fn tree(&self, oid: &farm_core::id::Oid) -> Result<TreeBlobs, Status> {
        let unknown = || Status::not_found(format!("tree {oid} is not indexed; bring it with Index"));
        self.store.tree(oid).ok_or_else(unknown)
    }

    /// Computes on a thread of its own. A caller that waits no longer does not stop it, but the next one waits for it: no
    /// more is computed at once than there are processors.
    async fn compute<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce(&Index) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let index = Arc::clone(&self.index);
        let cpu = Arc::clone(&self.cpu);
        let computed = async {
            let permit =
                cpu.acquire_owned().await.map_err(|_| Status::unavailable("the service is closing"))?;
            let work = move || {
                let done = work(&index);
                drop(permit);
                done
            };
            tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))
        };
        tokio::time::timeout(timeout, computed)
            .await
            .map_err(|_| Status::deadline_exceeded(format!("not done within {} ms", timeout.as_millis())))?
    }
}

async fn answer(answers: &Sender, step: v1::index_response::Step) -> Result<(), Status> {
    let answer = v1::IndexResponse { step: Some(step) };
    answers.send(Ok(answer)).await.map_err(|_| Status::cancelled("the caller is gone"))
}

fn unknown_kind(word: &str) -> Status {
    let word: String = word.chars().take(40).collect();
    Status::invalid_argument(format!(
        "kind: expected a kind of definition such as function or class, found {word:?}"
    ))
}

fn snippet(snippet: Snippet) -> v1::Snippet {
    let Snippet { path, start_line, end_line, symbol, score, text } = snippet;
    v1::Snippet { path, start_line, end_line, symbol, score, snippet: text }
}

fn symbol(symbol: Symbol) -> v1::Symbol {
    let Symbol { path, definition } = symbol;
    v1::Symbol {
        name: definition.name,
        kind: definition.kind.word().to_owned(),
        path,
        start_line: definition.start_line,
        end_line: definition.end_line,
        container: definition.container,
    }
}
