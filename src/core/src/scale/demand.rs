//! How much there is to do.

use super::{Memory, Observation, Policy};
use std::time::Duration;

/// Beyond the counter lag: so long nobody receives anything before a counter is held to be stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Requests that wait or are worked on: what the counters say, in flight and delayed included, or what was sent within
/// the counter lag and is not answered, whichever is more.
///
/// A counter may stay above zero with nothing there. Where every working slot has received nothing for the counter
/// lag and [`STUCK_AFTER`], and nothing of ours is unanswered, visible counts as zero until the counter changes.
pub(super) fn demand(observation: &Observation, policy: &Policy, memory: &mut Memory) -> u64 {
    let counters = observation.counters.map(|(counters, _)| counters).unwrap_or_default();
    let patience = policy.counter_lag.saturating_add(STUCK_AFTER);
    let nothing_comes = observation.quiet.is_some_and(|quiet| quiet >= patience) && observation.unanswered == 0;
    memory.stuck = match memory.stuck {
        _ if nothing_comes && counters.visible > 0 => Some(counters.visible),
        Some(stuck) if stuck == counters.visible && observation.unanswered == 0 => Some(stuck),
        _ => None,
    };
    let visible = if memory.is_stuck() { 0 } else { counters.visible };
    let counted = visible.saturating_add(counters.in_flight).saturating_add(counters.delayed);
    counted.max(observation.unanswered)
}
