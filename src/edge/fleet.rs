//! Fleets: what launches, lists and ends the pool's instances.

pub mod local;

use super::Result;
use bellows_core::pool::{AppTierId, Instance, InstanceId};
use std::sync::Arc;
use tokio::sync::Notify;

/// The contract of a fleet.
pub(crate) trait Api {
    /// Launches an instance for each id, as far as it can: the answer names those that were launched.
    async fn launch(&self, ids: &[AppTierId]) -> Result<Vec<Instance>>;

    /// All instances, those that are ending and those that nobody here launched included.
    async fn list(&self) -> Result<Vec<Instance>>;

    /// Ends instances; twice is no error, an unknown id is none.
    async fn terminate(&self, ids: &[InstanceId]) -> Result<()>;
}

/// A fleet of whichever kind. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Fleet {
    Local(local::Fleet),
}

impl Fleet {
    /// Launches an instance for each id, as far as it can: the answer names those that were launched.
    pub async fn launch(&self, ids: &[AppTierId]) -> Result<Vec<Instance>> {
        let Fleet::Local(fleet) = self;
        Api::launch(fleet, ids).await
    }

    /// All instances, those that are ending and those that nobody here launched included.
    pub async fn list(&self) -> Result<Vec<Instance>> {
        let Fleet::Local(fleet) = self;
        Api::list(fleet).await
    }

    /// Ends instances; twice is no error, an unknown id is none.
    pub async fn terminate(&self, ids: &[InstanceId]) -> Result<()> {
        let Fleet::Local(fleet) = self;
        Api::terminate(fleet, ids).await
    }

    /// Woken whenever an instance is seen to come or go, where the fleet can tell.
    pub fn changed(&self) -> Arc<Notify> {
        let Fleet::Local(fleet) = self;
        fleet.changed()
    }
}
