//! Queues with the semantics of SQS: at-least-once, leases that run out, receive counts, dead letters, delays.

#[cfg(feature = "aws")]
pub mod aws;
pub mod local;
pub mod memory;

use super::{Error, Kind, Result};
use bellows_core::time::Timestamp;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Most messages in one call, as SQS has it.
pub const BATCH: usize = 10;
/// The longest a poll may wait for a message.
pub const MAX_WAIT: Duration = Duration::from_secs(20);
/// The longest a message may be hidden, by a delay or by a lease. Whatever is hidden for longer was hidden by a clock
/// that has been set back since, and counts as visible.
pub const MAX_DELAY: Duration = Duration::from_mins(15);
/// Longest body in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// One queue's fixed properties.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// How long a received message is ours before somebody else may have it.
    pub visibility: Duration,
    /// Messages older than this vanish.
    pub retention: Duration,
    /// After so many receives a message goes to the queue named here instead of being received again. There it keeps
    /// its sending time, and its receive count goes on: the first receive of a dead letter counts one more.
    pub dead_letters: Option<(u32, String)>,
}

/// Proof of a lease on one message. Runs out with the lease: a later `delete` or `extend` fails with `Expired`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A message in our hands.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub message_id: String,
    pub body: String,
    pub receipt: Receipt,
    /// 1 on the first receive.
    pub receive_count: u32,
    pub sent_at: Timestamp,
    /// From sending to this receive by the queue's own clock.
    pub waited: Duration,
}

/// How many messages a queue holds. On SQS approximate and late; exact elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

impl Depth {
    pub fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// The contract of a queue. `src/tests/contract/queue.rs` holds every backend to it.
pub(crate) trait Api {
    /// Sends one message; durable when it returns `Ok`. A failed send may have happened (`Timeout`).
    async fn send(&self, body: String, delay: Duration) -> Result<()>;

    /// Up to `max` (1..=[`BATCH`]) messages, leased for the queue's visibility time; empty after `wait` or on `stop`.
    /// Never dropped half-way: on `stop` it ends early by itself, and gives back what it may not keep.
    async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>>;

    /// Acknowledges a message; `Expired` where the lease was lost. Deleting twice is no error.
    async fn delete(&self, receipt: &Receipt) -> Result<()>;

    /// The lease runs out `visibility` from now; zero gives the message back at once. `Expired` where it was lost.
    async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<()>;

    async fn depth(&self) -> Result<Depth>;
}

impl Settings {
    /// Refuses what no backend could keep.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = if self.name.is_empty() {
            "a queue needs a name"
        } else if self.visibility.is_zero() || self.visibility > MAX_DELAY {
            "expected a visibility above zero and of at most 15 minutes"
        } else if self.dead_letters.as_ref().is_some_and(|(receives, name)| *receives == 0 || *name == self.name) {
            "expected at least one receive before a message goes to another queue"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Invalid, "queue.open", format!("queue `{}`: {wrong}", self.name)))
    }
}

/// Refuses a message no backend takes.
fn check_send(body: &str, delay: Duration) -> Result<()> {
    if body.len() > MAX_BODY {
        let detail = format!("a body of {} bytes, expected at most {MAX_BODY}", body.len());
        return Err(Error::new(Kind::Invalid, "queue.send", detail));
    }
    check_hiding("queue.send", delay)
}

fn check_hiding(operation: &'static str, hidden: Duration) -> Result<()> {
    if hidden > MAX_DELAY {
        return Err(Error::new(Kind::Invalid, operation, format!("hidden for {hidden:?}, expected at most 15 min")));
    }
    Ok(())
}

/// A queue of whichever kind. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Queue {
    Local(local::Queue),
    #[cfg(feature = "aws")]
    Aws(aws::Queue),
    Memory(memory::Queue),
}

macro_rules! dispatch {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match $self {
            Queue::Local(queue) => Api::$call(queue, $($argument),*).await,
            #[cfg(feature = "aws")]
            // the SDK's futures are large, and callers hold one a request
            Queue::Aws(queue) => Box::pin(Api::$call(queue, $($argument),*)).await,
            Queue::Memory(queue) => {
                queue.wire.carry(concat!("queue.", stringify!($call)), Api::$call(queue, $($argument),*)).await
            }
        }
    };
}

impl Queue {
    /// See [`Api::send`]; visible at once.
    pub async fn send(&self, body: String) -> Result<()> {
        self.send_delayed(body, Duration::ZERO).await
    }

    /// Sends a message that nobody sees before `delay` (at most 15 min) has passed.
    pub async fn send_delayed(&self, body: String, delay: Duration) -> Result<()> {
        check_send(&body, delay)?;
        dispatch!(self.send(body, delay))
    }

    /// Up to `max` messages; waits at most `wait` for the first one. Must never be dropped half-way: cancel `stop`.
    pub async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        dispatch!(self.receive(max.clamp(1, BATCH), wait.min(MAX_WAIT), stop))
    }

    /// Acknowledges a message.
    pub async fn delete(&self, receipt: &Receipt) -> Result<()> {
        dispatch!(self.delete(receipt))
    }

    /// Keeps a message for `visibility` from now on.
    pub async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<()> {
        check_hiding("queue.extend", visibility)?;
        dispatch!(self.extend(receipt, visibility))
    }

    /// Lets somebody else have the message after `delay` (zero: at once).
    pub async fn give_back(&self, receipt: &Receipt, delay: Duration) -> Result<()> {
        self.extend(receipt, delay).await
    }

    pub async fn depth(&self) -> Result<Depth> {
        dispatch!(self.depth())
    }
}
