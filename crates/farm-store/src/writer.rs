//! The one writer: takes operations from a channel, runs up to a batch of them in one transaction, answers after the commit.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use farm_core::id::Token;
use farm_core::ledger::{Entry, Event, Fact};
use serde_json::json;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, Sqlite, SqliteConnection};
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
    written: u64,
    pub(crate) options: Options,
}

/// The ends of what only grows. It is put back when an operation or a transaction fails.
#[derive(Clone, PartialEq)]
struct Chain {
    token: Token,
    ledger: Option<(u64, String)>,
}

impl Tx {
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
    pub(crate) async fn record(
        &mut self,
        event: Event,
        subject: impl ToString,
        actor: &str,
        body: serde_json::Value,
        now_ms: u64,
    ) -> Result<u64> {
        let fact = Fact { event, subject: subject.to_string(), actor: actor.to_owned(), body };
        let last = self.chain.ledger.as_ref().map(|(seq, hash)| (*seq, hash.as_str()));
        let entry = Entry::after(last, fact, now_ms);
        self.run(
            sqlx::query(
                "INSERT INTO ledger (seq, at_ms, event, subject, actor, body, prev, hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(int(entry.seq))
            .bind(int(entry.at_ms))
            .bind(entry.event.name())
            .bind(entry.subject)
            .bind(entry.actor)
            .bind(entry.body)
            .bind(entry.prev)
            .bind(entry.hash.clone()),
        )
        .await?;
        self.chain.ledger = Some((entry.seq, entry.hash));
        Ok(entry.seq)
    }

    async fn control(&mut self, statement: &'static str) -> sqlx::Result<()> {
        sqlx::query(statement).execute(&mut self.conn).await.map(|_| ())
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
    let mut tx =
        Tx { conn, chain: Chain { token: Token(0), ledger: None }, written: 0, options: options.clone() };
    tx.control("BEGIN IMMEDIATE").await.map_err(fail)?;
    tx.chain = read_chain(&mut tx).await?;
    let (id, epoch) = take_over(&mut tx, now_ms).await?;
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
    tx.record(Event::StoreCreated, &id, "control", json!({}), now_ms).await?;
    Ok((id, 1))
}

async fn read_chain(tx: &mut Tx) -> Result<Chain> {
    let token = match tx.one(sqlx::query("SELECT last_token FROM store")).await? {
        Some(row) => uint(get(&row, 0)?),
        None => 0,
    };
    let last = tx.one(sqlx::query("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")).await?;
    let ledger = match last {
        Some(row) => Some((uint(get(&row, 0)?), get(&row, 1)?)),
        None => None,
    };
    Ok(Chain { token: Token(token), ledger })
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
        let chain = Chain { token: Token(0), ledger: None };
        let mut tx = Tx { conn, chain, written: 0, options: self.options.clone() };
        tx.chain = read_chain(&mut tx).await?;
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
    let token_before = tx.chain.token;
    for work in batch {
        let before = (tx.chain.clone(), tx.written);
        tx.control("SAVEPOINT operation").await.map_err(fail)?;
        if let Err(cause) = work.run(tx).await {
            // Fails if the database has given up the whole transaction (disk full): then nobody's work is kept.
            let given_up =
                |_| StoreError::NotCommitted { detail: format!("the transaction was given up: {cause}") };
            tx.control("ROLLBACK TO operation").await.map_err(given_up)?;
            (tx.chain, tx.written) = before;
        }
        tx.control("RELEASE operation").await.map_err(fail)?;
    }
    if tx.chain.token != token_before {
        let statement = sqlx::query("UPDATE store SET last_token = $1").bind(int(tx.chain.token.0));
        tx.run(statement).await.map_err(|error| StoreError::NotCommitted { detail: error.to_string() })?;
    }
    tx.control("COMMIT").await.map_err(fail)?;
    Ok(tx.written > 0)
}
