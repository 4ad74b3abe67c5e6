//! Queues of one machine: a SQLite file that several processes share, with the semantics of SQS.
//!
//! A process has one thread a file, which owns the connection ([`writer`]); handles talk to it through a bounded
//! channel. `kill -9` loses nothing. A power cut loses nothing that a durable handle has sent; what else was done last
//! it may undo, which costs a redelivery.

mod file;
mod table;
mod writer;

use super::{Api, Delivery, Depth, Receipt, Settings};
use crate::edge::host::Clock;
use crate::edge::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use table::{Lease, Table};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use writer::{Action, Command, Waiter, Write, Writer};

/// Commands that may be under way at once; beyond them a call is `Throttled`.
const COMMANDS: usize = 1024;
/// How long a call waits for its answer. Longer than the writer tries to get at a locked file.
const ANSWER: Duration = Duration::from_secs(30);

/// One file that holds one or several queues. Its thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct Store {
    commands: SyncSender<Command>,
}

/// What the thread has to know of a queue.
#[derive(Debug)]
struct Shape {
    id: i64,
    settings: Settings,
    /// After so many receives to the queue of this number.
    dead_letters: Option<(u32, i64)>,
}

/// A queue in a file.
#[derive(Clone, Debug)]
pub struct Queue {
    commands: SyncSender<Command>,
    shape: Arc<Shape>,
    durable: bool,
}

impl Store {
    /// Opens the file, or creates it. Blocks for some milliseconds: for start-up.
    ///
    /// `Denied` where it cannot be written, `Full` where no room is left, `Invalid` on a network file system.
    pub fn open(path: impl Into<PathBuf>, clock: Clock) -> Result<Store> {
        let path = path.into();
        // a path without a folder would have an empty parent
        let path = std::path::absolute(&path).map_err(|e| Error::io("queue.open", path.display(), e))?;
        let connection = file::open(&path)?;
        let (commands, received) = sync_channel(COMMANDS);
        let name = format!("queue-{}", path.file_stem().unwrap_or_default().to_string_lossy());
        thread::Builder::new()
            .name(name)
            .spawn(move || serve(&path, &connection, clock, &received))
            .map_err(|e| Error::io("queue.open", "a thread for the queue", e))?;
        Ok(Store { commands })
    }

    /// A queue of this file, made where it is not. Where `durable`, a send returns once it would survive a power cut.
    /// Blocks for a few milliseconds: for start-up.
    pub fn queue(&self, settings: Settings, durable: bool) -> Result<Queue> {
        settings.check()?;
        let (reply, answer) = sync_channel(1);
        let mut names = vec![settings.name.clone()];
        names.extend(settings.dead_letters.iter().map(|(_, name)| name.clone()));
        submit(&self.commands, "queue.open", Command::Register { names, reply })?;
        let ids = answer.recv_timeout(ANSWER).map_err(|e| Error::new(Kind::Timeout, "queue.open", e.to_string()))??;
        let dead_letters = settings.dead_letters.as_ref().map(|(receives, _)| *receives).zip(ids.get(1).copied());
        let Some(&id) = ids.first() else {
            return Err(Error::new(Kind::Unavailable, "queue.open", "no number for the queue"));
        };
        Ok(Queue { commands: self.commands.clone(), shape: Arc::new(Shape { id, settings, dead_letters }), durable })
    }
}

fn serve(path: &Path, connection: &rusqlite::Connection, clock: Clock, commands: &Receiver<Command>) {
    match Table::new(path, connection) {
        Ok(table) => Writer::new(table, clock).run(commands),
        // callers hear of it when they find the thread gone
        Err(error) => tracing::error!(file = %path.display(), %error, "the queue cannot be used"),
    }
}

fn submit(commands: &SyncSender<Command>, operation: &'static str, command: Command) -> Result<()> {
    commands.try_send(command).map_err(|refused| match refused {
        TrySendError::Full(_) => {
            Error::new(Kind::Throttled, operation, format!("{COMMANDS} calls are waiting for the disk"))
        }
        TrySendError::Disconnected(_) => gone(operation),
    })
}

fn gone(operation: &'static str) -> Error {
    Error::new(Kind::Unavailable, operation, "the queue's thread has ended")
}

async fn answered<T>(operation: &'static str, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(gone(operation)),
        Err(_) => Err(Error::new(Kind::Timeout, operation, format!("no answer from the disk within {ANSWER:?}"))),
    }
}

impl Queue {
    async fn write(&self, operation: &'static str, action: Action) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let queue = Arc::clone(&self.shape);
        submit(&self.commands, operation, Command::Write(Write { queue, action, reply }))?;
        answered(operation, answer).await
    }
}

fn lease(operation: &'static str, receipt: &Receipt) -> Result<Lease> {
    Lease::parse(receipt).ok_or_else(|| Error::new(Kind::Invalid, operation, format!("no receipt: `{}`", receipt.0)))
}

impl Api for Queue {
    async fn send(&self, body: String, delay: Duration) -> Result<()> {
        self.write("queue.send", Action::Send { body, delay, durable: self.durable }).await
    }

    async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        const OPERATION: &str = "queue.receive";
        if stop.is_cancelled() {
            return Ok(Vec::new());
        }
        let (reply, mut answer) = oneshot::channel();
        let queue = Arc::clone(&self.shape);
        let impatient = wait.is_zero();
        submit(&self.commands, OPERATION, Command::Receive(Waiter { queue, max, impatient, reply }))?;
        tokio::select! {
            biased;
            result = &mut answer => return result.unwrap_or_else(|_| Err(gone(OPERATION))),
            () = stop.cancelled() => {}
            () = tokio::time::sleep(if impatient { ANSWER } else { wait }) => {}
        }
        // From here on the thread cannot answer any more: what it has handed out is in the channel, and whatever it
        // takes afterwards it gives back.
        answer.close();
        match answer.try_recv() {
            Ok(result) => result,
            Err(_) if impatient && !stop.is_cancelled() => {
                Err(Error::new(Kind::Timeout, OPERATION, format!("no answer from the disk within {ANSWER:?}")))
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        self.write("queue.delete", Action::Delete(lease("queue.delete", receipt)?)).await
    }

    async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<()> {
        self.write("queue.extend", Action::Extend(lease("queue.extend", receipt)?, visibility)).await
    }

    async fn depth(&self) -> Result<Depth> {
        let (reply, answer) = oneshot::channel();
        submit(&self.commands, "queue.depth", Command::Depth { queue: Arc::clone(&self.shape), reply })?;
        answered("queue.depth", answer).await
    }
}
