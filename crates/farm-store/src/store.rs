//! Opening and closing, and the two ways in: the writer's channel and the readers' pool.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use farm_core::result::CommitResult;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Result, StoreError};
use crate::writer::{self, BoxFuture, Operation, Tx, Work};

/// Encodes a result that the store makes itself; the store knows no wire.
pub type Encoder = Arc<dyn Fn(&CommitResult) -> Vec<u8> + Send + Sync>;

/// The store's rules.
#[derive(Clone)]
pub struct Options {
    /// How long a run's lease lasts unless renewed.
    pub lease_ms: u64,
    /// How often a task may be begun.
    pub max_runs: u32,
    /// After how long a record that was offered and not begun is taken for lost. Doubles up to four times that, since a
    /// record may also wait for a busy worker.
    pub offer_timeout_ms: u64,
    /// How long a worker has to publish its result before the sweep does.
    pub publish_timeout_ms: u64,
    /// How long a task waits for a predecessor that nobody has heard of.
    pub unknown_predecessor_ms: u64,
    /// The most operations in one transaction.
    pub batch: usize,
    /// Encodes results.
    pub encoder: Encoder,
}

impl Options {
    /// The defaults of DESIGN §7.
    pub fn new(encoder: impl Fn(&CommitResult) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self {
            lease_ms: 120_000,
            max_runs: 5,
            offer_timeout_ms: 30_000,
            publish_timeout_ms: 10_000,
            unknown_predecessor_ms: 3_600_000,
            batch: 64,
            encoder: Arc::new(encoder),
        }
    }
}

/// The store; a clone is another handle to the same.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    pub(crate) readers: SqlitePool,
    operations: mpsc::Sender<Box<dyn Work>>,
    commits: watch::Receiver<u64>,
}

/// How many operations may wait for the writer before callers wait to hand theirs over.
const QUEUE: usize = 1024;

const READERS: u32 = 4;

impl Store {
    /// Opens the store at `path`, which is made if it is not there, and takes over its writing: whoever wrote it before
    /// gets [`StoreError::Superseded`] from then on.
    pub async fn open(path: &Path, options: Options, now_ms: u64) -> Result<Self> {
        let connect = connect_options(path);
        let opened = writer::open(connect.clone(), path, options, now_ms).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(connect.read_only(true).create_if_missing(false))
            .await
            .map_err(|error| StoreError::Open {
                path: path.display().to_string(),
                detail: error.to_string(),
            })?;
        let (operations, queue) = mpsc::channel(QUEUE);
        let (ticks, commits) = watch::channel(0);
        let id = opened.id().to_owned();
        tokio::spawn(opened.serve(queue, ticks));
        Ok(Self { inner: Arc::new(Inner { id, readers, operations, commits }) })
    }

    /// Made once, with the store: it tells a restored or new store from the one that a worker knew.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Changes whenever something was committed.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.inner.commits.clone()
    }

    /// Lets what is under way commit, then lets go of the file. Other handles get [`StoreError::Closed`].
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        // A writer that is gone already, or goes before it answers, is what was asked for.
        if self.inner.operations.send(Box::new(writer::Close::new(reply))).await.is_ok() {
            let _gone = closed.await;
        }
        self.inner.readers.close().await;
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Runs `work` in the writer; answers after its commit. Dropping the future neither stops it nor undoes half of it.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let operation = Box::new(Operation::new(work, reply));
        self.inner.operations.send(operation).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

pub(crate) async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    options.connect().await
}
