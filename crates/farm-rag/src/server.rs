//! The context service. It fetches nothing and needs nothing from its environment: callers bring the blobs, and what it
//! holds of them is bounded.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use farm_wire::v1;
use farm_wire::v1::context_service_server::ContextServiceServer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::extract::tree_sitter::{BadQuery, TreeSitter};
use crate::index::{Index, Limits};
use service::Service;
use store::Store;

mod service;
mod store;
mod upload;

/// The largest message: a manifest of about 150,000 files. Larger trees come in several manifests.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// How the service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it may hold of all trees together, in bytes.
    pub memory_bytes: usize,
    /// How long a search may take whose caller sets no time.
    pub search_timeout: Duration,
    /// How long an upload may be silent.
    pub idle_timeout: Duration,
    /// How long calls may run on after shutdown began.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            search_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Why the service does not run, or no longer does.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A query of ours does not fit its grammar.
    #[error(transparent)]
    Queries(#[from] BadQuery),
    /// The descriptors that reflection tells of cannot be read.
    #[error("reflection cannot be offered: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The socket failed.
    #[error("the context service cannot go on: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Uploads that may run at once; each may hold a thirty-second part of the memory before its tree is whole.
const MAX_UPLOADS: usize = 4;

/// Serves until `shutdown` is ready, then lets running calls end within the grace.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let share = settings.memory_bytes / 32;
    let index = Index::new(TreeSitter::new()?, Limits { cache_bytes: 12 * share, read_time: Duration::MAX });
    let n_threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let service = Service {
        index: Arc::new(index),
        store: Arc::new(Store::new(12 * share, 4 * share)),
        cpu: Arc::new(Semaphore::new(n_threads)),
        uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
        max_tree_bytes: share,
        settings: settings.clone(),
    };
    let service = ContextServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ContextServiceServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;

    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(health)
        .add_service(reflection)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            // The sender falls only when this future does.
            stopped.await.unwrap_or(());
        });
    tokio::pin!(server, shutdown);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = &mut shutdown => {}
    }
    reporter.set_not_serving::<ContextServiceServer<Service>>().await;
    // The server ended by itself if nobody listens.
    stop.send(()).unwrap_or(());
    match tokio::time::timeout(settings.grace, server).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!(
                grace_seconds = settings.grace.as_secs(),
                "calls were still running after the grace"
            );
            Ok(())
        }
    }
}
