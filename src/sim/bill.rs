//! What instances would cost: when each was launched, ran, and was gone.

use super::chance::Chance;
use bellows_core::pool::{InstanceId, Named, State};
use bellows_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One instance's life so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lived {
    pub named: Named,
    pub launched: Timestamp,
    pub running: Option<Timestamp>,
    pub terminated: Option<Timestamp>,
}

impl Lived {
    /// For how long it is paid by `now`: from running until terminated, and at least so long where it ran at all.
    pub fn billed(&self, chance: &Chance, now: Timestamp) -> Duration {
        let Some(running) = self.running else { return Duration::ZERO };
        self.terminated.unwrap_or(now).since(running).max(chance.least_bill)
    }
}

/// All instances that ever were, in the order of their launches. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bill(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lives: Vec<Lived>,
    /// Those that live, and where they stand.
    live: BTreeMap<InstanceId, usize>,
}

impl Bill {
    /// An instance was launched: the how many-th, from 0.
    pub(super) fn launched(&self, named: &Named, now: Timestamp) -> u64 {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = book.lives.len();
        book.lives.push(Lived { named: named.clone(), launched: now, running: None, terminated: None });
        book.live.insert(named.instance_id.clone(), place);
        place as u64
    }

    /// It is in this state now; what it has been before counts.
    pub(super) fn became(&self, id: &InstanceId, state: State, now: Timestamp) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = book.live.get(id).copied() else { return };
        let life = &mut book.lives[place];
        match state {
            State::Running => life.running = life.running.or(Some(now)),
            State::Terminated => {
                life.terminated = Some(now);
                book.live.remove(id);
            }
            _ => {}
        }
    }

    /// Every instance's life.
    pub fn lives(&self) -> Vec<Lived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lives.clone()
    }
}
