//! What can go wrong with the store itself. What a caller must not do is an answer, not an error.

/// The store could not do it; unless said otherwise, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened as a store.
    #[error("cannot open the store at {path}: {detail}")]
    Open {
        /// Where.
        path: String,
        /// What the database said.
        detail: String,
    },
    /// A newer version wrote it.
    #[error(
        "the store at {path} has schema {found}, this version knows up to {known}: run the newer version, or restore a backup"
    )]
    Newer {
        /// Where.
        path: String,
        /// The file's schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A statement failed.
    #[error("the store cannot {operation}: {detail}")]
    Database {
        /// Which operation.
        operation: &'static str,
        /// What the database said.
        detail: String,
    },
    /// The transaction that this operation was part of did not commit.
    #[error("the store could not commit: {detail}")]
    NotCommitted {
        /// What the database said.
        detail: String,
    },
    /// Another process has opened the store since and writes it now; this one never will again.
    #[error("the store was opened by another process, which writes it now: stop this one")]
    Superseded,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A row holds what no version of this program wrote.
    #[error("the store holds {what} that cannot be read: {detail}")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// What was found.
        detail: String,
    },
    /// There is no such row.
    #[error("no {what} {id:?} is known")]
    Unknown {
        /// `task`, `change` or `repository`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The rows do not allow it.
    #[error("{detail}")]
    Conflict {
        /// What was expected and what was found.
        detail: String,
    },
}

impl StoreError {
    pub(crate) fn database(operation: &'static str, error: &sqlx::Error) -> Self {
        Self::Database { operation, detail: error.to_string() }
    }

    pub(crate) fn unreadable(what: &'static str, detail: impl ToString) -> Self {
        Self::Unreadable { what, detail: detail.to_string() }
    }

    pub(crate) fn unknown(what: &'static str, id: impl ToString) -> Self {
        Self::Unknown { what, id: id.to_string() }
    }
}

pub(crate) type Result<T> = std::result::Result<T, StoreError>;
