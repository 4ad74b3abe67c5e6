//! What a process asks of its host: wall clock, randomness, tasks, and its own end. In the simulator all four are
//! virtual, so roles reach them only through here.

use super::{Error, Kind, Result};
use bellows_core::key::RequestId;
use bellows_core::time::Timestamp;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The wall clock. Durations inside one process come from `tokio::time::Instant`, which the simulator pauses.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// The same, set wrong by so much: in tests, of one tier beside another.
    Ahead(Duration),
    /// Starts at the given instant and follows tokio's (paused) clock.
    Virtual {
        start: Timestamp,
        origin: Instant,
    },
    /// Shows what it was last set to (milliseconds), also from other threads: for tests that let hours pass, or
    /// that set the clock back.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that shows `start` now and follows tokio's.
    pub fn virtual_from(start: Timestamp) -> Clock {
        Clock::Virtual { start, origin: Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => {
                Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
            }
            Clock::Ahead(by) => Clock::System.now().plus(*by),
            Clock::Virtual { start, origin } => start.plus(origin.elapsed()),
            Clock::Manual(shown) => Timestamp(shown.load(Ordering::SeqCst)),
        }
    }
}

/// Randomness: the operating system's, or a seeded stream.
#[derive(Clone, Debug)]
pub enum Entropy {
    System,
    Seeded(Arc<Mutex<u64>>),
}

impl Entropy {
    pub fn seeded(seed: u64) -> Entropy {
        Entropy::Seeded(Arc::new(Mutex::new(seed)))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that draws random ids")]
    pub fn uuid(&self) -> Uuid {
        match self {
            Entropy::System => Uuid::new_v4(),
            Entropy::Seeded(state) => {
                let (high, low) = (split_mix(state), split_mix(state));
                uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes()).into_uuid()
            }
        }
    }

    /// Bytes that nobody can guess.
    pub fn secret(&self) -> Result<[u8; 32]> {
        let mut bytes = [0; 32];
        match self {
            Entropy::System => getrandom::fill(&mut bytes)
                .map_err(|e| Error::new(Kind::Unavailable, "entropy.secret", format!("no random bytes: {e}")))?,
            Entropy::Seeded(state) => {
                bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&split_mix(state).to_be_bytes()));
            }
        }
        Ok(bytes)
    }

    pub fn request_id(&self) -> RequestId {
        RequestId(self.uuid())
    }

    /// A fraction in `0.0..1.0`, for jitter.
    pub fn fraction(&self) -> f64 {
        // the first two bits of this half are the same in every UUID: its variant
        let random = (self.uuid().as_u128() as u64) << 2;
        (random >> 12) as f64 / (1u64 << 52) as f64
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): one step of a seeded stream.
fn split_mix(state: &Mutex<u64>) -> u64 {
    let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mixed = mix(*state);
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed
}

/// One step of `SplitMix64` from this state: numbers near to one another become numbers that have nothing in common.
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Why a process ends by its own decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Asked to: everything in hand is finished.
    Drained,
    /// Confirmed a terminate request: the instance powers itself off (exit code 80).
    Retired,
    /// A job passed its deadline and its thread cannot be cancelled: be restarted (exit code 75).
    Stuck,
    /// What the role cannot run without is gone or never came (exit code 69).
    Unavailable,
}

/// The process a role runs in: where it spawns, and how it ends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    pub clock: Clock,
    pub entropy: Entropy,
    tasks: TaskTracker,
    /// Set when the process shall finish what it holds and end.
    pub stop: CancellationToken,
    killed: CancellationToken,
    ending: Arc<Mutex<Option<Ending>>>,
    ended: Arc<Notify>,
}

impl Host {
    pub fn new(clock: Clock, entropy: Entropy) -> Host {
        Host {
            clock,
            entropy,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            killed: CancellationToken::new(),
            ending: Arc::default(),
            ended: Arc::default(),
        }
    }

    pub fn system() -> Host {
        Host::new(Clock::System, Entropy::System)
    }

    /// Starts a named task that belongs to this process. Nothing is spawned anywhere else.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        use tracing::Instrument;
        let killed = self.killed.clone();
        let task = async move {
            let _ = killed.run_until_cancelled(task).await;
        };
        tokio::spawn(self.tasks.track_future(task.instrument(tracing::debug_span!("task", name))));
    }

    /// kill -9, in the simulator: every task ends where it is. Who simulates severs the process from its edges first.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// Whether somebody has killed this process.
    pub fn is_killed(&self) -> bool {
        self.killed.is_cancelled()
    }

    /// Ends the process: the first reason given counts.
    pub fn end(&self, ending: Ending) {
        self.ending.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(ending);
        self.ended.notify_waiters();
        self.ended.notify_one();
    }

    /// Waits until somebody ends the process.
    pub async fn ended(&self) -> Ending {
        loop {
            let woken = self.ended.notified();
            if let Some(ending) = *self.ending.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                return ending;
            }
            woken.await;
        }
    }

    /// Waits until all tasks are done, at most `limit`; false where some were left.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_spread_over_the_whole_of_zero_to_one() {
        for entropy in [Entropy::System, Entropy::seeded(7)] {
            let mut tenths = [0; 10];
            (0..10_000).for_each(|_| tenths[(entropy.fraction() * 10.0) as usize] += 1);
            assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
        }
    }
}
