//! Who counts: instances that somebody pays for, or may come to pay for, and the ids they have.

use super::{AppTierId, InstanceId};
use std::collections::{BTreeMap, BTreeSet};

/// The pool as it counts against the maximum. Made by [`super::Roster::live`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Ids of launches whose outcome is not known, without an instance so far.
    pub intended: u32,
    /// Instances launched and not ready yet.
    pub booting: u32,
    pub ready: u32,
    /// Instances that have confirmed that they stopped.
    pub retiring: u32,
    /// Instances on their way out, orphans included.
    pub terminating: u32,
    /// Whether the fleet has been listed at all: before that the pool is not known, and nothing is launched.
    pub known: bool,
    pub(super) used: BTreeSet<AppTierId>,
    /// App-tier ids that more than one live instance has: never to happen.
    pub conflicts: BTreeMap<AppTierId, Vec<InstanceId>>,
}

impl Live {
    /// Everything that counts against the maximum.
    pub fn total(&self) -> u32 {
        self.serving().saturating_add(self.retiring).saturating_add(self.terminating)
    }

    /// What works, or will when it is up: the original's "launched".
    pub fn serving(&self) -> u32 {
        self.intended.saturating_add(self.booting).saturating_add(self.ready)
    }

    /// Ids of `1..=max` that no live instance has and no launch may still give away, lowest first.
    pub fn free(&self, max: u32) -> Vec<AppTierId> {
        (1..=max).map(AppTierId).filter(|id| !self.used.contains(id)).collect()
    }
}

#[cfg(test)]
impl Live {
    /// Takes the ids 1..=count.
    pub(crate) fn take(&mut self, count: u32) {
        self.used.extend((1..=count).map(AppTierId));
    }
}
