//! The context service, as a worker asks it: a search, and where the service does not know the tree, the tree first.

use std::time::Duration;

use async_trait::async_trait;
use farm_core::id::Oid;
use farm_core::port::{Blobs, Context, ContextQuery, NoContext, Snippet, TreeFile};
use farm_wire::v1;
use farm_wire::v1::context_service_client::ContextServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::index::demanded;
use crate::local::in_place;
use crate::server::MAX_MESSAGE_BYTES;

/// Files a manifest, well below the largest message.
const MANIFEST_FILES: usize = 20_000;

/// Asks the service at one address.
pub struct Remote {
    client: ContextServiceClient<Channel>,
    deadline: Duration,
}

impl Remote {
    /// Connects when first asked. A search that is not answered within `deadline` fails; blobs brought until then stay, so
    /// that a large tree is known after a few of them.
    pub fn new(url: &str, deadline: Duration) -> Result<Self, NoContext> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| NoContext {
            detail: format!("expected an address such as http://rag:9100: {error}"),
        })?;
        let channel = endpoint.connect_timeout(deadline).connect_lazy();
        let client = ContextServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client, deadline })
    }

    async fn ask(&self, query: &ContextQuery, blobs: &dyn Blobs) -> Result<Vec<Snippet>, Status> {
        match self.search_known(query, blobs).await {
            Err(status) if status.code() == Code::NotFound => {
                self.bring(&query.tree, blobs).await?;
                self.search_known(query, blobs).await
            }
            answer => answer,
        }
    }

    async fn search_known(&self, query: &ContextQuery, blobs: &dyn Blobs) -> Result<Vec<Snippet>, Status> {
        let mut results = in_place(|| demanded(query, blobs));
        let spent: usize = results.iter().map(|snippet| snippet.text.len().div_ceil(4)).sum();
        let request = v1::SearchRequest {
            tree: query.tree.to_string(),
            query: query.goal.clone(),
            limit: 0,
            tokens: u32::try_from(query.tokens.saturating_sub(spent).max(1)).unwrap_or(u32::MAX),
            path: query.path.clone().unwrap_or_default(),
            timeout_ms: u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX),
        };
        let found = self.client.clone().search(request).await?.into_inner().results;
        results.extend(found.into_iter().map(|found| Snippet {
            path: found.path,
            start_line: found.start_line,
            end_line: found.end_line,
            symbol: found.symbol,
            score: found.score,
            text: found.snippet,
        }));
        Ok(results)
    }

    /// Brings the tree: manifests, then what the service asks for.
    async fn bring(&self, tree: &Oid, blobs: &dyn Blobs) -> Result<(), Status> {
        let (steps, sent) = mpsc::channel(1);
        let send = async |step: v1::index_request::Step| {
            // A closed channel means that the service ended the call; its answer says why.
            steps.send(v1::IndexRequest { step: Some(step) }).await.is_ok()
        };
        let mut answers = self.client.clone().index(ReceiverStream::new(sent)).await?.into_inner();
        let files = in_place(|| blobs.files());
        let mut missing = Vec::new();
        let parts = if files.is_empty() { vec![&files[..]] } else { files.chunks(MANIFEST_FILES).collect() };
        for part in parts {
            let entries = part.iter().map(entry).collect();
            send(v1::index_request::Step::Manifest(v1::Manifest { tree: tree.to_string(), entries })).await;
            match next(&mut answers).await? {
                v1::index_response::Step::Missing(part) => missing.extend(part.oids),
                v1::index_response::Step::Indexed(_) => return Err(out_of_turn()),
            }
        }
        for oid in missing {
            let content = oid.parse().ok().and_then(|id| in_place(|| blobs.read(&id)));
            let Some(content) = content else { continue };
            if !send(v1::index_request::Step::Blob(v1::Blob { oid, content: content.into() })).await {
                break;
            }
        }
        drop(steps);
        match next(&mut answers).await? {
            v1::index_response::Step::Indexed(_) => Ok(()),
            v1::index_response::Step::Missing(_) => Err(out_of_turn()),
        }
    }
}

#[async_trait]
impl Context for Remote {
    async fn search(&self, query: &ContextQuery, blobs: &dyn Blobs) -> Result<Vec<Snippet>, NoContext> {
        let answer = tokio::time::timeout(self.deadline, self.ask(query, blobs)).await;
        let no_context = |detail| NoContext { detail };
        answer
            .map_err(|_| no_context(format!("no answer within {} ms", self.deadline.as_millis())))?
            .map_err(|status| no_context(format!("{:?}: {}", status.code(), status.message())))
    }
}

fn entry(file: &TreeFile) -> v1::ManifestEntry {
    v1::ManifestEntry { path: file.path.clone(), oid: file.oid.to_string(), size: file.size }
}

async fn next(answers: &mut Streaming<v1::IndexResponse>) -> Result<v1::index_response::Step, Status> {
    answers.message().await?.and_then(|answer| answer.step).ok_or_else(out_of_turn)
}

fn out_of_turn() -> Status {
    Status::internal("the service's answer came out of turn")
}
