//! Processes that can die at any point of any call.

use super::chaos::{Chaos, Passage, error};
use crate::edge::Kind;
use crate::edge::host::{Ending, Host};
use crate::edge::wire::{Leg, Passing, Way, Wire};
use crate::metrics::Metrics;
use crate::status::Status;
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// One half of one call, counted from the start of the process.
pub type Point = u64;

/// What happens to a process at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed: nothing it does comes through any more.
    Crash,
    /// The call fails like this: without effect on the way there, with it on the way back.
    Fail(Kind),
}

/// The way of one process to all its edges.
#[derive(Debug)]
pub(super) struct Line {
    host: Host,
    name: String,
    chaos: Option<Arc<Chaos>>,
    passed: AtomicU64,
    faults: Mutex<Vec<(Point, Fault)>>,
    /// Calls of this name fail until that is over.
    failing: Mutex<Option<(&'static str, Kind)>>,
    /// What was passed, for people who look for what a point was.
    log: Mutex<Vec<(&'static str, Leg)>>,
}

/// Points that are remembered: more than a test disturbs, and no more in a week than in an hour.
const LOGGED: Point = 100_000;

impl Line {
    /// `name`: as the world's chaos, if there is one, knows the process.
    pub(super) fn new(host: Host, name: &str, faults: Vec<(Point, Fault)>, chaos: Option<Arc<Chaos>>) -> Arc<Line> {
        let (passed, faults, name) = (AtomicU64::new(0), Mutex::new(faults), name.to_owned());
        Arc::new(Line { host, name, chaos, passed, faults, failing: Mutex::default(), log: Mutex::default() })
    }

    pub(super) fn wire(self: &Arc<Line>) -> Wire {
        Wire::new(Arc::<Line>::clone(self))
    }

    /// From now on every call of this name fails without effect; none: that is over.
    pub(super) fn fail(&self, failing: Option<(&'static str, Kind)>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }

    fn fault(&self, point: Point, operation: &'static str, leg: Leg) -> Option<Fault> {
        if point < LOGGED {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push((operation, leg));
        }
        let failing = *self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, kind)) = failing
            && (name, leg) == (operation, Leg::There)
        {
            return Some(Fault::Fail(kind));
        }
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().find(|(at, _)| *at == point).map(|(_, fault)| *fault)
    }
}

impl Way for Line {
    fn pass(&self, operation: &'static str, leg: Leg) -> Passing {
        if self.host.is_killed() {
            return Box::pin(pending());
        }
        let point = self.passed.fetch_add(1, Ordering::Relaxed);
        let passage = match &self.chaos {
            None => Passage { delay: Duration::ZERO, fault: self.fault(point, operation, leg) },
            Some(chaos) => chaos.passage(&self.name, point, operation, leg),
        };
        match passage {
            Passage { fault: Some(Fault::Crash), .. } => {
                self.host.kill();
                self.host.end(Ending::Unavailable);
                Box::pin(pending())
            }
            Passage { delay: Duration::ZERO, fault: None } => Box::pin(ready(Ok(()))),
            Passage { delay, fault } => {
                let host = self.host.clone();
                Box::pin(async move {
                    sleep(delay).await;
                    if host.is_killed() {
                        return pending().await;
                    }
                    match fault {
                        Some(Fault::Fail(kind)) => Err(error(kind, operation)),
                        _ => Ok(()),
                    }
                })
            }
        }
    }

    fn who(&self) -> &str {
        &self.name
    }
}

/// A process that runs a controller, and what it shows.
#[derive(Debug)]
pub struct Controller {
    pub(super) host: Host,
    pub(super) line: Arc<Line>,
    pub(super) stop: CancellationToken,
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
}

impl Controller {
    /// kill -9.
    pub fn kill(&self) {
        self.host.kill();
    }

    pub fn is_killed(&self) -> bool {
        self.host.is_killed()
    }

    /// From now on every call of this name fails without effect.
    pub fn fail(&self, operation: &'static str, kind: Kind) {
        self.line.fail(Some((operation, kind)));
    }

    /// That is over.
    pub fn heal(&self) {
        self.line.fail(None);
    }

    /// SIGTERM.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Halves of calls so far.
    pub fn points(&self) -> Point {
        self.line.passed.load(Ordering::Relaxed)
    }

    /// What the `point`-th half of a call was.
    pub fn point(&self, point: Point) -> Option<(&'static str, Leg)> {
        self.line.log.lock().unwrap_or_else(PoisonError::into_inner).get(point as usize).copied()
    }
}
