//! The deadline rule: instances for the arrival rate (square-root staffing), and for the backlog as it will stand when
//! a launch would be ready; released only when neither the recent rate, nor the recent backlog, nor bursts that keep
//! coming back need them. Found by search on four traces, in a model first and then by `bellows simulate`; docs/SCALING.md has
//! the figures. The latency target is the user's knob.
//!
//! Times are in seconds and work in instance-seconds: an instance of k slots does k seconds of service in a second.

use super::peaks::Peaks;
use super::{Need, Observation, Policy};
use crate::estimate::{FAST, SLOW};
use std::collections::VecDeque;
use std::time::Duration;

/// Instances beyond the load, in square roots of the load times its peakedness.
const BETA: f64 = 0.33;
/// Peakedness is the variance of the requests in a fast window over their mean: one where they come independently, more
/// where they come together. It is learned over so many looks at the rates (five minutes), from no look more than this,
/// and believed up to so much.
const PEAKEDNESS_LOOKS: f64 = 60.0;
const MOST_A_LOOK: f64 = 10.0;
const MOST_PEAKEDNESS: f64 = 2.3;
/// The surge detector believes so many standard deviations less than it counts.
const DOUBT: f64 = 1.7;
/// Rates are looked at so often, and no oftener: on every submit they would take the maximum of the noise.
const RATES_EVERY: Duration = Duration::from_secs(5);
/// Less work than this is no backlog worth a launch.
const LEAST_LEFT: f64 = 3.0;
/// What the rate, and what the backlog needed is kept at least so long.
const KEEP_RATE: Duration = Duration::from_secs(32);
const KEEP_BACKLOG: Duration = Duration::from_secs(50);
/// The past in slots, for bursts that come back: what so many of the last ones needed is kept.
const SLOT: Duration = Duration::from_secs(30);
/// So many of the last slots, and how many of them must have needed as much: bursts that come back within minutes, and,
/// as long as anything comes at all, what half of the last half hour needed.
const BURSTS: (u64, usize) = (20, 6);
const HALF: (u64, usize) = (60, 31);

/// What the rule remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Arrivals in the slow and the fast window when they were last looked at, and when that was.
    slow: u64,
    fast: u64,
    looked: Option<Duration>,
    /// Peakedness above one, in millionths.
    peakedness: u64,
    rates: Peaks,
    backlogs: Peaks,
    /// The largest need of each of the last slots, by number of the slot.
    slots: VecDeque<(u64, u32)>,
}

pub(super) fn need(demand: u64, observation: &Observation, policy: &Policy, history: &mut History) -> Need {
    let now = observation.now;
    history.look(observation);
    let work = Work::of(demand, observation, policy, history);
    let bound = |instances: u64| u32::try_from(instances).unwrap_or(u32::MAX).min(policy.max);
    // both must follow the measured boot: with fixed ones a slow boot costs most of what the rule gains
    let (of_rates, of_backlogs) = (observation.boot / 5 * 4, observation.boot.saturating_mul(5) / 4);
    let keep_rate = history.rates.note(bound(work.rate), now, of_rates.max(KEEP_RATE));
    let backlog = work.back(demand).max(work.drain(demand));
    let keep_backlog = history.backlogs.note(bound(backlog), now, of_backlogs.max(KEEP_BACKLOG));
    // what waits for capacity is not needed anew in each slot
    let fresh = demand.min(observation.arrivals.recent);
    let slot = work.rate.max(work.back(fresh)).max(work.at_once(fresh));
    let keep = keep_rate.max(keep_backlog).max(history.returning(bound(slot), now));
    let now_needed = work.rate.max(work.back(demand));
    Need { now: now_needed, keep: now_needed.max(u64::from(keep)) }
}

/// What needs of one observation are made of, kept within bounds that arithmetic stands.
struct Work {
    /// Seconds an image takes, a boot, and the target; images at once.
    service: f64,
    boot: f64,
    target: f64,
    slots: f64,
    /// Instances that what comes keeps busy, by the slow window.
    steady: f64,
    /// Instances for the arrivals.
    rate: u64,
    serving: u64,
    /// Instance-seconds that what is there gives while a launch boots.
    given: f64,
}

impl Work {
    fn of(demand: u64, observation: &Observation, policy: &Policy, history: &History) -> Work {
        let seconds = |span: Duration| span.clamp(Duration::from_micros(1), Duration::from_hours(24)).as_secs_f64();
        let (service, boot) = (seconds(observation.service), seconds(observation.boot));
        let slots = f64::from(observation.slots.max(1));
        let slow = if history.slow < 2 { 0.0 } else { history.slow as f64 / SLOW.as_secs_f64() };
        let fast = (history.fast as f64 - DOUBT * libm::sqrt(history.fast as f64)) / FAST.as_secs_f64();
        let load = service / slots * slow.max(fast).max(0.0);
        let grown: f64 = observation.booting_for.iter().map(|age| age.as_secs_f64().min(boot)).sum();
        Work {
            service,
            boot,
            target: seconds(policy.latency_target),
            slots,
            steady: slow * service / slots,
            rate: up(load + BETA * libm::sqrt(load * history.peakedness())).max(u64::from(demand > 0)),
            serving: u64::from(observation.live.serving()),
            given: f64::from(observation.live.ready) * boot + grown,
        }
    }

    fn waiting(&self, demand: u64) -> f64 {
        demand as f64 * self.service / self.slots
    }

    /// One for each request is always enough.
    fn most(&self, demand: u64) -> u64 {
        demand.div_ceil(self.slots as u64).max(self.rate)
    }

    /// Instances for what will be left when one launched now would be ready.
    fn back(&self, demand: u64) -> u64 {
        let left = self.waiting(demand) + self.steady * self.boot - self.given;
        if left <= LEAST_LEFT {
            return 0;
        }
        let more = up((left / self.target).min(left / self.service));
        self.serving.saturating_add(more).min(self.most(demand))
    }

    /// Instances that drain the queue within the target.
    fn drain(&self, demand: u64) -> u64 {
        if demand == 0 { 0 } else { up(self.steady + self.waiting(demand) / self.target - 0.5).min(self.most(demand)) }
    }

    /// Instances that would have drained it within the target, had they been there: an image's own time is gone of that.
    fn at_once(&self, demand: u64) -> u64 {
        let within = (self.target - self.service).max(self.service);
        if demand == 0 { 0 } else { up(self.steady + self.waiting(demand) / within).min(self.most(demand)) }
    }
}

/// Rounded up; none where it is below zero.
fn up(instances: f64) -> u64 {
    libm::ceil(instances) as u64
}

impl History {
    fn look(&mut self, observation: &Observation) {
        if self.looked.is_none_or(|at| observation.now.saturating_sub(at) >= RATES_EVERY) {
            self.looked = Some(observation.now);
            (self.slow, self.fast) = (observation.arrivals.slow, observation.arrivals.fast);
            self.learn();
        }
    }

    /// Nothing is learned where next to nothing arrives.
    fn learn(&mut self) {
        if self.slow < 2 {
            return;
        }
        let expected = self.slow as f64 * FAST.as_secs_f64() / SLOW.as_secs_f64();
        let (off, before) = (self.fast as f64 - expected, self.peakedness as f64 / 1e6);
        let seen = (off * off / expected).min(MOST_A_LOOK) - 1.0;
        // rounded towards one: what is not seen again is forgotten
        self.peakedness = ((before + (seen - before) / PEAKEDNESS_LOOKS) * 1e6) as u64;
    }

    fn peakedness(&self) -> f64 {
        (1.0 + self.peakedness as f64 / 1e6).min(MOST_PEAKEDNESS)
    }

    /// Notes a need, and returns the most that so many of the last slots needed: one burst teaches nothing, bursts that
    /// keep coming back hold the pool, and so does an even load, until nothing comes any more.
    fn returning(&mut self, need: u32, now: Duration) -> u32 {
        let slot = now.as_secs() / SLOT.as_secs();
        match self.slots.back_mut() {
            Some((last, peak)) if *last >= slot => *peak = need.max(*peak),
            _ => self.slots.push_back((slot, need)),
        }
        let within = |at: u64, slots: u64| at.saturating_add(slots) > slot;
        self.slots.retain(|(at, _)| within(*at, HALF.0));
        let least = |(slots, busy): (u64, usize)| {
            let recent = self.slots.iter().filter(|(at, _)| within(*at, slots));
            let mut peaks: Vec<u32> = recent.map(|(_, peak)| *peak).collect();
            peaks.sort_unstable_by(|a, b| b.cmp(a));
            peaks.get(busy - 1).copied().unwrap_or(0)
        };
        let half = if self.slow < 2 { 0 } else { least(HALF) };
        least(BURSTS).max(half)
    }
}
