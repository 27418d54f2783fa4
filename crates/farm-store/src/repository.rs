//! Registered repositories.

use farm_core::id::RepoName;
use farm_core::ledger::Event;
use farm_core::service::Repository;
use serde_json::json;

use crate::error::{Result, StoreError};
use crate::row::{get_json, int, to_json};
use crate::store::Store;

impl Store {
    /// Registers a repository, or replaces what was registered under its name.
    pub async fn put_repository(&self, repository: Repository, actor: &str, now_ms: u64) -> Result<()> {
        let actor = actor.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let document = to_json("repository", &repository)?;
                let body = json!({
                    "url": repository.url,
                    "target": repository.target,
                    "credential": repository.credential,
                    "policy": repository.policy.version(),
                });
                tx.record(Event::RepositoryChanged, &repository.name, &actor, body, now_ms);
                tx.run(
                    sqlx::query(
                        "INSERT INTO repositories (name, document, changed_ms) VALUES ($1, $2, $3)
                         ON CONFLICT (name) DO UPDATE SET document = excluded.document, changed_ms = excluded.changed_ms",
                    )
                    .bind(repository.name.as_str())
                    .bind(document)
                    .bind(int(now_ms)),
                )
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets a repository; its tasks and changes stay. Answers whether it was there.
    pub async fn remove_repository(&self, name: &RepoName, actor: &str, now_ms: u64) -> Result<bool> {
        let (name, actor) = (name.clone(), actor.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let statement = sqlx::query("DELETE FROM repositories WHERE name = $1").bind(name.as_str());
                let removed = tx.run(statement).await? > 0;
                if removed {
                    let body = json!({ "removed": true });
                    tx.record(Event::RepositoryChanged, &name, &actor, body, now_ms);
                }
                Ok(removed)
            })
        })
        .await
    }

    /// The repository of this name.
    pub async fn repository(&self, name: &RepoName) -> Result<Option<Repository>> {
        let row = sqlx::query("SELECT document FROM repositories WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| StoreError::database("read a repository", &error))?;
        row.map(|row| get_json(&row, "document")).transpose()
    }

    /// Every repository, by name.
    pub async fn repositories(&self) -> Result<Vec<Repository>> {
        let rows = sqlx::query("SELECT document FROM repositories ORDER BY name")
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read the repositories", &error))?;
        rows.iter().map(|row| get_json(row, "document")).collect()
    }
}
