//! The place of the deadline policy. Until it is worked out it asks for what the backlog policy asks for.

use super::{Observation, Policy, backlog};

pub(super) fn need(demand: u64, observation: &Observation, policy: &Policy) -> u64 {
    backlog::need(demand, observation, policy)
}
