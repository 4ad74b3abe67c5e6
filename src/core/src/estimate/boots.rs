//! How long an instance takes from its launch to ready.

use super::{Estimates, near, sensible};
use std::collections::VecDeque;
use std::time::Duration;

/// So many boots are remembered: a change of machine or model is learned within as many.
const REMEMBERED: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Boots {
    prior: f64,
    /// Seconds, newest last.
    seen: VecDeque<f64>,
    count: u64,
}

impl Boots {
    /// What the leader before had measured counts as five boots of such a distribution.
    pub fn new(prior: Duration, before: &Estimates) -> Boots {
        let mut seen = VecDeque::new();
        if before.boots > 0 && before.boot_p50_ms > 0 {
            let half = sensible(Duration::from_millis(before.boot_p50_ms));
            let most = sensible(Duration::from_millis(before.boot_p90_ms)).max(half);
            seen.extend([half, half, half, half, most]);
        }
        let count = if seen.is_empty() { 0 } else { before.boots };
        Boots { prior: sensible(prior), seen, count }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn booted(&mut self, boot: Duration) {
        let last = self.quantile(50).as_secs_f64();
        // instances do not boot in no time: that is a clock, not a boot
        if boot.is_zero() {
            return;
        }
        self.seen.push_back(near(boot.as_secs_f64(), last));
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        self.count = self.count.saturating_add(1);
    }

    /// So many percent of all boots take no longer; the prior where none was seen.
    pub fn quantile(&self, percent: usize) -> Duration {
        let mut sorted: Vec<f64> = self.seen.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        Duration::from_secs_f64(sorted.get(rank - 1).copied().unwrap_or(self.prior))
    }
}
