//! The append-only record of every effect, chained by hashes: an entry is written before its effect is visible (I8).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::delta::{field, hex};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// What happened. The names are stable: exports and queries use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Event {
            $($(#[$doc])* #[serde(rename = $word)] $name,)+
        }

        impl Event {
            /// Every event.
            pub const ALL: &[Event] = &[$(Event::$name,)+];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Reads the stable name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|event| event.name() == name)
            }
        }
    };
}

events! {
    /// A store began its life; the body has its id.
    StoreCreated = "store_created",
    /// A repository was registered, changed or removed.
    RepositoryChanged = "repository_changed",
    /// A change was accepted.
    ChangeAccepted = "change_accepted",
    /// A change went from one state to another.
    ChangeMoved = "change_moved",
    /// A task has a row.
    TaskAccepted = "task_accepted",
    /// A run began; the body has its token.
    TaskBegun = "task_begun",
    /// A run may push; the body has old value, commit and delta digest.
    PushIntended = "push_intended",
    /// A run was refused leave to push or to complete.
    RunDenied = "run_denied",
    /// A run ended without a result.
    TaskGivenBack = "task_given_back",
    /// A lease ran out.
    LeaseExpired = "lease_expired",
    /// A task has its one result.
    TaskDone = "task_done",
    /// A task is done anew under another id: by a person's retry, or by control's repair of a change.
    TaskRetried = "task_retried",
    /// A change or task was cancelled.
    Cancelled = "cancelled",
    /// Control may push an integrated tree.
    IntegrationIntended = "integration_intended",
    /// A branch is to be deleted; the body has its expected value.
    DeletionIntended = "deletion_intended",
    /// A model was called by control.
    ModelCalled = "model_called",
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What happened.
    pub event: Event,
    /// To which task, change or repository.
    pub subject: String,
    /// Who did it: `control`, a worker's name, a person's.
    pub actor: String,
    /// The particulars, as JSON text.
    pub body: String,
    /// The hash of the entry before; of the first, [`GENESIS`].
    pub prev: String,
    /// [`Entry::compute`].
    pub hash: String,
}

/// What stands in `prev` of the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is to be recorded, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What happened.
    pub event: Event,
    /// To which task, change or repository.
    pub subject: String,
    /// Who did it.
    pub actor: String,
    /// The particulars.
    pub body: serde_json::Value,
}

impl Entry {
    /// Puts `fact` behind the entry with `(seq, hash)`.
    pub fn after(last: Option<(u64, &str)>, fact: Fact, at_ms: u64) -> Self {
        let (seq, prev) = last.map_or((1, GENESIS), |(seq, hash)| (seq + 1, hash));
        let mut entry = Self {
            seq,
            at_ms,
            event: fact.event,
            subject: fact.subject,
            actor: fact.actor,
            body: fact.body.to_string(),
            prev: prev.to_owned(),
            hash: String::new(),
        };
        entry.hash = entry.compute();
        entry
    }

    /// SHA-256 over every other field, length-prefixed.
    pub fn compute(&self) -> String {
        let mut hash = Sha256::new();
        for part in [
            self.prev.as_bytes(),
            &self.seq.to_be_bytes(),
            &self.at_ms.to_be_bytes(),
            self.event.name().as_bytes(),
            self.subject.as_bytes(),
            self.actor.as_bytes(),
            self.body.as_bytes(),
        ] {
            field(&mut hash, part);
        }
        hex(&hash.finalize())
    }
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or stands twice.
    #[error("ledger entry {expected} is missing: found {found}")]
    Gap {
        /// The next number.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// An entry does not follow the one before.
    #[error("ledger entry {seq} does not follow its predecessor")]
    Unchained {
        /// Which.
        seq: u64,
    },
    /// An entry was edited.
    #[error("ledger entry {seq} was edited: its hash does not fit")]
    Edited {
        /// Which.
        seq: u64,
    },
}

/// Checks entries in order, one at a time, so that a ledger of any length takes constant memory.
#[derive(Debug, Default)]
pub struct Verifier {
    last: Option<(u64, String)>,
}

impl Verifier {
    /// Takes the next entry.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        let (expected, prev) =
            self.last.as_ref().map_or((1, GENESIS), |(seq, hash)| (seq + 1, hash.as_str()));
        if entry.seq != expected {
            return Err(Broken::Gap { expected, found: entry.seq });
        }
        if entry.prev != prev {
            return Err(Broken::Unchained { seq: entry.seq });
        }
        if entry.hash != entry.compute() {
            return Err(Broken::Edited { seq: entry.seq });
        }
        self.last = Some((entry.seq, entry.hash.clone()));
        Ok(())
    }

    /// The number and hash of the last good entry.
    pub fn head(&self) -> Option<(u64, &str)> {
        self.last.as_ref().map(|(seq, hash)| (*seq, hash.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for i in 0..n {
            let fact = Fact {
                event: Event::TaskBegun,
                subject: format!("t{i}"),
                actor: "w".into(),
                body: serde_json::json!({ "token": i }),
            };
            let last = entries.last().map(|entry| (entry.seq, entry.hash.clone()));
            entries.push(Entry::after(last.as_ref().map(|(s, h)| (*s, h.as_str())), fact, 1_000 + i));
        }
        entries
    }

    fn verify(entries: &[Entry]) -> Result<(), Broken> {
        let mut verifier = Verifier::default();
        entries.iter().try_for_each(|entry| verifier.check(entry))
    }

    #[test]
    fn a_whole_chain_verifies() {
        assert_eq!(verify(&chain(5)), Ok(()));
    }

    #[test]
    fn any_edit_is_detected() {
        type Edit = (&'static str, fn(&mut Entry));
        let edits: [Edit; 6] = [
            ("time", |e| e.at_ms += 1),
            ("event", |e| e.event = Event::TaskDone),
            ("subject", |e| e.subject.push('x')),
            ("actor", |e| e.actor.clear()),
            ("body", |e| e.body.push(' ')),
            ("hash", |e| e.hash = "f".repeat(64)),
        ];
        for (name, edit) in edits {
            let mut entries = chain(5);
            edit(&mut entries[2]);
            assert_eq!(verify(&entries), Err(Broken::Edited { seq: 3 }), "{name}");
        }
    }

    #[test]
    fn a_rewritten_entry_breaks_its_successor() {
        let mut entries = chain(5);
        entries[2].body.push(' ');
        entries[2].hash = entries[2].compute();
        assert_eq!(verify(&entries), Err(Broken::Unchained { seq: 4 }));
    }

    #[test]
    fn a_missing_entry_is_a_gap() {
        let mut entries = chain(5);
        entries.remove(2);
        assert_eq!(verify(&entries), Err(Broken::Gap { expected: 3, found: 4 }));
    }

    #[test]
    fn event_names_read_back() {
        for event in Event::ALL {
            assert_eq!(Event::parse(event.name()), Some(*event));
        }
    }
}
