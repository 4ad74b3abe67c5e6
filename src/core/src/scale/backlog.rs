//! Acceptable latency over measured service time (AWS's "scaling based on SQS"): as many instances as clear what waits
//! within the latency target, and at least as many as carry what arrives.
//!
//! Without the second half a pool under steady load shrinks to where it no longer keeps up, lets a backlog grow and
//! rises again, for ever. It asks only while something waits, so that it never outlives the work.

use super::{Observation, Policy};
use crate::estimate::RECENT;
use std::time::Duration;

/// A load this far beyond what whole instances carry (in twentieths of one) is left to the backlog to show.
const SLACK_TWENTIETHS: u128 = 1;

pub(super) fn need(demand: u64, observation: &Observation, policy: &Policy) -> u64 {
    if demand == 0 {
        return 0;
    }
    let slots = u128::from(observation.slots.max(1));
    let service = micros(observation.service);
    let target = micros(policy.latency_target);
    let drain = u128::from(demand).saturating_mul(service).div_ceil(target.saturating_mul(slots));
    // one arrival is no rate
    let arrived = if observation.arrivals.recent < 2 { 0 } else { observation.arrivals.recent };
    let capacity = micros(RECENT) * slots;
    let carry = (u128::from(arrived).saturating_mul(service).saturating_mul(20))
        .saturating_sub(SLACK_TWENTIETHS * capacity)
        .div_ceil(capacity * 20);
    // never more instances than requests to give them
    let most = demand.div_ceil(u64::from(observation.slots.max(1)));
    u64::try_from(drain.max(carry)).unwrap_or(u64::MAX).clamp(1, most.max(1))
}

/// Whole microseconds, never none: a service time or a target of zero divides nothing by zero.
fn micros(span: Duration) -> u128 {
    span.as_micros().max(1)
}
