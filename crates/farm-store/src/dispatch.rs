//! Which records go to the task topic next: a bounded window, by priority, fair between changes.

use std::collections::{BTreeMap, HashSet};

use farm_core::id::TaskId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use crate::accept;
use crate::error::Result;
use crate::row::{get, get_id, get_u32, get_uint, int};
use crate::store::Store;
use crate::writer::Tx;

/// How much may be on the topic and not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Partitions of the topic.
    pub partitions: u32,
    /// Records in each.
    pub records: u32,
    /// Bytes in each; one record larger than that goes to an empty partition.
    pub bytes: u64,
}

impl Window {
    /// The window of DESIGN §8.
    pub fn of(partitions: u32) -> Self {
        Self { partitions, records: 256, bytes: 1024 * 1024 }
    }
}

/// A record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its task, the record's key.
    pub task: TaskId,
    /// The task's encoding.
    pub record: Vec<u8>,
    /// Where to.
    pub partition: i32,
}

/// The most that one call offers, so that the writer is never long at it: call again until nothing comes.
const AT_ONCE: i64 = 256;

/// A record that was offered and not begun is offered again after the timeout times 1, 2, 4, 4, ….
const MAX_DOUBLINGS: u32 = 2;

impl Store {
    /// The records whose turn it is, as far as the window has room; they are marked as offered in the same transaction.
    pub async fn offer(&self, window: Window, now_ms: u64) -> Result<Vec<Offer>> {
        self.write(move |tx| Box::pin(async move { offer(tx, window, now_ms).await })).await
    }

    /// Takes every record on the topic for lost (the embedded broker forgets all at its end), so that all are offered anew.
    pub async fn forget_offers(&self) -> Result<()> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.run(sqlx::query(
                    "UPDATE tasks SET partition = -1, offers = 0, offer_ms = due_ms
                     WHERE state = 'queued' AND partition >= 0",
                ))
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// After how long an offer that was the `offers`th of its task is taken for lost.
pub(crate) fn patience_ms(offer_timeout_ms: u64, offers: u32) -> u64 {
    offer_timeout_ms.saturating_mul(1 << offers.saturating_sub(1).min(MAX_DOUBLINGS))
}

async fn offer(tx: &mut Tx, window: Window, now_ms: u64) -> Result<Vec<Offer>> {
    let mut partitions = Partitions::read(tx, window, now_ms).await?;
    let mut offers = Vec::new();
    let mut paths = HashSet::new();
    let mut come: BTreeMap<i32, i64> = BTreeMap::new();
    let mut marks: BTreeMap<(i32, u32), Vec<TaskId>> = BTreeMap::new();
    for row in candidates(tx, partitions.room(), now_ms).await? {
        let candidate = Candidate::read(&row)?;
        // Two tasks on one file go one after the other: the second would only be deferred.
        if candidate.path.as_ref().is_some_and(|path| !paths.insert(path.clone())) {
            continue;
        }
        let Some(partition) = partitions.place(&candidate) else { break };
        marks.entry((partition, candidate.offers)).or_default().push(candidate.task.clone());
        let rank = come.entry(candidate.priority).or_insert(candidate.rank);
        *rank = candidate.rank.max(*rank);
        offers.push(Offer { task: candidate.task, record: candidate.record, partition });
    }
    for ((partition, before), tasks) in marks {
        mark(tx, partition, before, &tasks, now_ms).await?;
    }
    for (priority, rank) in come {
        accept::turn_has_come(tx, priority, rank).await?;
    }
    Ok(offers)
}

/// Notes that tasks, which were offered `before` times, are on a partition now.
async fn mark(tx: &mut Tx, partition: i32, before: u32, tasks: &[TaskId], now_ms: u64) -> Result<()> {
    let offer_ms = now_ms.saturating_add(patience_ms(tx.options.offer_timeout_ms, before + 1));
    let mut update = QueryBuilder::<Sqlite>::new("UPDATE tasks SET offers = offers + 1, partition = ");
    update.push_bind(partition).push(", offer_ms = ").push_bind(int(offer_ms)).push(" WHERE id IN (");
    let mut ids = update.separated(", ");
    for task in tasks {
        ids.push_bind(task.as_str());
    }
    update.push(")");
    tx.run(update.build().persistent(false)).await?;
    Ok(())
}

/// Only what Begin would let run: the conditions there, and that no other task on the same file is on the topic.
pub(crate) const CANDIDATES: &str = "
    SELECT t.id, t.priority, t.rank, t.bytes, t.partition, t.offers, t.repository, t.path, b.record
    FROM tasks t JOIN task_bodies b ON b.task_id = t.id
    WHERE t.state = 'queued' AND t.waiting_for = 0 AND t.offer_ms <= $1 AND t.due_ms <= $1
      AND (t.path IS NULL OR NOT EXISTS (
          SELECT 1 FROM leases l
          WHERE l.repository = t.repository AND l.path = t.path AND l.until_ms > $1 AND l.holder <> t.id)
        AND NOT EXISTS (
          SELECT 1 FROM tasks o
          WHERE o.repository = t.repository AND o.path = t.path AND o.state = 'queued' AND o.partition >= 0
            AND o.offer_ms > $1 AND o.id <> t.id))
    ORDER BY t.priority DESC, t.rank, t.seq
    LIMIT $2";

async fn candidates(tx: &mut Tx, room: i64, now_ms: u64) -> Result<Vec<SqliteRow>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    tx.all(sqlx::query(CANDIDATES).bind(int(now_ms)).bind(room.min(AT_ONCE))).await
}

/// What fills the window.
pub(crate) const ON_TOPIC: &str = "
    SELECT partition, COUNT(*) AS records, SUM(bytes) AS bytes FROM tasks
    WHERE state = 'queued' AND partition >= 0 AND offer_ms > $1 GROUP BY partition";

struct Candidate {
    task: TaskId,
    priority: i32,
    rank: i64,
    bytes: u64,
    /// Where its last record went, or -1.
    partition: i32,
    offers: u32,
    path: Option<(String, String)>,
    record: Vec<u8>,
}

impl Candidate {
    fn read(row: &SqliteRow) -> Result<Self> {
        let repository: String = get(row, "repository")?;
        let path: Option<String> = get(row, "path")?;
        Ok(Self {
            task: get_id(row, "id")?,
            priority: get(row, "priority")?,
            rank: get(row, "rank")?,
            bytes: get_uint(row, "bytes")?,
            partition: get(row, "partition")?,
            offers: get_u32(row, "offers")?,
            path: path.map(|path| (repository, path)),
            record: get(row, "record")?,
        })
    }
}

/// What is on each partition and not begun.
struct Partitions {
    window: Window,
    records: Vec<u32>,
    bytes: Vec<u64>,
}

impl Partitions {
    async fn read(tx: &mut Tx, window: Window, now_ms: u64) -> Result<Self> {
        let n = window.partitions.max(1) as usize;
        let mut partitions = Self { window, records: vec![0; n], bytes: vec![0; n] };
        let rows = tx.all(sqlx::query(ON_TOPIC).bind(int(now_ms))).await?;
        for row in rows {
            let i = get_u32(&row, "partition")? as usize;
            // A topic that has fewer partitions than before: what was offered on the others is offered again in time.
            if let (Some(records), Some(bytes)) = (partitions.records.get_mut(i), partitions.bytes.get_mut(i))
            {
                *records = get_u32(&row, "records")?;
                *bytes = get_uint(&row, "bytes")?;
            }
        }
        Ok(partitions)
    }

    /// How many records fit, by their number alone.
    fn room(&self) -> i64 {
        self.records.iter().map(|n| i64::from(self.window.records.saturating_sub(*n))).sum()
    }

    /// The emptiest partition with room, not the one where the last record of it was lost.
    fn place(&mut self, candidate: &Candidate) -> Option<i32> {
        let several = self.records.len() > 1;
        let fits = |i: &usize| {
            let (records, bytes) = (self.records[*i], self.bytes[*i]);
            let elsewhere = !several || i32::try_from(*i) != Ok(candidate.partition);
            let within = records == 0 || bytes.saturating_add(candidate.bytes) <= self.window.bytes;
            elsewhere && within && records < self.window.records
        };
        let i = (0..self.records.len()).filter(fits).min_by_key(|i| (self.records[*i], self.bytes[*i]))?;
        self.records[i] += 1;
        self.bytes[i] += candidate.bytes;
        i32::try_from(i).ok()
    }
}
