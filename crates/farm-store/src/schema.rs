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

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use crate::dispatch::{CANDIDATES, ON_TOPIC};
    use crate::row::get;
    use crate::store::{Options, Store};
    use crate::sweep::WAITING_IN_VAIN;

    /// What control asks all the time must cost nothing however long the queue is: every part goes by an index that says
    /// which rows or in which order, and nothing is sorted.
    #[tokio::test]
    async fn the_queries_of_dispatch_and_sweep_go_by_indexes() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(|_| Vec::new());
        let store = Store::open(&folder.path().join("farm.db"), options, 1_000).await.unwrap();
        for (query, indexes) in [
            (CANDIDATES, &["tasks_turn", "tasks_offered_path", "sqlite_autoindex_leases"][..]),
            (ON_TOPIC, &["tasks_window"]),
            (WAITING_IN_VAIN, &["tasks_waiting"]),
        ] {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
            let rows = sqlx::query(explain).fetch_all(store.readers()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| get(row, "detail").unwrap()).collect();
            for index in indexes {
                assert!(plan.iter().any(|step| step.contains(index)), "{index} is not used: {plan:#?}");
            }
            for step in &plan {
                let scans_all = step.starts_with("SCAN") && !step.contains("tasks_turn");
                assert!(!step.contains("TEMP B-TREE") && !scans_all, "{plan:#?}");
            }
        }
    }
}
