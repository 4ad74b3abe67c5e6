//! One slot's time for one image, from the totals that workers report.

use super::{LONGEST, SHORTEST, near, sensible};
use crate::message::Report;
use crate::pool::InstanceId;
use std::collections::BTreeMap;
use std::time::Duration;

/// The prior is believed until so many images were measured; where things have changed, a report on so many counts half.
const ENOUGH: u64 = 20;
/// Where they have not, a report on so many does. With twenty the value would go up and down by some percent all the time,
/// and a pool that keeps what it needed most pays for the largest: 3 % of its hours.
const REMEMBERED: u64 = 200;
/// A mean this many standard errors off tells of a change, were the times as varied as exponential ones.
const CHANGE: f64 = 3.0;
/// The most that one report counts against all that came before it.
const MOST_WEIGHT: f64 = 0.5;
/// Most instances whose totals are kept: more than any pool has. Beyond it new ones are not measured.
const MOST_INSTANCES: usize = 10_000;

#[derive(Clone, Debug)]
pub(super) struct Service {
    prior: f64,
    /// Seconds, once enough was measured.
    value: Option<f64>,
    jobs: u64,
    /// Before there was enough: the sum of what was measured, and its weight.
    seconds: f64,
    weight: f64,
    /// The totals each instance reported last.
    totals: BTreeMap<InstanceId, Totals>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    jobs: u64,
    busy_ms: u64,
}

impl Service {
    /// `micros` and `jobs` are what the leader before had measured.
    pub fn new(prior: Duration, micros: u64, jobs: u64) -> Service {
        let before = Duration::from_micros(micros).clamp(SHORTEST, LONGEST).as_secs_f64();
        let measured = micros > 0 && jobs >= ENOUGH;
        Service {
            prior: sensible(prior),
            value: measured.then_some(before),
            jobs: if measured { jobs } else { 0 },
            seconds: 0.0,
            weight: 0.0,
            totals: BTreeMap::new(),
        }
    }

    pub fn value(&self) -> Duration {
        Duration::from_secs_f64(self.value.unwrap_or(self.prior))
    }

    /// Images measured on; zero while the prior is believed.
    pub fn jobs(&self) -> u64 {
        if self.value.is_some() { self.jobs } else { 0 }
    }

    pub fn forget(&mut self, instance_id: &InstanceId) {
        self.totals.remove(instance_id);
    }

    pub fn reported(&mut self, report: &Report) {
        let new = Totals { jobs: report.jobs, busy_ms: report.busy_ms };
        let Some(last) = self.totals.get(&report.instance_id).copied() else {
            // what it did before we first heard of it is as good a measurement as any
            if self.totals.len() < MOST_INSTANCES {
                self.totals.insert(report.instance_id.clone(), Totals::default());
                self.reported(report);
            }
            return;
        };
        let (jobs, busy_ms) = (new.jobs.checked_sub(last.jobs), new.busy_ms.checked_sub(last.busy_ms));
        match (jobs, busy_ms) {
            // nothing new, or too quick to have taken a millisecond yet: it counts with what follows
            (Some(0), _) | (_, Some(0)) => return,
            (Some(jobs), Some(busy_ms)) => self.measured(jobs, busy_ms),
            // a new process, or an older report that comes late: it begins anew
            _ => {}
        }
        self.totals.insert(report.instance_id.clone(), new);
    }

    fn measured(&mut self, jobs: u64, busy_ms: u64) {
        let last = self.value.unwrap_or(self.prior);
        let mean = near(busy_ms as f64 / 1000.0 / jobs as f64, last);
        self.jobs = self.jobs.saturating_add(jobs);
        if self.value.is_some() {
            let changed = (mean - last).abs() > CHANGE * last / libm::sqrt(jobs as f64);
            let memory = if changed { ENOUGH } else { REMEMBERED };
            let weight = (jobs as f64 / jobs.saturating_add(memory) as f64).min(MOST_WEIGHT);
            self.value = Some(last + weight * (mean - last));
        } else {
            // one report counts at most as all the rest, here too
            let weight = jobs.min(ENOUGH) as f64;
            self.seconds += mean * weight;
            self.weight += weight;
            if self.jobs >= ENOUGH {
                self.value = Some(self.seconds / self.weight);
            }
        }
    }
}
