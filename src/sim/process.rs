//! Processes that can die at any point of any call.

use crate::edge::host::Host;
use crate::edge::wire::{Leg, Passing, Way, Wire};
use crate::edge::{Error, Kind};
use crate::metrics::Metrics;
use crate::status::Status;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    pub(super) fn new(host: Host, faults: Vec<(Point, Fault)>) -> Arc<Line> {
        let (passed, faults) = (AtomicU64::new(0), Mutex::new(faults));
        Arc::new(Line { host, passed, faults, failing: Mutex::default(), log: Mutex::default() })
    }

    pub(super) fn wire(self: &Arc<Line>) -> Wire {
        Wire::new(Arc::<Line>::clone(self))
    }

    /// From now on every call of this name fails without effect; none: that is over.
    pub(super) fn fail(&self, failing: Option<(&'static str, Kind)>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }

    fn fault(&self, operation: &'static str, leg: Leg) -> Option<Fault> {
        let point = self.passed.fetch_add(1, Ordering::Relaxed);
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
        match self.fault(operation, leg) {
            None => Box::pin(async { Ok(()) }),
            Some(Fault::Fail(kind)) => Box::pin(async move { Err(Error::new(kind, operation, "a fault of the test")) }),
            Some(Fault::Crash) => {
                self.host.kill();
                Box::pin(pending())
            }
        }
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
