//! The pool: app-tier ids, instances and the states they may be in.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

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

/// Growing pauses between launches that fail, so that a broken launch does no harm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

/// The pause after the first failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Backoff {
    /// Counts a failure: how long not to try.
    pub fn failed(&mut self) -> Duration {
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
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

    #[test]
    fn pauses_grow_to_a_bound_and_a_success_forgets_them() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..10).map(|_| backoff.failed().as_millis() as u64).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(), FIRST_PAUSE);
    }
}
