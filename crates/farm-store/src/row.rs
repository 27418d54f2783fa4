//! Rows as the program sees them.

use farm_core::id::{ChangeId, Oid, RepoName, TaskId, Token};
use farm_core::reason::Reason;
use farm_core::result::Status;
use farm_core::state::TaskState;
use farm_core::task::{Budget, Kind};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use crate::error::{Result, StoreError};
use crate::writer::Tx;

/// SQL has no unsigned numbers. What is beyond `i64` is stored as the largest, which is as far away.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A column by its name.
pub(crate) fn get<'r, T>(row: &'r SqliteRow, column: &'static str) -> Result<T>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(|error| StoreError::unreadable(column, error))
}

pub(crate) fn get_uint(row: &SqliteRow, column: &'static str) -> Result<u64> {
    get(row, column).map(uint)
}

pub(crate) fn get_u32(row: &SqliteRow, column: &'static str) -> Result<u32> {
    let number: i64 = get(row, column)?;
    u32::try_from(number).map_err(|error| StoreError::unreadable(column, error))
}

/// A text column that holds an id.
pub(crate) fn get_id<T>(row: &SqliteRow, column: &'static str) -> Result<T>
where
    T: TryFrom<String>,
    T::Error: ToString,
{
    let text: String = get(row, column)?;
    T::try_from(text).map_err(|error| StoreError::unreadable(column, error))
}

pub(crate) fn get_id_opt<T>(row: &SqliteRow, column: &'static str) -> Result<Option<T>>
where
    T: TryFrom<String>,
    T::Error: ToString,
{
    let text: Option<String> = get(row, column)?;
    text.map(|text| T::try_from(text).map_err(|error| StoreError::unreadable(column, error))).transpose()
}

/// A column that holds JSON.
pub(crate) fn get_json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|error| StoreError::unreadable(column, error))
}

/// JSON for a column; types of farm-core always have it.
pub(crate) fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::unreadable(what, error))
}

/// A word of a closed set.
pub(crate) fn parse<T>(what: &'static str, word: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    parse(word).ok_or_else(|| StoreError::unreadable(what, format!("{word:?}")))
}

/// What is read and written often of a task.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub(crate) id: TaskId,
    pub(crate) seq: u64,
    pub(crate) digest: String,
    pub(crate) change: Option<ChangeId>,
    pub(crate) round: u32,
    /// Empty only in a task that names none and never may run.
    pub(crate) repository: String,
    pub(crate) kind: Kind,
    pub(crate) path: Option<String>,
    pub(crate) state: TaskState,
    pub(crate) created_ms: u64,
    pub(crate) priority: i32,
    pub(crate) rank: i64,
    pub(crate) waiting_for: u32,
    pub(crate) due_ms: u64,
    pub(crate) offers: u32,
    pub(crate) runs: u32,
    pub(crate) token: Token,
    pub(crate) worker: String,
    pub(crate) begin_request: String,
    pub(crate) lease_until_ms: u64,
    pub(crate) begun_ms: u64,
    pub(crate) first_begin_ms: u64,
    pub(crate) base: Option<Oid>,
    pub(crate) setback: String,
    pub(crate) budget: Budget,
    pub(crate) charged: Budget,
    pub(crate) grant: Budget,
    pub(crate) spent: Budget,
    pub(crate) status: Option<Status>,
    pub(crate) reason: Option<Reason>,
    pub(crate) done_ms: u64,
    pub(crate) published_ms: u64,
    pub(crate) replaced_by: Option<TaskId>,
}

impl TaskRow {
    /// Finds a task by its id.
    pub(crate) async fn find(tx: &mut Tx, id: &TaskId) -> Result<Option<Self>> {
        let row = tx.one(sqlx::query("SELECT * FROM tasks WHERE id = $1").bind(id.as_str())).await?;
        row.as_ref().map(Self::read).transpose()
    }

    pub(crate) fn read(row: &SqliteRow) -> Result<Self> {
        let status: Option<&str> = get(row, "status")?;
        let reason: Option<&str> = get(row, "reason")?;
        let budget = |tokens, cost| -> Result<Budget> {
            Ok(Budget { tokens: get_uint(row, tokens)?, cost_micro_usd: get_uint(row, cost)? })
        };
        Ok(Self {
            id: get_id(row, "id")?,
            seq: get_uint(row, "seq")?,
            digest: get(row, "digest")?,
            change: get_id_opt(row, "change_id")?,
            round: get_u32(row, "round")?,
            repository: get(row, "repository")?,
            kind: Kind::from(get::<String>(row, "kind")?),
            path: get(row, "path")?,
            state: parse("state", get(row, "state")?, TaskState::parse)?,
            created_ms: get_uint(row, "created_ms")?,
            priority: get(row, "priority")?,
            rank: get(row, "rank")?,
            waiting_for: get_u32(row, "waiting_for")?,
            due_ms: get_uint(row, "due_ms")?,
            offers: get_u32(row, "offers")?,
            runs: get_u32(row, "runs")?,
            token: Token(get_uint(row, "token")?),
            worker: get(row, "worker")?,
            begin_request: get(row, "begin_request")?,
            lease_until_ms: get_uint(row, "lease_until_ms")?,
            begun_ms: get_uint(row, "begun_ms")?,
            first_begin_ms: get_uint(row, "first_begin_ms")?,
            base: get_id_opt(row, "base")?,
            setback: get(row, "setback")?,
            budget: budget("budget_tokens", "budget_cost")?,
            charged: budget("charged_tokens", "charged_cost")?,
            grant: budget("grant_tokens", "grant_cost")?,
            spent: budget("spent_tokens", "spent_cost")?,
            status: status.map(|word| parse("status", word, Status::parse)).transpose()?,
            reason: reason.map(|word| parse("reason", word, Reason::from_code)).transpose()?,
            done_ms: get_uint(row, "done_ms")?,
            published_ms: get_uint(row, "published_ms")?,
            replaced_by: get_id_opt(row, "replaced_by")?,
        })
    }

    /// The repository's name, if it names one.
    pub(crate) fn repository(&self) -> Option<RepoName> {
        RepoName::new(self.repository.clone()).ok()
    }
}

/// Sums of money and tokens, which never wrap.
pub(crate) mod budget {
    use farm_core::task::Budget;

    pub(crate) fn plus(a: Budget, b: Budget) -> Budget {
        zip(a, b, u64::saturating_add)
    }

    pub(crate) fn minus(a: Budget, b: Budget) -> Budget {
        zip(a, b, u64::saturating_sub)
    }

    pub(crate) fn least(a: Budget, b: Budget) -> Budget {
        zip(a, b, u64::min)
    }

    pub(crate) fn most(a: Budget, b: Budget) -> Budget {
        zip(a, b, u64::max)
    }

    fn zip(a: Budget, b: Budget, f: fn(u64, u64) -> u64) -> Budget {
        Budget { tokens: f(a.tokens, b.tokens), cost_micro_usd: f(a.cost_micro_usd, b.cost_micro_usd) }
    }
}
