//! The queue: oldest first, and counters that lag behind just as those of the queue in memory do.

use bellows::sim::{BEGIN, Late};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

#[derive(Debug)]
pub struct Queue {
    /// Messages by their numbers, which grow with their age.
    visible: BTreeSet<u64>,
    in_flight: u64,
    late: Late,
    /// What the counters were of late, and since when (milliseconds).
    past: VecDeque<(u64, (u64, u64))>,
}

impl Queue {
    pub fn new(seed: u64, counters: Late) -> Queue {
        let late = Late { seed, ..counters };
        Queue { visible: BTreeSet::new(), in_flight: 0, late, past: VecDeque::new() }
    }

    pub fn send(&mut self, now: u64, message: u64) {
        self.visible.insert(message);
        self.note(now);
    }

    pub fn has_visible(&self) -> bool {
        !self.visible.is_empty()
    }

    pub fn take(&mut self, now: u64) -> Option<u64> {
        let message = self.visible.pop_first()?;
        self.in_flight += 1;
        self.note(now);
        Some(message)
    }

    /// One that is in flight is answered.
    pub fn delete(&mut self, now: u64) {
        self.in_flight -= 1;
        self.note(now);
    }

    /// One that was in flight is visible again.
    pub fn come_back(&mut self, now: u64, message: u64) {
        self.in_flight -= 1;
        self.send(now, message);
    }

    /// Visible and in flight, as a read at this moment has them.
    pub fn counters(&self, now: u64) -> (u64, u64) {
        let age = self.late.age(BEGIN.plus(Duration::from_millis(now)));
        let Some(seen) = now.checked_sub(age.as_millis() as u64) else { return (0, 0) };
        let later = self.past.partition_point(|(at, _)| *at <= seen);
        later.checked_sub(1).and_then(|place| self.past.get(place)).map_or((0, 0), |(_, counters)| *counters)
    }

    fn note(&mut self, now: u64) {
        let counters = (self.visible.len() as u64, self.in_flight);
        match self.past.back_mut() {
            Some((at, last)) if *at == now => *last = counters,
            _ => self.past.push_back((now, counters)),
        }
        // what nobody can see any more
        let oldest = now.saturating_sub(self.late.lag.max(self.late.old).as_millis() as u64);
        while self.past.get(1).is_some_and(|(at, _)| *at <= oldest) {
            self.past.pop_front();
        }
    }
}
