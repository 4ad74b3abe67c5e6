//! What is measured: one slot's time for one image, an instance's time to boot, and how much arrives.
//!
//! Everything comes from messages that are lost, doubled, late and reordered, and from workers that may be broken: no
//! single value moves an estimate far, zero and nonsense move it not at all, and counters that go back only begin anew.

mod boots;
mod endings;
mod service;
#[cfg(test)]
mod tests;
mod traffic;

use crate::message::{Endings, Report, WebReport};
use crate::pool::InstanceId;
use boots::Boots;
use endings::Told;
use serde::{Deserialize, Serialize};
use service::Service;
use std::time::Duration;
use traffic::Traffic;

/// What rides along in the control object, for whoever leads next. Whole numbers, so that they are written and read
/// back exactly; zero where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimates {
    /// Microseconds of one slot for one image.
    pub service_us: u64,
    /// Images that was measured on.
    pub jobs: u64,
    /// Milliseconds from launch to ready.
    pub boot_p50_ms: u64,
    pub boot_p90_ms: u64,
    /// Boots that was measured on.
    pub boots: u64,
    /// Arrivals in a thousand seconds.
    pub arrivals_ks: u64,
}

/// Windows of [`Arrivals`].
pub const FAST: Duration = Duration::from_secs(15);
pub const RECENT: Duration = Duration::from_secs(30);
pub const SLOW: Duration = Duration::from_mins(2);

/// How many requests arrived of late: what the policies see of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// In the last 15 s.
    pub fast: u64,
    /// In the last 30 s.
    pub recent: u64,
    /// In the last 120 s.
    pub slow: u64,
}

/// What is believed before anything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priors {
    pub service: Duration,
    pub boot: Duration,
}

/// No estimate moves by more than this from its last value with one measurement.
const LEAST_STEP: f64 = 0.2;
const LARGEST_STEP: f64 = 5.0;
/// Whatever is measured lies between these.
const SHORTEST: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_hours(1);

/// All measurements of a leader. Times are durations since this process started.
#[derive(Clone, Debug)]
pub struct Meter {
    service: Service,
    boots: Boots,
    traffic: Traffic,
    told: Told,
}

impl Meter {
    /// Begins with what the leader before had measured. `counter_lag` is how far the queue's counters may lag behind.
    pub fn new(priors: Priors, estimates: &Estimates, counter_lag: Duration) -> Meter {
        Meter {
            service: Service::new(priors.service, estimates.service_us, estimates.jobs),
            boots: Boots::new(priors.boot, estimates),
            traffic: Traffic::new(counter_lag),
            told: Told::default(),
        }
    }

    /// A worker of ours reported. How many messages ended since its last report without a new answer.
    pub fn reported(&mut self, report: &Report) -> Endings {
        self.service.reported(report);
        self.told.reported(report)
    }

    /// An instance took so long from its launch to ready ([`crate::pool::Heard::Registered`]).
    pub fn booted(&mut self, boot: Duration) {
        self.boots.booted(boot);
    }

    /// An instance is gone.
    pub fn gone(&mut self, instance_id: &InstanceId) {
        self.service.forget(instance_id);
        self.told.forget(instance_id);
    }

    /// What our own web process has accepted and answered since its start.
    pub fn own(&mut self, accepted_total: u64, answered_total: u64, now: Duration) {
        self.traffic.own(accepted_total, answered_total, now);
    }

    /// Another web process reported.
    pub fn heard(&mut self, report: &WebReport, now: Duration) {
        self.traffic.heard(report, now);
    }

    /// One slot's time for one image.
    pub fn service(&self) -> Duration {
        self.service.value()
    }

    /// From launch to ready: half of all boots, and nine in ten, take no longer.
    pub fn boot(&self) -> Duration {
        self.boots.quantile(50)
    }

    pub fn boot_p90(&self) -> Duration {
        self.boots.quantile(90)
    }

    pub fn arrivals(&self, now: Duration) -> Arrivals {
        self.traffic.arrivals(now)
    }

    /// Requests sent within the counter lag and not answered yet; none where the counters are exact.
    pub fn unanswered(&self, now: Duration) -> u64 {
        self.traffic.unanswered(now)
    }

    /// Requests sent and not seen to be answered. One whose answer was lost stays among them for ever.
    pub fn open(&self) -> u64 {
        self.traffic.open()
    }

    /// What goes into the control object.
    pub fn estimates(&self, now: Duration) -> Estimates {
        let whole = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        Estimates {
            service_us: if self.service.jobs() == 0 { 0 } else { whole(self.service().as_micros()) },
            jobs: self.service.jobs(),
            boot_p50_ms: if self.boots.count() == 0 { 0 } else { whole(self.boot().as_millis()) },
            boot_p90_ms: if self.boots.count() == 0 { 0 } else { whole(self.boot_p90().as_millis()) },
            boots: self.boots.count(),
            arrivals_ks: self.arrivals(now).slow.saturating_mul(1000) / SLOW.as_secs(),
        }
    }
}

/// A measurement in seconds, brought near the last value and into sensible bounds.
fn near(measured: f64, last: f64) -> f64 {
    measured.clamp(last * LEAST_STEP, last * LARGEST_STEP).clamp(SHORTEST.as_secs_f64(), LONGEST.as_secs_f64())
}

/// A prior in seconds that can be measured against: not zero, not endless.
fn sensible(prior: Duration) -> f64 {
    prior.clamp(SHORTEST, LONGEST).as_secs_f64()
}
