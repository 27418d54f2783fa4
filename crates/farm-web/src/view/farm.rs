//! The farm as a whole: leases, ledger, status, events.

use std::collections::BTreeMap;

use farm_core::id::{Oid, RepoName, TaskId, Token};
use farm_core::ledger::Entry;
use farm_store::HeldLease;
use serde::{Deserialize, Serialize};

/// The leases that last now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leases {
    /// By repository and path.
    pub leases: Vec<LeaseRow>,
}

/// A lease on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeaseRow {
    /// Names this giving-out.
    pub id: String,
    /// In which repository.
    pub repository: RepoName,
    /// Which file, in lower case.
    pub path: String,
    /// Which task has it.
    pub holder: TaskId,
    /// Its fencing token.
    pub token: Token,
    /// When it ends unless renewed.
    pub until_ms: u64,
    /// Which commit it was used for.
    pub commit: Option<Oid>,
}

impl From<HeldLease> for LeaseRow {
    fn from(HeldLease { id, lease, commit }: HeldLease) -> Self {
        let key = lease.key;
        Self {
            id,
            repository: key.repository,
            path: key.path,
            holder: lease.holder,
            token: lease.token,
            until_ms: lease.until_ms,
            commit,
        }
    }
}

/// Entries of the ledger, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// The entries.
    pub entries: Vec<LedgerRow>,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LedgerRow {
    /// From 1, without gaps: `after` of the next call.
    pub seq: u64,
    /// When.
    pub at_ms: u64,
    /// What happened.
    pub event: String,
    /// To which task, change or repository.
    pub subject: String,
    /// Who did it.
    pub actor: String,
    /// The particulars: JSON as text, byte for byte as it is hashed.
    pub body: String,
    /// The hash of the entry before.
    pub prev: String,
    /// Its own hash.
    pub hash: String,
}

impl From<Entry> for LedgerRow {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at_ms: entry.at_ms,
            event: entry.event.name().to_owned(),
            subject: entry.subject,
            actor: entry.actor,
            body: entry.body,
            prev: entry.prev,
            hash: entry.hash,
        }
    }
}

/// Whether the ledger is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Whether every entry follows from the one before.
    pub whole: bool,
    /// The number of the last entry, if whole.
    pub entries: Option<u64>,
    /// Its hash, if whole.
    pub head: Option<String>,
    /// Where it is broken, if it is.
    pub broken: Option<String>,
}

/// The farm at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FarmStatus {
    /// Of the program.
    pub version: String,
    /// Which store: another id means that it was lost or restored.
    pub store_id: String,
    /// Tasks by state.
    pub tasks: TaskNumbers,
    /// Changes that are under way, by state.
    pub changes: BTreeMap<String, u64>,
    /// Workers that have, or lately had, a run.
    pub workers: Vec<WorkerRow>,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskNumbers {
    /// Waiting.
    pub queued: u64,
    /// Begun.
    pub running: u64,
    /// Ended.
    pub done: u64,
}

/// A worker, as its runs tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerRow {
    /// Its name.
    pub name: String,
    /// How many runs it has now.
    pub running: u64,
    /// When a run of it last began or ended.
    pub seen_ms: u64,
}

/// What `/events` says: the store has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changed {
    /// Entries of the ledger since the last event; none if only timelines, offers or leases changed.
    pub entries: Vec<Happening>,
}

/// An entry of the ledger, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Happening {
    /// Its number.
    pub seq: u64,
    /// What happened.
    pub event: String,
    /// To which task, change or repository.
    pub subject: String,
}
