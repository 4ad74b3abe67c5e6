//! Scale in only to the largest need of the last while: without it every rule thrashes. And the bounds.

use super::{Clamp, Observation, Policy, STALE_AFTER};
use std::collections::VecDeque;
use std::time::Duration;

/// What decisions remember of one another. Small: the needs kept are falling, so they are at most max + 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Needs that may still be the largest of the window, with their times: falling.
    peaks: VecDeque<(Duration, u32)>,
    begun: bool,
    /// The value at which the counter of visible messages is stuck.
    pub(super) stuck: Option<u64>,
}

impl Memory {
    pub fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Notes a need and returns the largest within `span`, this one included.
    fn peak(&mut self, need: u32, now: Duration, span: Duration) -> u32 {
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= need) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now, need));
        while self.peaks.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= span) && self.peaks.len() > 1 {
            self.peaks.pop_front();
        }
        self.peaks.front().map_or(need, |(_, peak)| *peak)
    }
}

/// How many instances there shall be, and what made it differ from the need.
pub(super) struct Held {
    pub wanted: u32,
    pub clamp: Option<Clamp>,
}

/// Bounds the need and holds what was needed of late. Holding keeps instances; it never launches one.
pub(super) fn wanted(need: u64, active: i64, observation: &Observation, policy: &Policy, memory: &mut Memory) -> Held {
    let min = policy.min.min(policy.max);
    let bounded = u32::try_from(need).unwrap_or(u32::MAX).clamp(min, policy.max);
    let mut clamp = None;
    if need > u64::from(policy.max) {
        clamp = Some(Clamp::Max);
    } else if need < u64::from(min) {
        clamp = Some(Clamp::Min);
    }
    let kept = u32::try_from(active.clamp(0, i64::from(policy.max))).unwrap_or(0);
    if !memory.begun {
        // a new leader knows nothing of what was needed before: it begins by holding what it finds
        memory.begun = true;
        memory.peak(kept.max(bounded), observation.now, Duration::MAX);
    }
    let span = policy.hold.span(observation.boot);
    let peak = memory.peak(bounded, observation.now, span);
    let held = bounded.max(kept.min(peak));
    if held > bounded {
        clamp = Some(Clamp::Hold);
    }
    if i64::from(held) < active && is_stale(observation) {
        let wanted = u32::try_from(active).unwrap_or(0);
        return Held { wanted, clamp: Some(Clamp::Stale) };
    }
    Held { wanted: held, clamp }
}

/// Whether we see too little of the world to end anything.
fn is_stale(observation: &Observation) -> bool {
    let old = |age: Option<Duration>| age.is_none_or(|age| age > STALE_AFTER);
    observation.list_failed || old(observation.counters.map(|(_, age)| age)) || old(observation.list_age)
}
