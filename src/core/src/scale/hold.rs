//! Scale in only to the largest need of the last while: without it every rule thrashes. And the bounds.

use super::deadline::History;
use super::demand::Visible;
use super::peaks::Peaks;
use super::{Clamp, Hold, Need, Observation, Policy, Rule, STALE_AFTER};
use std::time::Duration;

/// What decisions remember of one another. Small, whatever happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    needs: Peaks,
    begun: bool,
    pub(super) visible: Option<Visible>,
    /// What was open of late.
    pub(super) open: Peaks,
    /// What the deadline rule remembers.
    pub(super) history: History,
}

impl Memory {
    /// Whether the counter of visible messages is held to be stuck.
    pub fn is_stuck(&self) -> bool {
        self.visible.is_some_and(|visible| visible.stuck)
    }
}

/// How many instances there shall be, and what made it differ from the need.
pub(super) struct Held {
    pub wanted: u32,
    pub clamp: Option<Clamp>,
}

/// Bounds the need and holds what was needed of late. Holding keeps instances; it never launches one.
pub(super) fn wanted(
    need: &Need,
    active: i64,
    observation: &Observation,
    policy: &Policy,
    memory: &mut Memory,
) -> Held {
    let min = policy.min.min(policy.max);
    let bound = |instances: u64| u32::try_from(instances).unwrap_or(u32::MAX).clamp(min, policy.max);
    let bounded = bound(need.now);
    let mut clamp = None;
    if need.now > u64::from(policy.max) {
        clamp = Some(Clamp::Max);
    } else if need.now < u64::from(min) {
        clamp = Some(Clamp::Min);
    }
    let there = u32::try_from(active.clamp(0, i64::from(policy.max))).unwrap_or(0);
    if !memory.begun {
        // a new leader knows nothing of what was needed before: it begins by holding what it finds
        memory.begun = true;
        memory.needs.note(there.max(bounded), observation.now, Duration::MAX);
    }
    let span = match (policy.rule, policy.hold) {
        // it holds by itself, by what it knows of boots and bursts
        (Rule::Deadline, Hold::Boots(_)) => Duration::ZERO,
        _ => policy.hold.span(observation.boot),
    };
    let keep = memory.needs.note(bounded, observation.now, span).max(bound(need.keep));
    let held = bounded.max(there.min(keep));
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
