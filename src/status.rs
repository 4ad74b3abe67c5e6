//! What this process knows of its own health and of the pool, as the probes, the page and admission read it: cached,
//! so that no probe costs a call.

mod outstanding;

use bellows_core::admission::{Admission, Capacity, LEAST_BACKLOG, admit};
use bellows_core::control::Pause;
use bellows_core::key::RequestId;
use bellows_core::ledger::Ledger;
use bellows_core::pool::Life;
use bellows_core::scale::Counters;
use outstanding::Outstanding;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

/// Entries of the ledger that are kept: some hours of a busy pool, months of a quiet one.
const REMEMBERED: usize = 4096;
/// A queue that has not been read for so long makes the process unready.
pub const UNREAD: Duration = Duration::from_secs(30);

/// One image's part of what its sender may have waiting: given back with the answer.
pub type Share = OwnedSemaphorePermit;

/// Why an upload would not be accepted now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReady {
    Draining,
    /// With how far it is.
    ModelLoading(String),
    DiskLow {
        free: u64,
        floor: u64,
    },
    QueueUnread(Duration),
}

/// The pool as the controller last saw it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pool {
    /// Whether this process scales the pool, and in which epoch.
    pub leads: bool,
    pub epoch: u64,
    pub pause: Option<Pause>,
    pub dry_run: bool,
    pub min_instances: u32,
    pub max_instances: u32,
    /// Images that one instance works on at the same time.
    pub slots_an_instance: u32,
    /// What the last decision made of how many requests.
    pub wanted: u32,
    pub demand: u64,
    /// Terminate requests that are out.
    pub asked_to_retire: u32,
    /// One slot's time for one image, and an instance's from launch to ready, in milliseconds.
    pub service_ms: f64,
    pub boot_ms: f64,
    /// The queue of requests as it was last read.
    pub queue: Option<Counters>,
    pub states: States,
    pub instances: Vec<Member>,
}

/// How many instances are in which state.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct States {
    /// Launched, or about to be, and not ready yet.
    pub booting: u32,
    pub ready: u32,
    pub ending: u32,
}

/// What answers, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    pub name: String,
    pub engine: String,
}

/// One instance, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    pub app_tier_id: u32,
    pub instance_id: String,
    pub life: Life,
}

/// What uploads are judged by: the backlog as it was last read, and how fast it is worked off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// Requests that waited or were worked on when the counters were read. Images that have come since count on top.
    pub waiting: u64,
    /// Above this an upload is refused; none: nothing is known yet, and nobody is refused.
    pub most: Option<u64>,
    pub capacity: Capacity,
}

/// Written by the controller and the wiring, read by the web tier.
#[derive(Debug)]
pub struct Status {
    draining: AtomicBool,
    /// `None`: ready, or no model is needed here.
    model: Mutex<Option<String>>,
    installed: Mutex<Option<Installed>>,
    free: AtomicU64,
    floor: u64,
    queue_read: Mutex<Instant>,
    pool: Mutex<Arc<Pool>>,
    ledger: Mutex<Ledger>,
    /// With how many were sent by then.
    backlog: Mutex<(Backlog, u64)>,
    outstanding: Mutex<Outstanding>,
    /// Images that were accepted or are on their way into the queue, and those of them that may be in it.
    come: AtomicU64,
    sent: AtomicU64,
    /// How many were sent when the queue was last read.
    sent_when_read: AtomicU64,
    accepted: AtomicU64,
    answered: AtomicU64,
    submitted: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Status {
    /// `floor`: bytes of free disk below which nothing is accepted; 0 where the disk is not ours to watch.
    pub fn new(floor: u64) -> Status {
        Status {
            draining: AtomicBool::new(false),
            model: Mutex::new(None),
            installed: Mutex::new(None),
            free: AtomicU64::new(u64::MAX),
            floor,
            queue_read: Mutex::new(Instant::now()),
            pool: Mutex::default(),
            ledger: Mutex::new(Ledger::new(REMEMBERED)),
            backlog: Mutex::default(),
            outstanding: Mutex::default(),
            come: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            sent_when_read: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            submitted: Notify::new(),
        }
    }

    /// Whether so many `more` images may come in; else after how many seconds to come again.
    pub fn admit(&self, more: u64) -> Result<(), u64> {
        let (backlog, sent) = *lock(&self.backlog);
        let Some(most) = backlog.most else { return Ok(()) };
        let since = self.come.load(Ordering::Relaxed).saturating_sub(sent);
        let waiting = backlog.waiting.saturating_add(since);
        match admit(waiting, more, most, &backlog.capacity) {
            Admission::Take => Ok(()),
            Admission::Refuse { retry_after } => Err(retry_after),
        }
    }

    /// Whole seconds in which the pool works off so many requests, as a Retry-After.
    pub fn clears(&self, requests: u64) -> u64 {
        let (backlog, _) = *lock(&self.backlog);
        match admit(LEAST_BACKLOG, requests, LEAST_BACKLOG, &backlog.capacity) {
            Admission::Take => 1,
            Admission::Refuse { retry_after } => retry_after,
        }
    }

    /// An image is on its way into the queue: it counts as waiting from now on. `share` is held until it is answered.
    pub fn entering(self: &Arc<Status>, id: RequestId, share: Option<Share>) -> Entering {
        self.come.fetch_add(1, Ordering::Relaxed);
        lock(&self.outstanding).begun(id, share);
        Entering { id, status: Arc::clone(self), way: Way::Coming }
    }

    /// An answer came as a message.
    pub fn answered(&self, id: RequestId) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.answer_was_seen(id);
    }

    /// There is an answer to this request.
    pub fn answer_was_seen(&self, id: RequestId) {
        lock(&self.outstanding).ended(id);
    }

    /// The queue of requests held nothing at this moment.
    pub fn queue_was_empty(&self, moment: Instant) {
        lock(&self.outstanding).none_before(moment);
    }

    /// Age of the oldest request that this process has accepted and that is not answered; zero where there is none.
    pub fn oldest_age(&self) -> Duration {
        lock(&self.outstanding).oldest().map(|at| at.elapsed()).unwrap_or_default()
    }

    /// Images accepted and answers received by this process since its start.
    pub fn traffic(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed))
    }

    /// Woken when an image is accepted.
    pub fn submitted(&self) -> &Notify {
        &self.submitted
    }

    /// Decisions and events, newest last. Held only for the moment of a look or an entry.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// As the queue said when it was last read.
    pub fn set_backlog(&self, backlog: Backlog) {
        *lock(&self.backlog) = (backlog, self.sent_when_read.load(Ordering::Relaxed));
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// `Some(how far it is)` while the model is fetched or loaded.
    pub fn set_model(&self, loading: Option<String>) {
        *lock(&self.model) = loading;
    }

    pub fn model_is_loading(&self) -> bool {
        lock(&self.model).is_some()
    }

    /// The model that was fetched, and its engine.
    pub fn set_installed(&self, installed: Installed) {
        *lock(&self.installed) = Some(installed);
    }

    /// None where it is not there yet, or not here.
    pub fn installed(&self) -> Option<Installed> {
        lock(&self.installed).clone()
    }

    pub fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }

    /// So many bytes are about to be written: they count from now on, not only when the disk is looked at again.
    pub fn fills(&self, bytes: u64) {
        // counts down from what was seen last; where nothing was seen there is no end to it
        let _ = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| Some(free.saturating_sub(bytes)));
    }

    /// The depth of the queue was read just now. Whoever was sent before may be in it, and does not count on top of it:
    /// nobody is counted twice, and so nobody refused for whom there is room. Those who were on their way and came too
    /// late for it are missed until it is read again.
    pub fn queue_was_read(&self) {
        self.sent_when_read.store(self.sent.load(Ordering::Relaxed), Ordering::Relaxed);
        *lock(&self.queue_read) = Instant::now();
    }

    pub fn set_pool(&self, pool: Pool) {
        *lock(&self.pool) = Arc::new(pool);
    }

    pub fn pool(&self) -> Arc<Pool> {
        Arc::clone(&lock(&self.pool))
    }

    /// Whether an upload would be accepted now. A pool at zero is ready: it grows.
    pub fn ready(&self) -> Result<(), NotReady> {
        if self.is_draining() {
            return Err(NotReady::Draining);
        }
        if let Some(how_far) = lock(&self.model).clone() {
            return Err(NotReady::ModelLoading(how_far));
        }
        let free = self.free.load(Ordering::Relaxed);
        if free < self.floor {
            return Err(NotReady::DiskLow { free, floor: self.floor });
        }
        let unread = lock(&self.queue_read).elapsed();
        if unread > UNREAD {
            return Err(NotReady::QueueUnread(unread));
        }
        Ok(())
    }
}

/// An image between the door and the queue. Dropped, it did not come in.
#[derive(Debug)]
pub struct Entering {
    id: RequestId,
    status: Arc<Status>,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Coming,
    Sent,
    Accepted,
}

impl Entering {
    /// From here on it may be in the queue.
    pub fn sent(&mut self) {
        if self.way == Way::Coming {
            self.way = Way::Sent;
            self.status.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It is in the queue: wakes the controller.
    pub fn accepted(mut self) {
        self.sent();
        self.way = Way::Accepted;
        lock(&self.status.outstanding).accepted(self.id, Instant::now());
        self.status.accepted.fetch_add(1, Ordering::Relaxed);
        self.status.submitted.notify_one();
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        if self.way == Way::Accepted {
            return;
        }
        if self.way == Way::Sent {
            self.status.sent.fetch_sub(1, Ordering::Relaxed);
        }
        self.status.come.fetch_sub(1, Ordering::Relaxed);
        lock(&self.status.outstanding).ended(self.id);
    }
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotReady::Draining => f.write_str("draining"),
            NotReady::ModelLoading(how_far) => write!(f, "model-loading: {how_far}"),
            NotReady::DiskLow { free, floor } => write!(f, "disk-low: {free} bytes free, expected at least {floor}"),
            NotReady::QueueUnread(span) => write!(f, "queue-unread: no read for {} s", span.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_reason_is_told() {
        let status = Status::new(100);
        assert_eq!(status.ready(), Ok(()));
        status.set_model(Some("fetching".into()));
        assert_eq!(status.ready(), Err(NotReady::ModelLoading("fetching".into())));
        status.set_model(None);
        status.set_free(99);
        assert_eq!(status.ready(), Err(NotReady::DiskLow { free: 99, floor: 100 }));
        status.set_free(130);
        assert_eq!(status.ready(), Ok(()));
        status.fills(31);
        assert_eq!(status.ready(), Err(NotReady::DiskLow { free: 99, floor: 100 }));
        status.set_free(100);
        tokio::time::advance(UNREAD + Duration::from_secs(1)).await;
        assert!(matches!(status.ready(), Err(NotReady::QueueUnread(_))));
        status.queue_was_read();
        assert_eq!(status.ready(), Ok(()));
        status.drain();
        assert_eq!(status.ready(), Err(NotReady::Draining));
    }

    fn id(n: u128) -> RequestId {
        RequestId(uuid::Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_full_backlog_is_told_with_a_time_to_come_again() {
        let status = Arc::new(Status::new(0));
        assert_eq!(status.admit(u64::MAX), Ok(()), "nothing is known yet");
        let capacity = Capacity { ready: 1, max: 1, slots: 1, service: Duration::from_secs(1), ..Capacity::default() };
        let read = |waiting| {
            status.queue_was_read();
            status.set_backlog(Backlog { waiting, most: Some(1000), capacity });
        };
        read(998);
        let entering = [status.entering(id(1), None), status.entering(id(2), None)];
        assert_eq!(status.admit(5), Err(5), "who is on the way in counts");
        for entering in entering {
            entering.accepted();
        }
        assert_eq!(status.admit(5), Err(5), "who came in since counts");
        let mut sent = status.entering(id(3), None);
        sent.sent();
        read(999);
        sent.accepted();
        assert_eq!(status.admit(5), Ok(()), "who may be among those counted counts once");
        let late = status.entering(id(4), None);
        read(999);
        assert_eq!(status.admit(5), Err(5), "who comes only now is not among them");
        drop(late);
        let mut failed = status.entering(id(5), None);
        failed.sent();
        drop(failed);
        assert_eq!(status.admit(5), Ok(()), "who did not come in does not count");
        assert_eq!(status.traffic(), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_request_ages_until_its_answer_is_seen() {
        let (status, second) = (Arc::new(Status::new(0)), Duration::from_secs(1));
        drop(status.entering(id(1), None));
        let late = status.entering(id(2), None);
        tokio::time::advance(second).await;
        assert_eq!(status.oldest_age(), Duration::ZERO);
        status.entering(id(3), None).accepted();
        tokio::time::advance(second).await;
        late.accepted();
        tokio::time::advance(second).await;
        assert_eq!(status.oldest_age(), second * 2);
        status.answered(id(3));
        assert_eq!(status.oldest_age(), second);
        status.queue_was_empty(Instant::now());
        assert_eq!(status.oldest_age(), Duration::ZERO);
    }
}
