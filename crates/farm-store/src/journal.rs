//! The ledger: what is written to it from outside a transition, reading it, and proving it whole.

use farm_core::ledger::{Broken, Entry, Event, Fact, Verifier};
use sqlx::sqlite::SqliteRow;

use crate::error::{Result, StoreError};
use crate::row::{get, get_uint, int, parse};
use crate::store::Store;

/// Entries that are read at a time while verifying.
const AT_ONCE: u32 = 1000;

impl Store {
    /// Appends what control did outside the store: a model call.
    pub async fn note(&self, fact: Fact, now_ms: u64) -> Result<()> {
        self.write(move |tx| {
            Box::pin(async move {
                let Fact { event, subject, actor, body } = fact;
                tx.record(event, subject, &actor, body, now_ms);
                Ok(())
            })
        })
        .await
    }

    /// How many entries there are (`patchfarm_ledger_entries_total`): they are numbered without gaps.
    pub async fn ledger_len(&self) -> Result<u64> {
        let row = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS n FROM ledger")
            .fetch_one(self.readers())
            .await
            .map_err(|error| StoreError::database("count the ledger's entries", &error))?;
        get_uint(&row, "n")
    }

    /// Up to `limit` entries after number `after`, oldest first.
    pub async fn ledger(&self, after: u64, limit: u32) -> Result<Vec<Entry>> {
        let rows = sqlx::query("SELECT * FROM ledger WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(int(after))
            .bind(limit)
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read the ledger", &error))?;
        rows.iter().map(read).collect()
    }

    /// The entries about one task, change or repository, oldest first.
    pub async fn ledger_of(&self, subject: &str) -> Result<Vec<Entry>> {
        let rows = sqlx::query("SELECT * FROM ledger WHERE subject = $1 ORDER BY seq")
            .bind(subject)
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read the ledger", &error))?;
        rows.iter().map(read).collect()
    }

    /// Checks the whole chain; answers the number and hash of its last entry, or where it is broken.
    pub async fn verify_ledger(&self) -> Result<std::result::Result<(u64, String), Broken>> {
        let mut verifier = Verifier::default();
        loop {
            let after = verifier.head().map_or(0, |(seq, _)| seq);
            let entries = self.ledger(after, AT_ONCE).await?;
            for entry in &entries {
                if let Err(broken) = verifier.check(entry) {
                    return Ok(Err(broken));
                }
            }
            if entries.len() < AT_ONCE as usize {
                let head = verifier.head().map(|(seq, hash)| (seq, hash.to_owned()));
                return Ok(Ok(head.unwrap_or_default()));
            }
        }
    }
}

fn read(row: &SqliteRow) -> Result<Entry> {
    Ok(Entry {
        seq: get_uint(row, "seq")?,
        at_ms: get_uint(row, "at_ms")?,
        event: parse("event", get(row, "event")?, Event::parse)?,
        subject: get(row, "subject")?,
        actor: get(row, "actor")?,
        body: get(row, "body")?,
        prev: get(row, "prev")?,
        hash: get(row, "hash")?,
    })
}
