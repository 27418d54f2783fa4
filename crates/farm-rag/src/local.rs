//! The worker's own search, for when the context service is away: the same ranking over definitions found by their looks.
//! It takes no extractor, so no C parser can come into a process that holds credentials (I6).

use std::time::Duration;

use async_trait::async_trait;
use farm_core::port::{Blobs, Context, ContextQuery, NoContext, Snippet};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::extract::heuristic::Heuristic;
use crate::index::{Index, Limits};

/// Searches in this process.
pub struct Local {
    index: Index,
}

impl Local {
    /// A worker has other things to hold.
    pub const LIMITS: Limits = Limits { cache_bytes: 64 << 20, read_time: Duration::MAX };

    /// An empty index with `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { index: Index::new(Heuristic, limits) }
    }
}

#[async_trait]
impl Context for Local {
    async fn search(&self, query: &ContextQuery, blobs: &dyn Blobs) -> Result<Vec<Snippet>, NoContext> {
        Ok(in_place(|| self.index.search(query, 0, blobs).results))
    }
}

/// Runs what may take seconds without holding up the other tasks of this thread, where there are other threads for them.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
