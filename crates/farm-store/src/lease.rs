//! Leases on files: a run holds those of its task while it lasts, a producer may reserve some before.
//!
//! They are given all or nothing and nobody waits for one, so there is no deadlock. They are not in the ledger (DESIGN §6).

use farm_core::delta::sha256;
use farm_core::id::{Oid, RepoName, TaskId, Token};
use farm_core::lease::{Lease, LeaseKey};
use farm_core::reason::Reason;
use farm_core::service::Denied;
use sqlx::sqlite::SqliteRow;

use crate::error::{Result, StoreError};
use crate::row::{get, get_id, get_id_opt, get_uint, int};
use crate::store::Store;
use crate::writer::Tx;

/// A lease and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Names this giving-out: a lease that was lost and taken again has another.
    pub id: String,
    /// What, whose, until when.
    pub lease: Lease,
    /// Which commit it was used for, once claimed.
    pub commit: Option<Oid>,
}

/// The answer to a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// All of them.
    Given(Vec<HeldLease>),
    /// None of them: this one is in the way.
    Conflict(Box<HeldLease>),
}

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Those that last on.
    pub leases: Vec<HeldLease>,
    /// The ids of those that had ended.
    pub lost: Vec<String>,
}

impl Store {
    /// Reserves files for a task, all or nothing; the same request id gets the same leases while they last.
    pub async fn reserve(
        &self,
        request_id: &str,
        repository: &RepoName,
        paths: Vec<String>,
        task: &TaskId,
        now_ms: u64,
    ) -> Result<Reserved> {
        let (request, repository, task) = (request_id.to_owned(), repository.clone(), task.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let given = by_request(tx, &request, now_ms).await?;
                if !given.is_empty() {
                    return Ok(Reserved::Given(given));
                }
                let keys: Vec<LeaseKey> =
                    paths.iter().map(|path| LeaseKey::file(repository.clone(), path)).collect();
                for key in &keys {
                    if let Some(held) = in_the_way(tx, key, &task, now_ms).await? {
                        return Ok(Reserved::Conflict(Box::new(held)));
                    }
                }
                let token = tx.next_token(now_ms);
                let until_ms = now_ms.saturating_add(tx.options.lease_ms);
                for key in &keys {
                    take(tx, key, &task, token, &request, until_ms).await?;
                }
                Ok(Reserved::Given(by_request(tx, &request, now_ms).await?))
            })
        })
        .await
    }

    /// Makes leases last from now on.
    pub async fn renew(&self, lease_ids: Vec<String>, now_ms: u64) -> Result<Renewed> {
        self.write(move |tx| {
            Box::pin(async move {
                let until_ms = now_ms.saturating_add(tx.options.lease_ms);
                let mut renewed = Renewed { leases: Vec::new(), lost: Vec::new() };
                for id in lease_ids {
                    let statement =
                        sqlx::query("UPDATE leases SET until_ms = $2 WHERE lease_id = $1 AND until_ms > $3")
                            .bind(&id)
                            .bind(int(until_ms))
                            .bind(int(now_ms));
                    tx.run(statement).await?;
                    match by_id(tx, &id, now_ms).await? {
                        Some(held) => renewed.leases.push(held),
                        None => renewed.lost.push(id),
                    }
                }
                Ok(renewed)
            })
        })
        .await
    }

    /// Notes which commit a lease was used for.
    pub async fn claim(
        &self,
        lease_id: &str,
        commit: &Oid,
        now_ms: u64,
    ) -> Result<std::result::Result<(), Denied>> {
        let (id, commit) = (lease_id.to_owned(), commit.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let statement =
                    sqlx::query("UPDATE leases SET commit_sha = $2 WHERE lease_id = $1 AND until_ms > $3")
                        .bind(&id)
                        .bind(commit.as_str())
                        .bind(int(now_ms));
                if tx.run(statement).await? > 0 {
                    return Ok(Ok(()));
                }
                Ok(Err(Denied { reason: Reason::LeaseLost, detail: format!("lease {id} has ended") }))
            })
        })
        .await
    }

    /// Gives leases up. One that has ended is given up already.
    pub async fn release(&self, lease_ids: Vec<String>) -> Result<()> {
        self.write(move |tx| {
            Box::pin(async move {
                for id in lease_ids {
                    tx.run(sqlx::query("DELETE FROM leases WHERE lease_id = $1").bind(id)).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The leases that last at `now_ms`, of one repository or of all.
    pub async fn leases(&self, repository: Option<&RepoName>, now_ms: u64) -> Result<Vec<HeldLease>> {
        let rows = sqlx::query(
            "SELECT * FROM leases WHERE until_ms > $1 AND ($2 IS NULL OR repository = $2) ORDER BY repository, path",
        )
        .bind(int(now_ms))
        .bind(repository.map(RepoName::as_str))
        .fetch_all(self.readers())
        .await
        .map_err(|error| StoreError::database("read the leases", &error))?;
        rows.iter().map(read).collect()
    }
}

/// The lease that keeps `holder` from having `key`.
pub(crate) async fn in_the_way(
    tx: &mut Tx,
    key: &LeaseKey,
    holder: &TaskId,
    now_ms: u64,
) -> Result<Option<HeldLease>> {
    let query = sqlx::query("SELECT * FROM leases WHERE repository = $1 AND path = $2")
        .bind(key.repository.as_str())
        .bind(&key.path);
    let held = tx.one(query).await?.as_ref().map(read).transpose()?;
    Ok(held.filter(|held| !held.lease.admits(holder, now_ms)))
}

/// Takes a lease that [`in_the_way`] found free.
pub(crate) async fn take(
    tx: &mut Tx,
    key: &LeaseKey,
    holder: &TaskId,
    token: Token,
    request_id: &str,
    until_ms: u64,
) -> Result<()> {
    let digest = sha256(format!("{}\n{}", key.repository, key.path).as_bytes());
    let id = format!("{token}-{}", digest.get(..12).unwrap_or(&digest));
    tx.run(
        sqlx::query(
            "INSERT INTO leases (repository, path, lease_id, holder, token, request_id, until_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (repository, path) DO UPDATE SET
                 lease_id = excluded.lease_id, holder = excluded.holder, token = excluded.token,
                 request_id = excluded.request_id, until_ms = excluded.until_ms, commit_sha = NULL",
        )
        .bind(key.repository.as_str())
        .bind(&key.path)
        .bind(id)
        .bind(holder.as_str())
        .bind(int(token.0))
        .bind(request_id)
        .bind(int(until_ms)),
    )
    .await?;
    Ok(())
}

/// Makes every lease of a task last as long as its run; those that were reserved for it become the run's.
pub(crate) async fn keep_all(tx: &mut Tx, holder: &TaskId, token: Token, now_ms: u64) -> Result<()> {
    let until_ms = now_ms.saturating_add(tx.options.lease_ms);
    tx.run(
        sqlx::query("UPDATE leases SET token = $2, until_ms = $3 WHERE holder = $1 AND until_ms > $4")
            .bind(holder.as_str())
            .bind(int(token.0))
            .bind(int(until_ms))
            .bind(int(now_ms)),
    )
    .await?;
    Ok(())
}

/// Gives up every lease of a task.
pub(crate) async fn release_all(tx: &mut Tx, holder: &TaskId) -> Result<()> {
    tx.run(sqlx::query("DELETE FROM leases WHERE holder = $1").bind(holder.as_str())).await?;
    Ok(())
}

async fn by_request(tx: &mut Tx, request_id: &str, now_ms: u64) -> Result<Vec<HeldLease>> {
    if request_id.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query("SELECT * FROM leases WHERE request_id = $1 AND until_ms > $2 ORDER BY path")
        .bind(request_id)
        .bind(int(now_ms));
    tx.all(query).await?.iter().map(read).collect()
}

async fn by_id(tx: &mut Tx, id: &str, now_ms: u64) -> Result<Option<HeldLease>> {
    let query =
        sqlx::query("SELECT * FROM leases WHERE lease_id = $1 AND until_ms > $2").bind(id).bind(int(now_ms));
    tx.one(query).await?.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<HeldLease> {
    Ok(HeldLease {
        id: get(row, "lease_id")?,
        lease: Lease {
            key: LeaseKey { repository: get_id(row, "repository")?, path: get(row, "path")? },
            holder: get_id(row, "holder")?,
            token: Token(get_uint(row, "token")?),
            until_ms: get_uint(row, "until_ms")?,
        },
        commit: get_id_opt(row, "commit_sha")?,
    })
}
