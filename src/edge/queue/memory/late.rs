//! Counters that lag behind, as SQS's do.

use super::super::Depth;
use crate::edge::host::mix;
use bellows_core::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How far behind each read of a counter is: anything up to `lag`, and in a share of the reads just `old`. Drawn by the
/// moment of the read, so that whoever reads at the same moment sees the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Late {
    pub lag: Duration,
    /// 0.0..=1.0.
    pub share: f64,
    pub old: Duration,
    pub seed: u64,
}

impl Late {
    /// How far behind a read at this moment is.
    pub fn age(&self, now: Timestamp) -> Duration {
        let random = mix(self.seed ^ now.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let fraction = |bits: u64| bits as f64 / f64::from(u32::MAX);
        if fraction(random >> 32) < self.share {
            return self.old;
        }
        self.lag.mul_f64(fraction(random & u64::from(u32::MAX)))
    }
}

/// What the counters were of late.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<(Timestamp, Depth)>);

impl Past {
    /// What they are from this moment on. What nobody can see any more is forgotten.
    pub(super) fn note(&mut self, late: &Late, at: Timestamp, depth: Depth) {
        match self.0.back_mut() {
            Some((_, last)) if *last == depth => return,
            Some((moment, last)) if *moment >= at => *last = depth,
            _ => self.0.push_back((at, depth)),
        }
        let seen = at.minus(late.lag.max(late.old));
        while self.0.get(1).is_some_and(|(moment, _)| *moment <= seen) {
            self.0.pop_front();
        }
    }

    /// What they were then; a queue begins empty.
    pub(super) fn at(&self, moment: Timestamp) -> Depth {
        let later = self.0.partition_point(|(at, _)| *at <= moment);
        later.checked_sub(1).and_then(|place| self.0.get(place)).map(|(_, depth)| *depth).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_as_late_as_they_are_told_to_be() {
        let (second, seed) = (Duration::from_secs(1), 7);
        let late = Late { lag: second * 10, share: 0.02, old: second * 60, seed };
        let ages: Vec<Duration> = (0..10_000).map(|n| late.age(Timestamp(n * 5000))).collect();
        let old = ages.iter().filter(|age| **age == second * 60).count();
        assert!((150..250).contains(&old), "{old} of 10,000");
        let rest: Vec<f64> = ages.iter().filter(|age| **age <= second * 10).map(Duration::as_secs_f64).collect();
        assert_eq!(rest.len() + old, ages.len());
        let mean = rest.iter().sum::<f64>() / rest.len() as f64;
        assert!((4.8..5.2).contains(&mean), "{mean}");
        assert_eq!(late.age(Timestamp(5)), late.age(Timestamp(5)));
        assert_eq!(Late::default().age(Timestamp(5)), Duration::ZERO);
    }

    #[test]
    fn the_past_is_remembered_as_far_as_it_can_be_seen() {
        let late = Late { lag: Duration::from_secs(2), ..Late::default() };
        let (mut past, depth) = (Past::default(), |visible| Depth { visible, ..Depth::default() });
        for second in 1..=10 {
            past.note(&late, Timestamp(second * 1000), depth(second));
        }
        assert_eq!((past.at(Timestamp(8000)).visible, past.at(Timestamp(9999)).visible), (8, 9));
        assert_eq!(past.0.len(), 3);
        assert_eq!(Past::default().at(Timestamp(1)), Depth::default());
    }
}
