//! The pool: app-tier ids, instances, and what the controller knows of them.

mod backoff;
mod live;
mod member;
mod roster;
pub mod tag;
#[cfg(test)]
mod tests;

pub use backoff::{Backoff, Place, Refusals};
pub use live::Live;
pub use member::{Cause, Deadlines, Ended, Heard, Life, Member, Stopped};
pub use roster::{Roster, UNLISTED_GRACE};

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// 1..=max. Belongs to one live instance; returns to the pool when that instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppTierId(pub u32);

/// Names one instance for ever (EC2's id; `<app-tier id>-<uuid>` on one machine): never used again, unlike a pid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

/// Names one launch, so that repeating it launches nothing twice (EC2's client token). Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaunchToken(pub Uuid);

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
    /// The launch it came from, where the fleet knows.
    pub token: Option<LaunchToken>,
}

/// One instance as the answer to a launch names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
}

impl From<&Instance> for Named {
    fn from(instance: &Instance) -> Named {
        Named { app_tier_id: instance.app_tier_id, instance_id: instance.instance_id.clone() }
    }
}
