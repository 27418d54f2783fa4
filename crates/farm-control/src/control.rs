//! What all parts of control share.

use std::sync::Arc;
use std::time::Duration;

use farm_core::id::RepoName;
use farm_core::port::{Clock, Model};
use farm_core::service::Repository;
use farm_git::credentials::{Credentials, NoCredential};
use farm_git::error::GitError;
use farm_git::mirror::{Mirror, Mirrors};
use farm_git::remote::Remote;
use farm_store::{Store, StoreError};

use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::tips::Tips;

/// Control, shared by its server, its loops and the page.
pub struct Control {
    /// The one truth.
    pub store: Store,
    /// One bare mirror a remote.
    pub mirrors: Mirrors,
    /// Finds secrets.
    pub credentials: Credentials,
    /// Makes plans; `None` where no model is configured.
    pub model: Option<Arc<dyn Model>>,
    /// The tips of target branches, as last seen.
    pub tips: Tips,
    /// The way to Kafka.
    pub publisher: Publisher,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the operator chose.
    pub settings: Settings,
}

/// What the operator chose for control.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The repository of tasks that name none (the seed's `REMOTE_REPO`).
    pub default_repository: Option<RepoName>,
    /// The largest record that is taken.
    pub max_record_bytes: usize,
    /// Records that may wait in each partition.
    pub window_records: u32,
    /// Bytes that may wait in each partition.
    pub window_bytes: u64,
    /// How often the sweep looks.
    pub sweep_interval: Duration,
    /// How often a change goes back to `code_phase`.
    pub max_rounds: u32,
    /// How long one model call may take, its retries included.
    pub model_deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_repository: None,
            max_record_bytes: 1_000_000,
            window_records: 256,
            window_bytes: 1024 * 1024,
            sweep_interval: Duration::from_secs(1),
            max_rounds: 2,
            model_deadline: Duration::from_secs(120),
        }
    }
}

/// What can keep control from doing its part.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The remote or the mirror failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A credential reference leads nowhere.
    #[error(transparent)]
    Credential(#[from] NoCredential),
    /// A repository that nobody registered.
    #[error("repository {name} is not registered; `patchfarm repo add {name} URL` registers it")]
    UnknownRepository {
        /// Its name.
        name: RepoName,
    },
    /// A request that cannot be accepted.
    #[error("{what} is not accepted: {detail}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Expected and found.
        detail: String,
    },
}

impl Control {
    /// Now, Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A registered repository.
    pub async fn repository(&self, name: &RepoName) -> Result<Repository, ControlError> {
        let found = self.store.repository(name).await?;
        found.ok_or_else(|| ControlError::UnknownRepository { name: name.clone() })
    }

    /// The mirror of a repository.
    pub async fn mirror(&self, repository: &Repository) -> Result<Mirror, ControlError> {
        let credential = self.credentials.find(repository.credential.as_deref())?;
        let remote = Remote::new(&repository.url, credential)?;
        Ok(self.mirrors.mirror(&remote).await?)
    }
}
