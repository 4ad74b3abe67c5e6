//! The pool: app-tier ids, instances and the states they may be in.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// 1..=max. Belongs to one live instance; returns to the pool when that instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppTierId(pub u32);

/// Names one instance for ever (EC2's id; `<app-tier id>-<uuid>` on one machine): never used again, unlike a pid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

/// What a fleet says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Asked for, not up yet. Counts against the maximum.
    Pending,
    Running,
    /// Ending: still there, takes no more work. Counts against the maximum.
    ShuttingDown,
    Terminated,
}

/// One instance as the fleet lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
    pub state: State,
    pub launched_at: Timestamp,
}

/// The lowest `count` ids of `1..=max` that no live instance has.
pub fn free_ids(listed: &[Instance], max: u32, count: usize) -> Vec<AppTierId> {
    let used: BTreeSet<AppTierId> =
        listed.iter().filter(|i| i.state != State::Terminated).map(|i| i.app_tier_id).collect();
    (1..=max).map(AppTierId).filter(|id| !used.contains(id)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: u32, state: State) -> Instance {
        Instance {
            app_tier_id: AppTierId(id),
            instance_id: InstanceId(format!("i-{id}")),
            state,
            launched_at: Timestamp(0),
        }
    }

    #[test]
    fn an_id_is_free_only_when_its_instance_is_gone() {
        let pool = [instance(1, State::ShuttingDown), instance(2, State::Terminated), instance(3, State::Pending)];
        assert_eq!(free_ids(&pool, 4, 9), [AppTierId(2), AppTierId(4)]);
        assert_eq!(free_ids(&pool, 4, 1), [AppTierId(2)]);
        assert!(free_ids(&pool, 1, 9).is_empty());
    }
}
