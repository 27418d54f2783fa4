//! The schema, forwards only: each migration runs once, in order, within one transaction.

use sqlx::{Connection, Row, SqliteConnection};

use crate::error::{Result, StoreError};

const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_start.sql")];

/// Brings the store to the newest schema; refuses one that is newer still.
pub(crate) async fn migrate(conn: &mut SqliteConnection, path: &str) -> Result<()> {
    let known = MIGRATIONS.len() as i64;
    let fail = |error: sqlx::Error| StoreError::Open { path: path.to_owned(), detail: error.to_string() };
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)")
        .execute(&mut *tx)
        .await
        .map_err(fail)?;
    let found: i64 = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_versions")
        .fetch_one(&mut *tx)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(fail)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (i, migration) in MIGRATIONS.iter().enumerate().skip(found.unsigned_abs() as usize) {
        sqlx::raw_sql(*migration).execute(&mut *tx).await.map_err(fail)?;
        sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
            .bind(i as i64 + 1)
            .execute(&mut *tx)
            .await
            .map_err(fail)?;
    }
    tx.commit().await.map_err(fail)
}
