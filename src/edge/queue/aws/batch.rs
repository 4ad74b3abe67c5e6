//! Calls of many tasks, carried ten at a time: SQS is paid by the call, and a batch costs as much as a single message.
//!
//! One task gathers what comes while up to [`CALLS`] batches are under way. Each entry has an outcome of its own: those
//! that failed in a way that may pass go again with the next try, the others are answered.

use crate::edge::aws::{DEADLINE, Tries};
use crate::edge::host::Host;
use crate::edge::queue::{BATCH, MAX_BODY};
use crate::edge::{Error, Kind, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// Entries that may wait; beyond them a call is `Throttled`.
const WAITING: usize = 1024;
/// Batches under way at once.
const CALLS: usize = 8;
/// How long the first entry of a batch waits for others.
const LINGER: Duration = Duration::from_millis(2);
/// How long a call waits for its answer: in the queue, and then for all tries.
const ANSWER: Duration = Duration::from_secs(2 * DEADLINE.as_secs());

/// Carries batches of one kind to one queue.
pub(super) trait Carry: Clone + Send + Sync + 'static {
    type Entry: Send + Sync + 'static;
    const OPERATION: &'static str;

    /// Bytes that the entry adds to its batch.
    fn size(entry: &Self::Entry) -> usize;

    /// One try: each entry's outcome in order, or an error that holds for all of them.
    fn carry(&self, entries: &[&Self::Entry]) -> impl Future<Output = Result<Vec<Result<()>>>> + Send;
}

struct Open<T> {
    entry: T,
    /// An earlier try may have happened.
    unsure: bool,
    reply: oneshot::Sender<Result<()>>,
}

/// The way to the task that gathers. Cheap to clone; the task ends with the last clone, or with the process.
#[derive(Debug)]
pub(super) struct Batches<C: Carry> {
    entries: mpsc::Sender<Open<C::Entry>>,
}

impl<C: Carry> Clone for Batches<C> {
    fn clone(&self) -> Self {
        Batches { entries: self.entries.clone() }
    }
}

impl<C: Carry> Batches<C> {
    /// Starts the task.
    pub(super) fn new(host: &Host, carrier: C) -> Batches<C> {
        let (entries, received) = mpsc::channel(WAITING);
        host.spawn(C::OPERATION, gather(host.clone(), carrier, received));
        Batches { entries }
    }

    /// Carries one entry with others of its time.
    pub(super) async fn carry(&self, entry: C::Entry) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.entries.try_send(Open { entry, unsure: false, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                Error::new(Kind::Throttled, C::OPERATION, format!("{WAITING} calls are waiting"))
            }
            mpsc::error::TrySendError::Closed(_) => gone::<C>(),
        })?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(gone::<C>())),
            Err(_) => Err(Error::new(Kind::Timeout, C::OPERATION, format!("no answer within {ANSWER:?}"))),
        }
    }
}

/// The process ends: whether the entry was carried is not known.
fn gone<C: Carry>() -> Error {
    Error::new(Kind::Timeout, C::OPERATION, "the process is ending")
}

async fn gather<C: Carry>(host: Host, carrier: C, mut entries: mpsc::Receiver<Open<C::Entry>>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    let mut left = None;
    loop {
        let next = if left.is_some() {
            left.take()
        } else {
            tokio::select! {
                biased;
                next = entries.recv() => next,
                _ = host.ended() => None,
            }
        };
        // the last handle is gone, or the process ends
        let Some(first) = next else { return };
        // fails only where somebody closes the semaphore, and nobody does
        let Ok(call) = calls.clone().acquire_owned().await else { return };
        let group;
        (group, left) = group_of::<C>(first, &mut entries).await;
        let carrier = carrier.clone();
        host.spawn(C::OPERATION, async move {
            settle(&carrier, group).await;
            drop(call);
        });
    }
}

/// A batch that begins with `first`, and the entry that no longer fitted.
async fn group_of<C: Carry>(
    first: Open<C::Entry>,
    entries: &mut mpsc::Receiver<Open<C::Entry>>,
) -> (Vec<Open<C::Entry>>, Option<Open<C::Entry>>) {
    let until = Instant::now() + LINGER;
    let mut size = C::size(&first.entry);
    let mut group = vec![first];
    while group.len() < BATCH {
        let Ok(Some(next)) = tokio::time::timeout_at(until, entries.recv()).await else { break };
        size += C::size(&next.entry);
        if size > MAX_BODY {
            return (group, Some(next));
        }
        group.push(next);
    }
    (group, None)
}

/// Carries a batch until each of its entries is answered.
async fn settle<C: Carry>(carrier: &C, mut open: Vec<Open<C::Entry>>) {
    let mut tries = Tries::begin();
    loop {
        let entries: Vec<&C::Entry> = open.iter().map(|open| &open.entry).collect();
        let count = entries.len();
        let called = tokio::time::timeout_at(tries.end(), carrier.carry(&entries)).await;
        let outcomes = match called {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(error)) => for_each(&error, count),
            Err(_) => {
                for_each(&Error::new(Kind::Timeout, C::OPERATION, format!("no answer within {DEADLINE:?}")), count)
            }
        };
        let again = tries.again();
        let mut failed = Vec::new();
        for (mut open, outcome) in open.into_iter().zip(outcomes) {
            let answer = match outcome {
                Err(error) => {
                    open.unsure |= error.kind == Kind::Timeout;
                    if error.retryable() && again.is_some() {
                        tracing::debug!(%error, "will be tried again");
                        failed.push(open);
                        continue;
                    }
                    Err(if open.unsure { Error { kind: Kind::Timeout, ..error } } else { error })
                }
                done => done,
            };
            // whoever asked may have gone
            let _ = open.reply.send(answer);
        }
        open = failed;
        match again {
            Some(again) if !open.is_empty() => tokio::time::sleep_until(again).await,
            _ => return,
        }
    }
}

/// An error of the whole call as the outcome of each entry.
fn for_each(error: &Error, count: usize) -> Vec<Result<()>> {
    (0..count).map(|_| Err(Error::new(error.kind, error.operation, error.detail.clone()))).collect()
}

#[cfg(test)]
mod tests;
