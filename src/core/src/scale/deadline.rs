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
const DOUBT: f64 = 1.6;
/// Rates are looked at so often, and no oftener: on every submit they would take the maximum of the noise.
const RATES_EVERY: Duration = Duration::from_secs(5);
/// Less work than this is no backlog worth a launch.
const LEAST_LEFT: f64 = 3.0;
/// What the rate, and what the backlog needed is kept at least so long.
const KEEP_RATE: Duration = Duration::from_secs(32);
const KEEP_BACKLOG: Duration = Duration::from_secs(50);
/// The past in slots, for bursts that come back: what so many of the last ones needed is kept.
const SLOT: Duration = Duration::from_secs(30);
/// So many of the last slots, and how many of them must have needed as much: bursts that come back within minutes, and
/// what half of the last half hour needed.
const RETURNING: [(u64, usize); 2] = [(18, 6), (60, 31)];

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
    let View { service, boot, target, slots } = View::of(observation, policy);
    let slow = if history.slow < 2 { 0.0 } else { history.slow as f64 / SLOW.as_secs_f64() };
    let fast = (history.fast as f64 - DOUBT * libm::sqrt(history.fast as f64)) / FAST.as_secs_f64();
    let load = service / slots * slow.max(fast).max(0.0);
    let some = u64::from(demand > 0);
    // one for each request is always enough
    let each = demand.div_ceil(u64::from(observation.slots.max(1)));
    let rate = up(load + BETA * libm::sqrt(load * history.peakedness())).max(some);
    let most = each.max(rate);
    let waiting = demand as f64 * service / slots;
    let steady = slow * service / slots;

    // what will be left when an instance launched now would be ready
    let grown: f64 = observation.booting_for.iter().map(|age| age.as_secs_f64().min(boot)).sum();
    let left = waiting + steady * boot - f64::from(observation.live.ready) * boot - grown;
    let back = if left > LEAST_LEFT {
        let more = up((left / target).min(left / service));
        u64::from(observation.live.serving()).saturating_add(more).min(most)
    } else {
        0
    };
    let drain = if demand > 0 { up(steady + waiting / target - 0.5).min(most) } else { 0 };
    let now_needed = rate.max(back);
    let bound = |instances: u64| u32::try_from(instances).unwrap_or(u32::MAX).min(policy.max);
    // both must follow the measured boot: with fixed ones a slow boot costs most of what the rule gains
    let (of_rates, of_backlogs) = (observation.boot / 5 * 4, observation.boot.saturating_mul(5) / 4);
    let keep_rate = history.rates.note(bound(rate), now, of_rates.max(KEEP_RATE));
    let keep_backlog = history.backlogs.note(bound(back.max(drain)), now, of_backlogs.max(KEEP_BACKLOG));
    // of the target an image's own time is gone
    let at_once = if demand > 0 { up(steady + waiting / (target - service).max(service)).min(most) } else { 0 };
    let keep_returning = history.returning(bound(now_needed.max(at_once)), now);
    let keep = keep_rate.max(keep_backlog).max(keep_returning);
    Need { now: now_needed, keep: now_needed.max(u64::from(keep)) }
}

/// The observation in seconds, kept within bounds that arithmetic stands.
struct View {
    service: f64,
    boot: f64,
    target: f64,
    slots: f64,
}

impl View {
    fn of(observation: &Observation, policy: &Policy) -> View {
        let seconds = |span: Duration| span.clamp(Duration::from_micros(1), Duration::from_hours(24)).as_secs_f64();
        View {
            service: seconds(observation.service),
            boot: seconds(observation.boot),
            target: seconds(policy.latency_target),
            slots: f64::from(observation.slots.max(1)),
        }
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

    /// Notes a need, and returns the most that so many of the last slots needed: one burst teaches nothing, and bursts
    /// that keep coming back hold the pool.
    fn returning(&mut self, need: u32, now: Duration) -> u32 {
        let slot = now.as_secs() / SLOT.as_secs();
        match self.slots.back_mut() {
            Some((last, peak)) if *last >= slot => *peak = need.max(*peak),
            _ => self.slots.push_back((slot, need)),
        }
        let within = |at: u64, slots: u64| at.saturating_add(slots) > slot;
        self.slots.retain(|(at, _)| RETURNING.iter().any(|(slots, _)| within(*at, *slots)));
        let least = |(slots, busy): (u64, usize)| {
            let recent = self.slots.iter().filter(|(at, _)| within(*at, slots));
            let mut peaks: Vec<u32> = recent.map(|(_, peak)| *peak).collect();
            peaks.sort_unstable_by(|a, b| b.cmp(a));
            peaks.get(busy - 1).copied().unwrap_or(0)
        };
        RETURNING.into_iter().map(least).max().unwrap_or(0)
    }
}
