//! The one writer: takes operations from a channel, runs up to a batch of them in one transaction, answers after the commit.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use farm_core::id::Token;
use farm_core::ledger::{Entry, Event, Fact};
use serde_json::json;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Result, StoreError};
use crate::row::{int, uint};
use crate::schema;
use crate::store::{self, Options};

pub(crate) type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

type Statement<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// What an operation sees: the open transaction, and what must stay in step with it.
pub(crate) struct Tx {
    conn: SqliteConnection,
    chain: Chain,
    /// Entries of this transaction; they go to the disk together, at its end.
    entries: Vec<Entry>,
    flushed_token: Token,
    written: u64,
    pub(crate) options: Options,
}

/// How many entries go to the disk with one statement: SQLite allows 32,766 values in one, we need eight an entry.
const ENTRIES_AT_ONCE: usize = 256;

/// The ends of what only grows. It is put back when an operation or a transaction fails.
#[derive(Clone, PartialEq)]
struct Chain {
    token: Token,
    ledger: Option<(u64, String)>,
}

impl Tx {
    fn new(conn: SqliteConnection, options: Options) -> Self {
        let chain = Chain { token: Token(0), ledger: None };
        Self { conn, chain, entries: Vec::new(), flushed_token: Token(0), written: 0, options }
    }

    /// Takes the ends of the chain from the disk.
    async fn read_chain(&mut self) -> Result<()> {
        let token = match self.one(sqlx::query("SELECT last_token FROM store")).await? {
            Some(row) => uint(get(&row, 0)?),
            None => 0,
        };
        let last = self.one(sqlx::query("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")).await?;
        let ledger = match last {
            Some(row) => Some((uint(get(&row, 0)?), get(&row, 1)?)),
            None => None,
        };
        self.flushed_token = Token(token);
        self.chain = Chain { token: Token(token), ledger };
        Ok(())
    }

    /// Runs a statement; answers how many rows it changed.
    pub(crate) async fn run(&mut self, statement: Statement<'_>) -> Result<u64> {
        let done = statement.execute(&mut self.conn).await.map_err(|e| StoreError::database("write", &e))?;
        self.written += done.rows_affected();
        Ok(done.rows_affected())
    }

    pub(crate) async fn one(&mut self, statement: Statement<'_>) -> Result<Option<SqliteRow>> {
        statement.fetch_optional(&mut self.conn).await.map_err(|e| StoreError::database("read", &e))
    }

    pub(crate) async fn all(&mut self, statement: Statement<'_>) -> Result<Vec<SqliteRow>> {
        statement.fetch_all(&mut self.conn).await.map_err(|e| StoreError::database("read", &e))
    }

    /// The next fencing token. It is on the disk before anybody hears of it.
    pub(crate) fn next_token(&mut self, now_ms: u64) -> Token {
        self.chain.token = Token::next(self.chain.token, now_ms);
        self.chain.token
    }

    /// Appends to the ledger; answers the entry's number.
    pub(crate) fn record(
        &mut self,
        event: Event,
        subject: impl ToString,
        actor: &str,
        body: serde_json::Value,
        now_ms: u64,
    ) -> u64 {
        let fact = Fact { event, subject: subject.to_string(), actor: actor.to_owned(), body };
        let last = self.chain.ledger.as_ref().map(|(seq, hash)| (*seq, hash.as_str()));
        let entry = Entry::after(last, fact, now_ms);
        let seq = entry.seq;
        self.chain.ledger = Some((seq, entry.hash.clone()));
        self.entries.push(entry);
        seq
    }

    /// Writes what must be on the disk with this transaction: the ledger's entries and the last token.
    async fn flush(&mut self) -> sqlx::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        for chunk in entries.chunks(ENTRIES_AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO ledger (seq, at_ms, event, subject, actor, body, prev, hash) ",
            );
            insert.push_values(chunk, |mut row, entry| {
                row.push_bind(int(entry.seq))
                    .push_bind(int(entry.at_ms))
                    .push_bind(entry.event.name())
                    .push_bind(&entry.subject)
                    .push_bind(&entry.actor)
                    .push_bind(&entry.body)
                    .push_bind(&entry.prev)
                    .push_bind(&entry.hash);
            });
            // Their number varies, and with it the text: not worth a place among the prepared statements.
            self.written += insert.build().persistent(false).execute(&mut self.conn).await?.rows_affected();
        }
        if self.chain.token != self.flushed_token {
            let statement = sqlx::query("UPDATE store SET last_token = $1").bind(int(self.chain.token.0));
            statement.execute(&mut self.conn).await?;
            self.flushed_token = self.chain.token;
        }
        Ok(())
    }

    /// Runs a statement without values, such as BEGIN; several may stand in one text.
    async fn control(&mut self, statement: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(statement).execute(&mut self.conn).await.map(|_| ())
    }
}

/// An operation on its way through the writer.
pub(crate) trait Work: Send {
    /// Runs it; an error undoes what it wrote.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<()>>;
    /// Tells the caller, once it is known whether the transaction committed.
    fn answer(self: Box<Self>, committed: std::result::Result<(), StoreError>);
    /// Whether the writer ends after this batch.
    fn closes(&self) -> bool {
        false
    }
}

pub(crate) struct Operation<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation<T, F> {
    pub(crate) fn new(work: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Self { work: Some(work), outcome: None, reply }
    }
}

impl<T, F> Work for Operation<T, F>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<()>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Ok(()) };
            let outcome = work(tx).await;
            let done = outcome.as_ref().map(|_| ()).map_err(StoreError::clone);
            self.outcome = Some(outcome);
            done
        })
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), StoreError>) {
        let answer = match (self.outcome, committed) {
            // It failed by itself: that is what the caller must hear, whatever became of the others.
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // The caller may have gone; what was committed stays so.
        let _gone = self.reply.send(answer);
    }
}

/// Ends the writer.
pub(crate) struct Close {
    reply: oneshot::Sender<()>,
}

impl Close {
    pub(crate) fn new(reply: oneshot::Sender<()>) -> Self {
        Self { reply }
    }
}

impl Work for Close {
    fn run<'t>(&'t mut self, _tx: &'t mut Tx) -> BoxFuture<'t, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn answer(self: Box<Self>, _committed: std::result::Result<(), StoreError>) {
        let _gone = self.reply.send(());
    }

    fn closes(&self) -> bool {
        true
    }
}

/// The store's writing side, before it serves.
pub(crate) struct Writer {
    connect: SqliteConnectOptions,
    path: PathBuf,
    options: Options,
    id: String,
    epoch: i64,
    tx: Option<Tx>,
}

/// Migrates the store, makes its id if it has none, and takes over its writing.
pub(crate) async fn open(
    connect: SqliteConnectOptions,
    path: &Path,
    options: Options,
    now_ms: u64,
) -> Result<Writer> {
    let fail = |e: sqlx::Error| StoreError::Open { path: path.display().to_string(), detail: e.to_string() };
    let mut conn = store::connect(&connect).await.map_err(fail)?;
    schema::migrate(&mut conn, &path.display().to_string()).await?;
    let mut tx = Tx::new(conn, options.clone());
    tx.control("BEGIN IMMEDIATE").await.map_err(fail)?;
    tx.read_chain().await?;
    let (id, epoch) = take_over(&mut tx, now_ms).await?;
    tx.flush().await.map_err(fail)?;
    tx.control("COMMIT").await.map_err(fail)?;
    Ok(Writer { connect, path: path.to_owned(), options, id, epoch, tx: Some(tx) })
}

async fn take_over(tx: &mut Tx, now_ms: u64) -> Result<(String, i64)> {
    if let Some(row) = tx.one(sqlx::query("SELECT id, epoch FROM store")).await? {
        let id: String = get(&row, 0)?;
        let epoch: i64 = get::<i64>(&row, 1)? + 1;
        tx.run(sqlx::query("UPDATE store SET epoch = $1").bind(epoch)).await?;
        return Ok((id, epoch));
    }
    let id = fresh_id()?;
    tx.run(
        sqlx::query("INSERT INTO store (one, id, epoch, last_token, created_ms) VALUES (1, $1, 1, 0, $2)")
            .bind(id.clone())
            .bind(int(now_ms)),
    )
    .await?;
    tx.record(Event::StoreCreated, &id, "control", json!({}), now_ms);
    Ok((id, 1))
}

fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(column).map_err(|error| StoreError::unreadable("a row", error))
}

/// 128 random bits, written like a UUID of version 4.
fn fresh_id() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Database { operation: "draw an id", detail: error.to_string() })?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = farm_core::delta::hex(&bytes);
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

impl Writer {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Serves until it is closed or the last handle is dropped.
    pub(crate) async fn serve(mut self, mut queue: mpsc::Receiver<Box<dyn Work>>, ticks: watch::Sender<u64>) {
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            while batch.len() < self.options.batch {
                match queue.try_recv() {
                    Ok(work) => batch.push(work),
                    Err(_) => break,
                }
            }
            let committed = self.commit(&mut batch).await;
            if committed == Ok(true) {
                ticks.send_modify(|n| *n += 1);
            }
            let closes = batch.iter().any(|work| work.closes());
            let answer = committed.map(|_| ());
            if closes {
                self.disconnect().await;
            }
            for work in batch {
                work.answer(answer.clone());
            }
            if closes {
                break;
            }
        }
        self.disconnect().await;
    }

    async fn disconnect(&mut self) {
        if let Some(tx) = self.tx.take()
            && let Err(error) = tx.conn.close().await
        {
            tracing::warn!(%error, "the store's file was not closed cleanly; it is recovered when it is opened");
        }
    }

    /// Runs a batch in one transaction; answers whether it changed anything. On failure the connection is dropped, and with
    /// it whatever state the transaction was in; the next batch gets a new one.
    async fn commit(&mut self, batch: &mut [Box<dyn Work>]) -> Result<bool> {
        let mut tx = match self.tx.take() {
            Some(tx) => tx,
            None => self.reconnect().await?,
        };
        let outcome = transact(&mut tx, self.epoch, batch).await;
        match &outcome {
            Ok(_) => self.tx = Some(tx),
            Err(error) => tracing::error!(%error, path = %self.path.display(), "the store could not commit"),
        }
        outcome
    }

    async fn reconnect(&self) -> Result<Tx> {
        let conn = store::connect(&self.connect)
            .await
            .map_err(|error| StoreError::NotCommitted { detail: error.to_string() })?;
        let mut tx = Tx::new(conn, self.options.clone());
        tx.read_chain().await?;
        Ok(tx)
    }
}

async fn transact(tx: &mut Tx, epoch: i64, batch: &mut [Box<dyn Work>]) -> Result<bool> {
    let fail = |error: sqlx::Error| StoreError::NotCommitted { detail: error.to_string() };
    tx.control("BEGIN IMMEDIATE").await.map_err(fail)?;
    // Two writers would each believe in their own chain and tokens: the one that opened last goes on.
    let current = tx.one(sqlx::query("SELECT epoch FROM store")).await?;
    if current.map(|row| get::<i64>(&row, 0)).transpose()? != Some(epoch) {
        return Err(StoreError::Superseded);
    }
    tx.written = 0;
    tx.control("SAVEPOINT operation").await.map_err(fail)?;
    for work in batch {
        let before = (tx.chain.clone(), tx.written, tx.entries.len());
        match work.run(tx).await {
            Ok(()) => tx.control("RELEASE operation; SAVEPOINT operation").await.map_err(fail)?,
            Err(cause) => {
                // Fails if the database has given up the whole transaction (disk full): then nobody's work is kept.
                let given_up = |_| {
                    let detail = format!("the transaction was given up: {cause}");
                    StoreError::NotCommitted { detail }
                };
                tx.control("ROLLBACK TO operation").await.map_err(given_up)?;
                (tx.chain, tx.written) = (before.0, before.1);
                tx.entries.truncate(before.2);
            }
        }
    }
    tx.flush().await.map_err(fail)?;
    tx.control("COMMIT").await.map_err(fail)?;
    Ok(tx.written > 0)
}
