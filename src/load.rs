//! A workload: so many uploads, in this order of time, over so many connections; each answer checked.
//!
//! Where the times are fixed beforehand (all at once, a rate, a ramp), latency counts from the time at which an upload
//! should have started. A server that stalls then shows in all uploads it has held up, and not only in the few that
//! were on their way (what is known as coordinated omission).

mod schedule;
mod tally;

pub use schedule::{Pattern, Schedule};
pub use tally::{Report, Tally};

use crate::client::{Client, Connection, Picture};
use futures_util::future::join_all;
use indicatif::ProgressBar;
use schedule::Start;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What is sent, and how.
#[derive(Debug)]
pub struct Plan {
    pub client: Client,
    /// Sent in turns, each with the label or the code of the error that is expected, where one is.
    pub pictures: Vec<(Picture, Option<String>)>,
    pub schedule: Schedule,
    pub connections: usize,
    /// Refusals are followed by another try.
    pub patient: bool,
    /// The longest time from the start of an upload to its answer.
    pub wait: Duration,
    /// Cancelled where somebody has seen enough: nothing more is sent, and what is out counts nowhere.
    pub stop: CancellationToken,
}

/// How many uploads are over, and since when so many were over that the next batch may start.
#[derive(Clone, Copy, Debug)]
struct Gate {
    over: u64,
    opened: Instant,
}

struct Run<'p> {
    plan: &'p Plan,
    bar: &'p ProgressBar,
    began: Instant,
    next: AtomicU64,
    gate: watch::Sender<Gate>,
    tally: Mutex<Tally>,
}

/// Sends everything; returns once the last answer is there.
pub async fn run(plan: &Plan, bar: &ProgressBar) -> Report {
    let began = Instant::now();
    let gate = watch::Sender::new(Gate { over: 0, opened: began });
    let run = Run { plan, bar, began, next: AtomicU64::new(0), gate, tally: Mutex::default() };
    let all = join_all((0..plan.connections).map(|_| run.connection()));
    tokio::select! {
        biased;
        () = plan.stop.cancelled() => {}
        _ = all => {}
    }
    bar.finish_and_clear();
    run.tally.into_inner().unwrap_or_else(PoisonError::into_inner).report(began.elapsed())
}

impl Run<'_> {
    /// One connection: takes the next upload when it is done with its last.
    async fn connection(&self) {
        let mut connection = Connection::default();
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(intended) = self.intended(n).await else { return };
            let (picture, expected) = &self.plan.pictures[n as usize % self.plan.pictures.len()];
            let late = intended.elapsed();
            let until = Instant::now() + self.plan.wait;
            let asked = self.plan.client.ask(&mut connection, picture, until, self.plan.patient).await;
            self.tally().record(&asked, picture, expected.as_deref(), intended.elapsed(), late);
            self.over();
        }
    }

    /// Waits for the time of the `n`-th upload; none where it is not to be sent.
    async fn intended(&self, n: u64) -> Option<Instant> {
        match self.plan.schedule.start(n)? {
            Start::At(offset) => {
                let at = self.began + offset;
                tokio::time::sleep_until(at).await;
                Some(at)
            }
            Start::After(over) => {
                let end = self.plan.schedule.duration().map(|duration| self.began + duration);
                let opened = self.opened(over);
                let opened = match end {
                    Some(end) => tokio::time::timeout_at(end, opened).await.ok()?,
                    None => opened.await,
                };
                let now = Instant::now();
                end.is_none_or(|end| now < end).then(|| opened.unwrap_or(now))
            }
        }
    }

    /// Waits until so many uploads are over; since when that is so, where it is worth knowing.
    async fn opened(&self, over: Option<u64>) -> Option<Instant> {
        let over = over?;
        let mut gate = self.gate.subscribe();
        gate.wait_for(|gate| gate.over >= over).await.ok().map(|gate| gate.opened)
    }

    fn over(&self) {
        self.bar.inc(1);
        self.gate.send_modify(|gate| {
            gate.over += 1;
            if self.plan.schedule.opens(gate.over) {
                gate.opened = Instant::now();
            }
        });
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
