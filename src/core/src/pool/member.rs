//! One instance as it was observed, and what is concluded from it.

use super::{AppTierId, InstanceId};
use crate::message::{Report, WorkerState};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Shortest time to register in.
const LEAST_REGISTRATION: Duration = Duration::from_mins(5);

/// Where an instance stands in its life. Moves down this list, except that a worker that says it is stopping without
/// having confirmed (its process is restarted on the same machine) is booting again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    Booting,
    Ready,
    Retiring,
    Terminating,
    Gone,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
pub struct Member {
    pub app_tier_id: AppTierId,
    pub life: Life,
    /// When we first knew of it, and whether that was the answer to a launch of ours.
    pub(super) since: Duration,
    pub(super) launched_by_us: bool,
    /// Whether it was ever ready.
    pub(super) registered: bool,
    /// When it last became booting.
    pub(super) booting_since: Duration,
    pub(super) unlisted_since: Option<Duration>,
    pub(super) ended_at: Duration,
    pub(super) asked_at: Option<Duration>,
    pub(super) report: Option<LastReport>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LastReport {
    pub at: Duration,
    pub slots: u32,
    jobs: u64,
    busy_ms: u64,
    /// When a report last showed work.
    pub worked_at: Duration,
}

/// An instance that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
    /// Where it stood before. [`Life::Ready`] or [`Life::Booting`]: nobody here asked for its end.
    pub life: Life,
    /// Whether it was ever ready: one that was not is a failed launch.
    pub registered: bool,
}

/// What a report told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is ready for the first time; `boot` is the time from its launch, where we saw that.
    Registered {
        boot: Option<Duration>,
    },
    Known,
    /// Not one of ours: counted and ignored.
    NotOurs,
}

/// What a confirmation told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It has stopped: end it.
    Now,
    /// We knew, or it is gone already: nothing to do.
    Already,
    /// Not one of ours: counted and ignored.
    NotOurs,
}

/// Why an instance is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It confirmed that it has stopped.
    Confirmed,
    /// It never became ready.
    NeverRegistered,
    /// It has not reported for too long.
    Hung,
}

/// When an instance is given up. What it holds comes back by visibility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub register: Duration,
    pub hung: Duration,
}

impl Deadlines {
    /// Three boots (p90), at least five minutes, to register; six report intervals without a word.
    pub fn new(boot_p90: Duration, report_every: Duration) -> Deadlines {
        Deadlines { register: boot_p90.saturating_mul(3).max(LEAST_REGISTRATION), hung: report_every.saturating_mul(6) }
    }
}

impl Member {
    /// Moves forward; a life is never lived backwards. What is to be told where it comes to its end now.
    pub(super) fn advance(&mut self, instance_id: &InstanceId, to: Life, now: Duration) -> Option<Ended> {
        let life = self.life;
        if to <= life {
            return None;
        }
        self.life = to;
        if to != Life::Gone {
            return None;
        }
        self.ended_at = now;
        let (app_tier_id, registered) = (self.app_tier_id, self.registered);
        Some(Ended { app_tier_id, instance_id: instance_id.clone(), life, registered })
    }

    /// Its worker reported.
    pub(super) fn reported(&mut self, report: &Report, now: Duration) -> Heard {
        let worked_at = match self.report {
            Some(last) if last.jobs == report.jobs && last.busy_ms == report.busy_ms && report.in_hand == 0 => {
                last.worked_at
            }
            _ => now,
        };
        let (slots, jobs, busy_ms) = (report.slots.max(1), report.jobs, report.busy_ms);
        self.report = Some(LastReport { at: now, slots, jobs, busy_ms, worked_at });
        match (report.state, self.life) {
            (WorkerState::Ready, Life::Booting) => {
                self.life = Life::Ready;
                if !std::mem::replace(&mut self.registered, true) {
                    let boot = self.launched_by_us.then(|| now.saturating_sub(self.since));
                    return Heard::Registered { boot };
                }
            }
            (WorkerState::Stopping, Life::Ready) => {
                self.life = Life::Booting;
                self.booting_since = now;
            }
            _ => {}
        }
        Heard::Known
    }
}
