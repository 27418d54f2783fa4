//! Changes: accepted once, moved only as `ChangeState` allows, each move in the ledger.

use std::collections::HashMap;

use farm_core::id::{ChangeId, Oid, RepoName};
use farm_core::ledger::Event;
use farm_core::reason::Reason;
use farm_core::state::ChangeState;
use farm_core::task::Risk;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::accept::{self, Accepted, NewTask, Turns};
use crate::error::{Result, StoreError};
use crate::finish::By;
use crate::person;
use crate::read::Page;
use crate::row::{TaskRow, get, get_id, get_json, get_u32, get_uint, int, parse, to_json};
use crate::store::Store;
use crate::writer::Tx;

/// A change to accept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewChange {
    /// Its id.
    pub id: ChangeId,
    /// In which repository.
    pub repository: RepoName,
    /// For which branch.
    pub target: String,
    /// What is wanted.
    pub goal: String,
    /// Who wants it.
    pub source: String,
    /// How much harm it may do.
    pub risk: Risk,
    /// Larger is sooner.
    pub priority: i32,
    /// The request as it came; the same id with another request is refused.
    pub request: serde_json::Value,
    /// Its tasks, each naming this change; empty means that they are still to be planned.
    pub tasks: Vec<NewTask>,
}

/// What control has put together from a change's tasks, written down before it pushes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Integration {
    /// The target's commit that it starts from.
    pub base: Oid,
    /// The value of `agt/change-<id>` before the push; `None` if there was no branch.
    pub old: Option<Oid>,
    /// The integrated commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
    /// The digest of its difference from `base`: what a person approves (I7).
    pub delta_digest: String,
}

/// A change as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeView {
    /// Its id.
    pub id: ChangeId,
    /// Its place in the order of acceptance, for paging.
    pub seq: u64,
    /// In which repository.
    pub repository: RepoName,
    /// For which branch.
    pub target: String,
    /// What is wanted.
    pub goal: String,
    /// Who wants it.
    pub source: String,
    /// How much harm it may do.
    pub risk: Risk,
    /// Larger is sooner.
    pub priority: i32,
    /// The request as it came.
    pub request: serde_json::Value,
    /// Where it stands.
    pub state: ChangeState,
    /// Why it went there, where a reason is known.
    pub reason: Option<Reason>,
    /// What was said at its moves, oldest first.
    pub notes: Vec<String>,
    /// How often it was sent back to `code_phase`.
    pub round: u32,
    /// What was put together last in this round.
    pub integration: Option<Integration>,
    /// When it was accepted.
    pub created_ms: u64,
    /// When it moved last.
    pub changed_ms: u64,
}

/// Which changes are wanted; `None` is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// In this state.
    pub state: Option<ChangeState>,
    /// In this repository.
    pub repository: Option<RepoName>,
}

impl Store {
    /// Stores a change and its tasks, all or nothing. With tasks it starts in `code_phase`, without in `plan`.
    pub async fn accept_change(&self, change: NewChange, actor: &str, now_ms: u64) -> Result<Accepted> {
        let actor = actor.to_owned();
        self.write(move |tx| Box::pin(async move { accept_change(tx, change, &actor, now_ms).await })).await
    }

    /// Adds tasks to a change; one that was to be planned goes to `code_phase` by it. All or nothing: a task whose id is
    /// known with other content is [`Accepted::OtherContent`].
    pub async fn add_tasks(&self, change: &ChangeId, tasks: Vec<NewTask>, now_ms: u64) -> Result<Accepted> {
        let change = change.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let view = find(tx, &change).await?;
                if view.state.is_final() {
                    let detail = format!("change {change} is {}: it takes no tasks", view.state.name());
                    return Err(StoreError::Conflict { detail });
                }
                if let Some(refused) = other_content(tx, &change, &tasks).await? {
                    return Ok(refused);
                }
                let added = insert_all(tx, &tasks, now_ms).await?;
                if view.state == ChangeState::Plan {
                    record_move(tx, &view, ChangeState::CodePhase, None, &[], "control", now_ms).await?;
                }
                Ok(if added { Accepted::New } else { Accepted::Same })
            })
        })
        .await
    }

    /// Moves a change that stands at `from`. Sent back to `code_phase`, it begins a new round with nothing integrated.
    /// The tasks of one that fails are cancelled as far as they have not ended: nobody would use what they make.
    pub async fn move_change(
        &self,
        change: &ChangeId,
        from: ChangeState,
        to: ChangeState,
        reason: Option<Reason>,
        notes: Vec<String>,
        now_ms: u64,
    ) -> Result<()> {
        let change = change.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let view = find(tx, &change).await?;
                if view.state != from || !from.may_become(to) {
                    let (is, from, to) = (view.state.name(), from.name(), to.name());
                    let detail = format!("change {change} cannot go from {from} to {to}: it is {is}");
                    return Err(StoreError::Conflict { detail });
                }
                record_move(tx, &view, to, reason, &notes, "control", now_ms).await?;
                if to == ChangeState::Failed {
                    person::cancel_open(tx, &change, "control", now_ms).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Writes down what control is about to push as `agt/change-<id>` (I8).
    pub async fn intend_integration(
        &self,
        change: &ChangeId,
        integration: Integration,
        now_ms: u64,
    ) -> Result<()> {
        let change = change.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let view = find(tx, &change).await?;
                if view.state.is_final() {
                    let detail = format!("change {change} is {}: nothing is integrated", view.state.name());
                    return Err(StoreError::Conflict { detail });
                }
                let body = json!({ "branch": change.branch(), "round": view.round, "push": integration });
                tx.record(Event::IntegrationIntended, &change, "control", body, now_ms);
                let statement = sqlx::query("UPDATE changes SET integration = $2 WHERE id = $1")
                    .bind(change.as_str())
                    .bind(to_json("integration", &integration)?);
                tx.run(statement).await?;
                Ok(())
            })
        })
        .await
    }

    /// A change as it stands.
    pub async fn change(&self, id: &ChangeId) -> Result<Option<ChangeView>> {
        let row = sqlx::query("SELECT * FROM changes WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await
            .map_err(|error| StoreError::database("read a change", &error))?;
        row.as_ref().map(read).transpose()
    }

    /// How many changes are in each state that any is in (`patchfarm_changes{state}`).
    pub async fn change_counts(&self) -> Result<HashMap<ChangeState, u64>> {
        let rows = sqlx::query("SELECT state, COUNT(*) AS n FROM changes GROUP BY state")
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("count the changes", &error))?;
        let counted = |row| {
            Ok((parse("state of a change", get(row, "state")?, ChangeState::parse)?, get_uint(row, "n")?))
        };
        rows.iter().map(counted).collect()
    }

    /// Changes, newest first.
    pub async fn changes(&self, filter: &ChangeFilter, page: Page) -> Result<Vec<ChangeView>> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM changes WHERE seq < ");
        query.push_bind(page.before());
        if let Some(state) = filter.state {
            query.push(" AND state = ").push_bind(state.name());
        }
        if let Some(repository) = &filter.repository {
            query.push(" AND repository = ").push_bind(repository.as_str());
        }
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(page.limit);
        let rows = query
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(|error| StoreError::database("read the changes", &error))?;
        rows.iter().map(read).collect()
    }
}

async fn accept_change(tx: &mut Tx, change: NewChange, actor: &str, now_ms: u64) -> Result<Accepted> {
    let request = change.request.to_string();
    let query = sqlx::query("SELECT request FROM changes WHERE id = $1").bind(change.id.as_str());
    if let Some(row) = tx.one(query).await? {
        let stored: String = get(&row, "request")?;
        let detail = format!("change {} is known with another request, which stands", change.id);
        return Ok(if stored == request { Accepted::Same } else { Accepted::OtherContent { detail } });
    }
    if let Some(refused) = other_content(tx, &change.id, &change.tasks).await? {
        return Ok(refused);
    }
    let state = if change.tasks.is_empty() { ChangeState::Plan } else { ChangeState::CodePhase };
    let body = json!({ "state": state, "repository": change.repository, "tasks": change.tasks.len() });
    let seq = tx.record(Event::ChangeAccepted, &change.id, actor, body, now_ms);
    tx.run(
        sqlx::query(
            "INSERT INTO changes (id, seq, repository, target, goal, source, risk, priority, request, state,
                                  created_ms, changed_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        )
        .bind(change.id.as_str())
        .bind(int(seq))
        .bind(change.repository.as_str())
        .bind(&change.target)
        .bind(&change.goal)
        .bind(&change.source)
        .bind(change.risk.name())
        .bind(change.priority)
        .bind(request)
        .bind(state.name())
        .bind(int(now_ms)),
    )
    .await?;
    insert_all(tx, &change.tasks, now_ms).await?;
    Ok(Accepted::New)
}

/// The first task that keeps `tasks` from being added to `change`.
async fn other_content(tx: &mut Tx, change: &ChangeId, tasks: &[NewTask]) -> Result<Option<Accepted>> {
    for new in tasks {
        let id = &new.task.id;
        if new.task.change.as_ref() != Some(change) {
            let detail = format!("task {id} does not name change {change}");
            return Ok(Some(Accepted::OtherContent { detail }));
        }
        if TaskRow::find(tx, id).await?.is_some_and(|row| row.digest != new.digest) {
            return Ok(Some(Accepted::OtherContent { detail: accept::other_content(id) }));
        }
    }
    Ok(None)
}

/// Stores those that have no row; answers whether there was one.
async fn insert_all(tx: &mut Tx, tasks: &[NewTask], now_ms: u64) -> Result<bool> {
    let mut turns = Turns::default();
    let mut added = false;
    for new in tasks {
        match accept::accept(tx, new, &mut turns, By::Control, now_ms).await? {
            Accepted::New => added = true,
            Accepted::Same => {}
            // Only two tasks of this very list can still differ under one id.
            Accepted::OtherContent { detail } => return Err(StoreError::Conflict { detail }),
        }
    }
    turns.store(tx).await?;
    Ok(added)
}

/// The change, inside the writer.
pub(crate) async fn find(tx: &mut Tx, id: &ChangeId) -> Result<ChangeView> {
    let row = tx.one(sqlx::query("SELECT * FROM changes WHERE id = $1").bind(id.as_str())).await?;
    read(&row.ok_or_else(|| StoreError::unknown("change", id))?)
}

/// Moves a change; the caller has asked `ChangeState::may_become`.
pub(crate) async fn record_move(
    tx: &mut Tx,
    view: &ChangeView,
    to: ChangeState,
    reason: Option<Reason>,
    notes: &[String],
    actor: &str,
    now_ms: u64,
) -> Result<()> {
    let sent_back = to == ChangeState::CodePhase && view.state != ChangeState::Plan;
    let round = view.round + u32::from(sent_back);
    let integration = view.integration.as_ref().filter(|_| !sent_back);
    let integration = integration.map(|done| to_json("integration", done)).transpose()?;
    let all_notes: Vec<&String> = view.notes.iter().chain(notes).collect();
    let body = json!({ "from": view.state, "to": to, "reason": reason, "notes": notes, "round": round });
    tx.record(Event::ChangeMoved, &view.id, actor, body, now_ms);
    tx.run(
        sqlx::query(
            "UPDATE changes SET state = $2, reason = $3, notes = $4, round = $5, integration = $6, changed_ms = $7
             WHERE id = $1",
        )
        .bind(view.id.as_str())
        .bind(to.name())
        .bind(reason.map(Reason::code))
        .bind(to_json("notes", &all_notes)?)
        .bind(round)
        .bind(integration)
        .bind(int(now_ms)),
    )
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<ChangeView> {
    let reason: Option<&str> = get(row, "reason")?;
    let integration: Option<&str> = get(row, "integration")?;
    Ok(ChangeView {
        id: get_id(row, "id")?,
        seq: get_uint(row, "seq")?,
        repository: get_id(row, "repository")?,
        target: get(row, "target")?,
        goal: get(row, "goal")?,
        source: get(row, "source")?,
        risk: serde_json::from_value(get::<String>(row, "risk")?.into())
            .map_err(|error| StoreError::unreadable("risk", error))?,
        priority: get(row, "priority")?,
        request: get_json(row, "request")?,
        state: parse("state of a change", get(row, "state")?, ChangeState::parse)?,
        reason: reason.map(|word| parse("reason", word, Reason::from_code)).transpose()?,
        notes: get_json(row, "notes")?,
        round: get_u32(row, "round")?,
        integration: integration
            .map(|text| serde_json::from_str(text).map_err(|e| StoreError::unreadable("integration", e)))
            .transpose()?,
        created_ms: get_uint(row, "created_ms")?,
        changed_ms: get_uint(row, "changed_ms")?,
    })
}
