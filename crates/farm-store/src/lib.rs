//! The farm's one truth: tasks, changes, leases, budgets and the ledger, in SQL.
//!
//! One task owns the only connection that writes. Operations reach it through a channel; up to 64 share a transaction and
//! its one fsync, each within a savepoint of its own, and each is answered after the commit and not before. Readers use a
//! small pool of their own. Nothing here knows the wire: callers hand in decoded tasks together with their bytes, and an
//! encoder for the results that the store itself must make (cancelled, dead, preceding failed).
//!
//! Time comes in as `now_ms` (Unix milliseconds); randomness is used once, for the store's id.
//!
//! Read in this order: `store` (open, close), `writer` (group commit, and the transaction that operations see), `accept` and
//! `change` (what becomes a row), `begin`, `run`, `prepare`, `complete` (the life of a task), `finish` (the one way to end
//! it), `person` (cancel, retry), `round` (a change sent back), `dispatch` and `sweep` (what control does all the time),
//! `lease`, `repository`, `read` and `journal` (the ledger). The tables are in `migrations/`.

mod accept;
mod begin;
mod change;
mod complete;
mod dispatch;
mod error;
mod finish;
mod journal;
mod lease;
mod person;
mod prepare;
mod read;
mod repository;
mod round;
mod row;
mod run;
mod schema;
mod store;
mod sweep;
mod writer;

pub use accept::{Accepted, NewTask, Refusal};
pub use begin::{Began, Begin};
pub use change::{ChangeFilter, ChangeView, Integration, NewChange};
pub use dispatch::{Offer, Window};
pub use error::StoreError;
pub use finish::Ended;
pub use lease::{HeldLease, Renewed, Reserved};
pub use person::{CancelledTask, RetriedTask};
pub use read::{Page, TaskCounts, TaskFilter, TaskStep, TaskView};
pub use run::GivenBack;
pub use store::{Encoder, Options, Store};
pub use sweep::{Dying, Leftover, Swept};
