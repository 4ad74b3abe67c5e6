//! Fleets: what launches, lists and ends the pool's instances.

#[cfg(feature = "aws")]
pub mod aws;
pub mod local;
pub mod memory;

use super::Result;
use bellows_core::control::{Intent, Spec};
use bellows_core::message::Epoch;
use bellows_core::pool::{AppTierId, Instance, InstanceId, Named};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The contract of a fleet.
pub(crate) trait Api {
    /// With what a launch of these ids is to be called now; launches nothing. `Full`: as far as is known there is no
    /// capacity anywhere.
    async fn plan(&self, ids: &[AppTierId], epoch: Epoch) -> Result<Spec>;

    /// Launches an instance for each id of the intent, as far as it can, and names those launched. One launch a token:
    /// the same call again launches nothing more. `Timeout`: it may have happened, call again unchanged; after any other
    /// error nothing was launched.
    async fn launch(&self, intent: &Intent) -> Result<Vec<Named>>;

    /// All instances, those that are ending and those that nobody here launched included. One that has ended is listed
    /// as terminated at least once.
    async fn list(&self) -> Result<Vec<Instance>>;

    /// Ends instances, whatever they are at; twice is no error, an unknown id is none.
    async fn terminate(&self, ids: &[InstanceId]) -> Result<()>;

    /// This process is about to end: instances that cannot live without it finish what they hold and end. Returns when
    /// they have, or after `limit`.
    async fn release(&self, limit: Duration);
}

/// A fleet of whichever kind. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Fleet {
    Local(local::Fleet),
    #[cfg(feature = "aws")]
    Aws(aws::Fleet),
    Memory(memory::Fleet),
}

macro_rules! dispatch {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        match $self {
            Fleet::Local(fleet) => Api::$call(fleet, $($argument),*).await,
            #[cfg(feature = "aws")]
            // large as futures of the SDK are: they are not for the stack of whoever calls
            Fleet::Aws(fleet) => Box::pin(Api::$call(fleet, $($argument),*)).await,
            Fleet::Memory(fleet) => {
                fleet.wire.carry(concat!("fleet.", stringify!($call)), Api::$call(fleet, $($argument),*)).await
            }
        }
    };
}

impl Fleet {
    /// With what a launch of these ids is to be called now; `Full`: as far as is known there is no capacity anywhere.
    pub async fn plan(&self, ids: &[AppTierId], epoch: Epoch) -> Result<Spec> {
        dispatch!(self.plan(ids, epoch))
    }

    /// Launches an instance for each id of the intent, as far as it can. `Timeout`: it may have happened.
    pub async fn launch(&self, intent: &Intent) -> Result<Vec<Named>> {
        dispatch!(self.launch(intent))
    }

    /// All instances, those that are ending and those that nobody here launched included.
    pub async fn list(&self) -> Result<Vec<Instance>> {
        dispatch!(self.list())
    }

    /// Ends instances, whatever they are at; twice is no error, an unknown id is none.
    pub async fn terminate(&self, ids: &[InstanceId]) -> Result<()> {
        dispatch!(self.terminate(ids))
    }

    /// Lets instances that cannot live without this process finish and end.
    pub async fn release(&self, limit: Duration) {
        match self {
            Fleet::Local(fleet) => Api::release(fleet, limit).await,
            #[cfg(feature = "aws")]
            Fleet::Aws(fleet) => Api::release(fleet, limit).await,
            Fleet::Memory(fleet) => Api::release(fleet, limit).await,
        }
    }

    /// Woken whenever an instance is seen to go, where the fleet can tell.
    pub fn changed(&self) -> Arc<Notify> {
        match self {
            Fleet::Local(fleet) => fleet.changed(),
            #[cfg(feature = "aws")]
            Fleet::Aws(fleet) => fleet.changed(),
            Fleet::Memory(fleet) => fleet.changed(),
        }
    }
}
