//! The lease on one message: extended while work goes on, and known to be lost once it is.

use crate::edge::queue::{Delivery, Queue};
use crate::edge::{Error, Kind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One try to extend a lease, given up after `limit`: the next one comes while the lease still runs.
pub(super) async fn extend(queue: &Queue, delivery: &Delivery, visibility: Duration, limit: Duration) -> Result<()> {
    let late = |_| Err(Error::new(Kind::Timeout, "queue.extend", format!("no answer within {limit:?}")));
    tokio::time::timeout(limit, queue.extend(&delivery.receipt, visibility)).await.unwrap_or_else(late)
}

/// A message in hand.
#[derive(Debug)]
pub(super) struct Lease {
    queue: Queue,
    pub(super) delivery: Delivery,
    visibility: Duration,
    heartbeat: Duration,
    /// Somebody else has the message now: it is not ours to delete.
    lost: AtomicBool,
}

impl Lease {
    pub(super) fn new(queue: Queue, delivery: Delivery, visibility: Duration, heartbeat: Duration) -> Lease {
        Lease { queue, delivery, visibility, heartbeat, lost: AtomicBool::new(false) }
    }

    /// Extends the lease until dropped. Never returns: run it beside the work.
    pub(super) async fn keep(&self) {
        loop {
            tokio::time::sleep(self.heartbeat).await;
            match extend(&self.queue, &self.delivery, self.visibility, self.heartbeat).await {
                Ok(()) => {}
                Err(e) if e.kind == Kind::Expired => {
                    tracing::warn!("the lease ran out: the message is somebody else's now");
                    self.lost.store(true, Ordering::Relaxed);
                    return std::future::pending().await;
                }
                // the next heartbeat comes before the lease ends: it is a third of it
                Err(e) => tracing::warn!(error = %e, "a lease was not extended"),
            }
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Acknowledges the message, unless it is no longer ours.
    pub(super) async fn delete(&self) {
        if self.is_lost() {
            return;
        }
        match self.queue.delete(&self.delivery.receipt).await {
            Ok(()) => {}
            // it will be received again, and its result found
            Err(e) => tracing::warn!(error = %e, "an answered request was not deleted"),
        }
    }

    /// Lets somebody else have the message after `delay`.
    pub(super) async fn give_back(&self, delay: Duration) {
        if let Err(e) = self.queue.give_back(&self.delivery.receipt, delay).await {
            tracing::debug!(error = %e, "a message was not given back: its lease runs out by itself");
        }
    }
}
