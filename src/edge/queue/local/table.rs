//! The statements of a store's file, prepared once: every one a step inside a transaction that the writer owns.

use super::Shape;
use super::file::Failure;
use crate::edge::queue::{Delivery, Depth, MAX_DELAY, Receipt};
use bellows_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most rows that one transaction removes because they are past their retention.
const PURGE: i64 = 1000;

type Result<T> = std::result::Result<T, Failure>;

/// A receipt taken apart: which message, and which receive of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    seq: i64,
    lease: i64,
}

impl Lease {
    pub(super) fn parse(receipt: &Receipt) -> Option<Lease> {
        let (seq, lease) = receipt.0.split_once('-')?;
        Some(Lease { seq: seq.parse().ok()?, lease: lease.parse().ok()? })
    }
}

/// What became of a receipt that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Used {
    Done,
    /// The lease had run out, or somebody else holds the message.
    Lost,
}

pub(super) struct Table<'c> {
    path: PathBuf,
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    data_version: Statement<'c>,
    insert: Statement<'c>,
    visible: Statement<'c>,
    next_due: Statement<'c>,
    oldest: Statement<'c>,
    take: Statement<'c>,
    bury: Statement<'c>,
    undo: Statement<'c>,
    delete: Statement<'c>,
    alive: Statement<'c>,
    extend: Statement<'c>,
    depth: Statement<'c>,
    purge: Statement<'c>,
    /// Whether commits are fsynced at the moment.
    durable: bool,
}

impl<'c> Table<'c> {
    pub(super) fn new(path: &Path, connection: &'c Connection) -> rusqlite::Result<Table<'c>> {
        let sql = |text: &str| connection.prepare(text);
        Ok(Table {
            path: path.to_owned(),
            connection,
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            rollback: sql("ROLLBACK")?,
            data_version: sql("PRAGMA data_version")?,
            insert: sql("INSERT INTO message (queue, sent_at, visible_at, receives, lease, body)
                VALUES (?1, ?2, ?3, 0, 0, ?4)")?,
            visible: sql("SELECT 1 FROM message INDEXED BY message_by_age
                WHERE queue = ?1 AND sent_at >= ?2 AND (visible_at <= ?3 OR visible_at > ?4) LIMIT 1")?,
            next_due: sql("SELECT min(visible_at) FROM message INDEXED BY message_by_age
                WHERE queue = ?1 AND sent_at >= ?2 AND visible_at > ?3")?,
            oldest: sql("SELECT seq, lease, receives, sent_at, body FROM message INDEXED BY message_by_age
                WHERE queue = ?1 AND sent_at >= ?2 AND (visible_at <= ?3 OR visible_at > ?4)
                ORDER BY sent_at, seq LIMIT ?5")?,
            take: sql("UPDATE message SET visible_at = ?2, receives = receives + 1, lease = lease + 1 WHERE seq = ?1")?,
            bury: sql("UPDATE message SET queue = ?2, visible_at = ?3 WHERE seq = ?1")?,
            undo: sql("UPDATE message SET visible_at = ?3, receives = receives - 1 WHERE seq = ?1 AND lease = ?2")?,
            delete: sql("DELETE FROM message WHERE seq = ?1 AND lease = ?2 AND visible_at > ?3")?,
            alive: sql("SELECT 1 FROM message WHERE seq = ?1 AND (queue <> ?2 OR sent_at >= ?3)")?,
            extend: sql("UPDATE message SET visible_at = ?3
                WHERE seq = ?1 AND lease = ?2 AND visible_at > ?4 AND sent_at >= ?5")?,
            depth: sql(
                "SELECT count(*), count(*) FILTER (WHERE visible_at > ?3 AND visible_at <= ?4 AND receives > 0),
                count(*) FILTER (WHERE visible_at > ?3 AND visible_at <= ?4 AND receives = 0)
                FROM message INDEXED BY message_by_age WHERE queue = ?1 AND sent_at >= ?2",
            )?,
            purge: sql("DELETE FROM message WHERE seq IN
                (SELECT seq FROM message INDEXED BY message_by_age WHERE queue = ?1 AND sent_at < ?2 LIMIT ?3)")?,
            durable: true,
        })
    }

    fn done<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| Failure::of(&self.path, &error))
    }

    /// Opens a transaction; its commit is fsynced where `durable`.
    pub(super) fn begin(&mut self, durable: bool) -> Result<()> {
        if durable != self.durable {
            let level = if durable { "FULL" } else { "NORMAL" };
            self.done(self.connection.pragma_update(None, "synchronous", level))?;
            self.durable = durable;
        }
        let begun = self.begin.execute([]);
        self.done(begun).map(drop)
    }

    /// Ends the transaction: kept where `outcome` is good and the file takes it, else undone.
    pub(super) fn end<T>(&mut self, outcome: Result<T>) -> Result<T> {
        let ended = outcome.and_then(|value| {
            let committed = self.commit.execute([]);
            self.done(committed).map(|_| value)
        });
        if ended.is_err() && !self.connection.is_autocommit() {
            // SQLite rolls back by itself on some errors; on the others nothing can be done about a failure here
            let _ = self.rollback.execute([]);
        }
        ended
    }

    /// The number of the queue called `name`, made where it is not.
    pub(super) fn queue(&mut self, name: &str) -> Result<i64> {
        let made = self.connection.execute("INSERT INTO queue (name) VALUES (?1) ON CONFLICT DO NOTHING", [name]);
        self.done(made)?;
        self.done(self.connection.query_row("SELECT id FROM queue WHERE name = ?1", [name], |row| row.get(0)))
    }

    /// Changes when another connection has changed the file.
    pub(super) fn data_version(&mut self) -> Result<i64> {
        let version = self.data_version.query_row([], |row| row.get(0));
        self.done(version)
    }

    pub(super) fn send(&mut self, queue: &Shape, body: &str, delay: Duration, now: Timestamp) -> Result<()> {
        let sent = self.insert.execute(params![queue.id, stored(now), stored(now.plus(delay)), body]);
        self.done(sent).map(drop)
    }

    /// When a receive would find something: now, when the next hidden message comes out, or never.
    pub(super) fn next_visible(&mut self, queue: &Shape, now: Timestamp) -> Result<Option<Timestamp>> {
        let found = self.visible.exists(params![queue.id, queue.cutoff(now), stored(now), horizon(now)]);
        if self.done(found)? {
            return Ok(Some(now));
        }
        let bounds = params![queue.id, queue.cutoff(now), stored(now)];
        let due = self.next_due.query_row(bounds, |row| row.get::<_, Option<i64>>(0));
        Ok(self.done(due)?.map(|at| Timestamp(at.unsigned_abs())))
    }

    /// Leases up to `max` of the oldest visible messages, and moves those that were received too often out of the way.
    pub(super) fn receive(&mut self, queue: &Shape, max: usize, now: Timestamp) -> Result<Vec<Delivery>> {
        let until = stored(now.plus(queue.settings.visibility));
        let mut taken = Vec::new();
        while taken.len() < max {
            let wanted = max.saturating_sub(taken.len());
            let found = self.oldest_visible(queue, wanted, now)?;
            let exhausted = found.len() < wanted;
            for (mut delivery, lease) in found {
                if let Some((most, dead_letters)) =
                    queue.dead_letters.filter(|(most, _)| delivery.receive_count >= *most)
                {
                    tracing::warn!(queue = queue.settings.name, message = delivery.message_id, most, "dead letter");
                    let buried = self.bury.execute(params![lease.seq, dead_letters, stored(now)]);
                    self.done(buried)?;
                    continue;
                }
                let leased = self.take.execute(params![lease.seq, until]);
                self.done(leased)?;
                delivery.receive_count += 1;
                taken.push(delivery);
            }
            if exhausted {
                break;
            }
        }
        Ok(taken)
    }

    /// The messages as the receive will hand them out, except for their receive count.
    fn oldest_visible(&mut self, queue: &Shape, limit: usize, now: Timestamp) -> Result<Vec<(Delivery, Lease)>> {
        let read = |row: &Row<'_>| {
            let lease = Lease { seq: row.get(0)?, lease: row.get::<_, i64>(1)? + 1 };
            let sent_at = Timestamp(row.get::<_, i64>(3)?.unsigned_abs());
            let delivery = Delivery {
                message_id: lease.seq.to_string(),
                receipt: Receipt(format!("{}-{}", lease.seq, lease.lease)),
                receive_count: row.get(2)?,
                sent_at,
                waited: now.since(sent_at),
                body: row.get(4)?,
            };
            Ok((delivery, lease))
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bounds = params![queue.id, queue.cutoff(now), stored(now), horizon(now), limit];
        let found = self.oldest.query_map(bounds, read).and_then(Iterator::collect);
        self.done(found)
    }

    /// Takes back a receive whose answer nobody was there to hear: as if it had not been.
    pub(super) fn undo(&mut self, lease: Lease, now: Timestamp) -> Result<()> {
        let undone = self.undo.execute(params![lease.seq, lease.lease, stored(now)]);
        self.done(undone).map(drop)
    }

    pub(super) fn delete(&mut self, queue: &Shape, lease: Lease, now: Timestamp) -> Result<Used> {
        let deleted = self.delete.execute(params![lease.seq, lease.lease, stored(now)]);
        if self.done(deleted)? > 0 {
            return Ok(Used::Done);
        }
        let alive = self.alive.query_row(params![lease.seq, queue.id, queue.cutoff(now)], |_| Ok(())).optional();
        Ok(if self.done(alive)?.is_some() { Used::Lost } else { Used::Done })
    }

    pub(super) fn extend(&mut self, queue: &Shape, lease: Lease, by: Duration, now: Timestamp) -> Result<Used> {
        let until = stored(now.plus(by));
        let extended = self.extend.execute(params![lease.seq, lease.lease, until, stored(now), queue.cutoff(now)]);
        Ok(if self.done(extended)? > 0 { Used::Done } else { Used::Lost })
    }

    pub(super) fn depth(&mut self, queue: &Shape, now: Timestamp) -> Result<Depth> {
        let bounds = params![queue.id, queue.cutoff(now), stored(now), horizon(now)];
        let counted = self.depth.query_row(bounds, |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            let (all, in_flight, delayed) = (count(0)?, count(1)?, count(2)?);
            Ok(Depth { visible: all.saturating_sub(in_flight + delayed), in_flight, delayed })
        });
        self.done(counted)
    }

    /// Removes messages past their retention, a bounded number at a time.
    pub(super) fn purge(&mut self, queue: &Shape, now: Timestamp) -> Result<()> {
        let purged = self.purge.execute(params![queue.id, queue.cutoff(now), PURGE]);
        self.done(purged).map(drop)
    }
}

impl Shape {
    /// Messages sent before this instant are gone.
    fn cutoff(&self, now: Timestamp) -> i64 {
        stored(now.minus(self.settings.retention))
    }
}

/// As SQLite keeps it: a signed number.
fn stored(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// No legal lease or delay reaches beyond this.
fn horizon(now: Timestamp) -> i64 {
    stored(now.plus(MAX_DELAY))
}
