//! How much there is to do.

use super::{Memory, Observation, Policy};
use std::time::Duration;

/// The counter of visible messages, since when it has not changed, and whether it is held to be stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visible {
    count: u64,
    since: Duration,
    pub stuck: bool,
}

/// Beyond the counter lag: so long nobody receives anything before a counter is held to be stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// And so long that is believed: what lies there all the same, delivered late, would wait for ever where nobody is left to
/// receive it and the counter is right.
const STUCK_FOR: Duration = Duration::from_mins(10);

/// Requests that wait or are worked on: what the counters say, in flight and delayed included, or what was sent within
/// the counter lag and is not answered, whichever is more.
///
/// A counter that lags behind still shows what has been answered since. Of what it shows so much may have been ours as
/// was open at once of late; the rest is somebody else's or from before our time. It counts, and what is open now does.
///
/// A counter may stay above zero with nothing there. Where every working slot has received nothing for the counter
/// lag and [`STUCK_AFTER`], and nothing of ours is unanswered, visible counts as zero until the counter changes, or
/// [`STUCK_FOR`] is over and somebody is to look again. It must have stood still for as long, too: a burst after a quiet
/// minute is no stuck counter.
pub(super) fn demand(observation: &Observation, policy: &Policy, memory: &mut Memory) -> u64 {
    let counters = observation.counters.map(|(counters, _)| counters).unwrap_or_default();
    let visible =
        memory.visible.take().filter(|visible| visible.count == counters.visible && observation.unanswered == 0);
    let patience = policy.counter_lag.saturating_add(STUCK_AFTER);
    let still = |visible: &Visible| observation.now.saturating_sub(visible.since);
    let visible = visible.filter(|visible| !visible.stuck || still(visible) < patience + STUCK_FOR);
    let mut visible = visible.unwrap_or(Visible { count: counters.visible, since: observation.now, stuck: false });
    let nobody_receives = observation.quiet.is_some_and(|quiet| quiet >= patience);
    visible.stuck |= visible.count > 0 && still(&visible) >= patience && nobody_receives;
    memory.visible = Some(visible);
    let counted = if visible.stuck { 0 } else { visible.count };
    let counted = counted.saturating_add(counters.in_flight).saturating_add(counters.delayed);
    let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let seen = policy.counter_lag.saturating_mul(5) / 4;
    let ours = memory.open.note(whole(observation.open), observation.now, seen);
    let others = counted.saturating_sub(ours.into());
    counted.min(observation.open.saturating_add(others)).max(observation.unanswered)
}
