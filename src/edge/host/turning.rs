//! Which loops of a process still turn. A loop that waits for something that never comes, or whose task is gone, is found
//! by its silence: a watched one wakes at least every [`WAKE`], and whatever it calls has a deadline.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A loop that waits for something of no certain time wakes so often all the same.
pub const WAKE: Duration = Duration::from_secs(30);
/// One that was silent for so long is stuck: longer than [`WAKE`] and any call's deadline.
const STUCK: Duration = Duration::from_mins(2);

/// When each watched loop was last seen to go on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Turning(Arc<Mutex<BTreeMap<&'static str, Instant>>>);

impl Turning {
    /// `task`, watched until it ends or is dropped on purpose.
    pub fn watch<F: Future>(&self, name: &'static str, task: F) -> impl Future<Output = F::Output> + use<F> {
        let watched = Watched { turning: self.clone(), name };
        watched.goes_on();
        async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                watched.goes_on();
                task.as_mut().poll(context)
            })
            .await
        }
    }

    /// The loop that has been silent longest among those that are stuck.
    pub fn stuck(&self) -> Option<(&'static str, Duration)> {
        let silent = self.seen().iter().map(|(name, last)| (*name, last.elapsed())).max_by_key(|(_, silence)| *silence);
        silent.filter(|(_, silence)| *silence > STUCK)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<&'static str, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loop under watch.
struct Watched {
    turning: Turning,
    name: &'static str,
}

impl Watched {
    fn goes_on(&self) {
        self.turning.seen().insert(self.name, Instant::now());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // one that fell over stays on the list, where it grows old
        if !std::thread::panicking() {
            self.turning.seen().remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_for_ever_is_stuck_and_one_that_wakes_is_not() {
        let (host, stop) = (Host::system(), CancellationToken::new());
        let stopped = stop.clone();
        let wakes = host.turning.watch("wakes", async {
            loop {
                tokio::time::sleep(WAKE).await;
            }
        });
        host.spawn("wakes", wakes);
        host.spawn("ends", host.turning.watch("ends", async move { stopped.cancelled().await }));
        tokio::time::sleep(WAKE * 3).await;
        assert_eq!(host.turning.stuck(), None);
        tokio::time::sleep(WAKE * 2).await;
        assert_eq!(host.turning.stuck(), Some(("ends", STUCK + WAKE)));
        stop.cancel();
        tokio::time::sleep(WAKE).await;
        assert_eq!(host.turning.stuck(), None, "one that has ended is not missed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_fell_over_is_stuck() {
        let host = Host::system();
        host.spawn("falls", host.turning.watch("falls", async { panic!("on purpose") }));
        tokio::time::sleep(STUCK * 2).await;
        assert_eq!(host.turning.stuck().map(|(name, _)| name), Some("falls"));
    }
}
