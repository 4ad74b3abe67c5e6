//! The one thread of a store that touches its file. What its callers ask for while a transaction is being committed
//! goes into the next one together: a hundred uploads cost one fsync.
//!
//! It sleeps without a bound while nobody waits for a message, and looks every few milliseconds whether another
//! process has sent one while somebody does.

use super::Shape;
use super::file::Failure;
use super::table::{Lease, Table, Used};
use crate::edge::host::Clock;
use crate::edge::queue::{Delivery, Depth};
use crate::edge::{Error, Kind, Result};
use bellows_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;
use tokio::sync::oneshot;

/// Most commands in one transaction, so that nobody waits long for the lock.
const BATCH: usize = 256;
/// How often a waiting thread looks at the file: soon after something happened, slower when all is quiet.
const LOOK: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(4)];
/// So many looks without anything new make it quiet.
const QUIET: u32 = 250;
/// Messages past their retention are looked for at most this often.
const PURGE_EVERY: Duration = Duration::from_secs(1);

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

pub(super) enum Command {
    Write(Write),
    Receive(Waiter),
    Depth {
        queue: Arc<Shape>,
        reply: Reply<Depth>,
    },
    /// Numbers for the queues of these names. Asked for at start-up only, by callers that block.
    Register {
        names: Vec<String>,
        reply: SyncSender<Result<Vec<i64>>>,
    },
}

pub(super) struct Write {
    pub queue: Arc<Shape>,
    pub action: Action,
    pub reply: Reply<()>,
}

pub(super) enum Action {
    Send { body: String, delay: Duration, durable: bool },
    Delete(Lease),
    Extend(Lease, Duration),
}

impl Action {
    fn operation(&self) -> &'static str {
        match self {
            Action::Send { .. } => "queue.send",
            Action::Delete(_) => "queue.delete",
            Action::Extend(..) => "queue.extend",
        }
    }
}

/// Somebody who wants messages, for as long as the other end of `reply` is open.
pub(super) struct Waiter {
    pub queue: Arc<Shape>,
    pub max: usize,
    /// Answered at once, also with nothing.
    pub impatient: bool,
    pub reply: Reply<Vec<Delivery>>,
}

pub(super) struct Writer<'c> {
    table: Table<'c>,
    clock: Clock,
    waiters: VecDeque<Waiter>,
    /// The file's version when we last looked for messages; none where we have to look again.
    seen: Option<i64>,
    /// When the next hidden message of a queue that is waited for will be visible.
    due: Option<Timestamp>,
    looks: u32,
    purged: Option<Timestamp>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(table: Table<'c>, clock: Clock) -> Writer<'c> {
        Writer { table, clock, waiters: VecDeque::new(), seen: None, due: None, looks: 0, purged: None }
    }

    /// Serves until the last handle is gone.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = self.next(commands) {
            let mut writes = Vec::new();
            let rest = std::iter::from_fn(|| commands.try_recv().ok());
            for command in first.into_iter().chain(rest).take(BATCH) {
                self.looks = 0;
                match command {
                    Command::Write(write) => writes.push(write),
                    Command::Receive(waiter) => {
                        self.seen = None;
                        self.waiters.push_back(waiter);
                    }
                    Command::Depth { queue, reply } => self.count(&queue, reply),
                    Command::Register { names, reply } => drop(reply.send(self.register(&names))),
                }
            }
            self.waiters.retain(|waiter| !waiter.reply.is_closed());
            let now = self.clock.now();
            if !writes.is_empty() || self.worth_looking(now) {
                self.transact(writes, now);
            }
        }
    }

    /// The next command; none where it is time to look at the file; an error where no handle is left.
    fn next(&mut self, commands: &Receiver<Command>) -> std::result::Result<Option<Command>, RecvTimeoutError> {
        if self.waiters.is_empty() {
            return commands.recv().map(Some).map_err(|_| RecvTimeoutError::Disconnected);
        }
        self.looks = self.looks.saturating_add(1);
        match commands.recv_timeout(LOOK[usize::from(self.looks > QUIET)]) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether a waiter may find something that it did not find before, or wants to hear that it does not.
    fn worth_looking(&mut self, now: Timestamp) -> bool {
        if self.waiters.is_empty() {
            return false;
        }
        // an error here shows itself again in the look
        let version = self.table.data_version().ok();
        if version.is_some() && version == self.seen && self.due.is_none_or(|due| now < due) {
            return false;
        }
        if version != self.seen {
            self.looks = 0;
        }
        self.seen = version;
        let mut visible = false;
        self.due = None;
        for place in 0..self.waiters.len() {
            let queue = Arc::clone(&self.waiters[place].queue);
            if self.waiters.iter().take(place).any(|earlier| earlier.queue.id == queue.id) {
                continue;
            }
            match self.table.next_visible(&queue, now) {
                Ok(None) => {}
                Ok(Some(at)) if at <= now => visible = true,
                Ok(Some(at)) => self.due = Some(self.due.map_or(at, |due| due.min(at))),
                // the transaction will tell what is wrong
                Err(_) => visible = true,
            }
        }
        if !visible {
            self.send_away_impatient();
        }
        visible
    }

    fn send_away_impatient(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.impatient {
                let _ = waiter.reply.send(Ok(Vec::new()));
            } else {
                self.waiters.push_back(waiter);
            }
        }
    }

    /// One transaction: all writes, then as many waiters as there are messages for. Answers follow its commit.
    fn transact(&mut self, writes: Vec<Write>, now: Timestamp) {
        let durable = writes.iter().any(|w| matches!(w.action, Action::Send { durable: true, .. }));
        let waiters: Vec<Waiter> = self.waiters.drain(..).collect();
        let outcome = self.table.begin(durable).and_then(|()| {
            let steps = self.steps(&writes, &waiters, now);
            self.table.end(steps)
        });
        // messages may have been sent or given back by ourselves, which the file's version does not tell us
        self.seen = None;
        match outcome {
            Ok((used, deliveries)) => {
                for (write, used) in writes.into_iter().zip(used) {
                    let _ = write.reply.send(match used {
                        Used::Done => Ok(()),
                        Used::Lost => Err(lost(write.action.operation())),
                    });
                }
                self.hand_out(waiters, deliveries);
            }
            Err(failure) => {
                for write in writes {
                    let _ = write.reply.send(Err(failure.at(write.action.operation())));
                }
                for waiter in waiters {
                    let _ = waiter.reply.send(Err(failure.at("queue.receive")));
                }
            }
        }
    }

    fn steps(
        &mut self,
        writes: &[Write],
        waiters: &[Waiter],
        now: Timestamp,
    ) -> std::result::Result<(Vec<Used>, Vec<Vec<Delivery>>), Failure> {
        let mut used = Vec::with_capacity(writes.len());
        for Write { queue, action, .. } in writes {
            used.push(match action {
                Action::Send { body, delay, .. } => self.table.send(queue, body, *delay, now).map(|()| Used::Done)?,
                Action::Delete(lease) => self.table.delete(queue, *lease, now)?,
                Action::Extend(lease, by) => self.table.extend(queue, *lease, *by, now)?,
            });
        }
        let mut deliveries = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            // one who left meanwhile gets nothing, so that nothing has to be taken back
            let open = !waiter.reply.is_closed();
            deliveries.push(if open { self.table.receive(&waiter.queue, waiter.max, now)? } else { Vec::new() });
        }
        self.purge(writes.iter().map(|w| &w.queue).chain(waiters.iter().map(|w| &w.queue)), now)?;
        Ok((used, deliveries))
    }

    /// Keeps the file small, now and then.
    fn purge<'q>(
        &mut self,
        queues: impl Iterator<Item = &'q Arc<Shape>>,
        now: Timestamp,
    ) -> std::result::Result<(), Failure> {
        if self.purged.is_some_and(|last| last <= now && now.since(last) < PURGE_EVERY) {
            return Ok(());
        }
        self.purged = Some(now);
        for queue in queues {
            self.table.purge(queue, now)?;
        }
        Ok(())
    }

    /// Answers those who got something, keeps the others waiting, and takes back what reached nobody.
    fn hand_out(&mut self, waiters: Vec<Waiter>, deliveries: Vec<Vec<Delivery>>) {
        let mut unheard = Vec::new();
        for (waiter, delivered) in waiters.into_iter().zip(deliveries) {
            if delivered.is_empty() && !waiter.impatient {
                self.waiters.push_back(waiter);
            } else if let Err(Ok(returned)) = waiter.reply.send(Ok(delivered)) {
                unheard.extend(returned);
            }
        }
        if unheard.is_empty() {
            return;
        }
        let now = self.clock.now();
        let undone = self.table.begin(false).and_then(|()| {
            let mut leases = unheard.iter().filter_map(|delivery| Lease::parse(&delivery.receipt));
            let steps = leases.try_for_each(|lease| self.table.undo(lease, now));
            self.table.end(steps)
        });
        if let Err(failure) = undone {
            // their leases run out
            tracing::warn!(messages = unheard.len(), error = failure.detail, "could not give messages back");
        }
    }

    fn count(&mut self, queue: &Shape, reply: Reply<Depth>) {
        let depth = self.table.depth(queue, self.clock.now());
        let _ = reply.send(depth.map_err(|failure| failure.at("queue.depth")));
    }

    fn register(&mut self, names: &[String]) -> Result<Vec<i64>> {
        let made = self.table.begin(true).and_then(|()| {
            let ids = names.iter().map(|name| self.table.queue(name)).collect();
            self.table.end(ids)
        });
        made.map_err(|failure| failure.at("queue.open"))
    }
}

fn lost(operation: &'static str) -> Error {
    Error::new(Kind::Expired, operation, "the lease has run out, or somebody else holds the message")
}
