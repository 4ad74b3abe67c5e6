//! The original's rule: a slot for each request. Kept for fidelity; the measured service time is worth far more.

use super::Observation;

pub(super) fn need(demand: u64, observation: &Observation) -> u64 {
    demand.div_ceil(u64::from(observation.slots.max(1)))
}
