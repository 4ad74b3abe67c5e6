//! Many seeds, one run each, on all cores; their tallies add up.

use super::chaos::{Fault, Tally, What, draw};
use super::story::{Run, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The names of all faults, as tallies have them.
pub fn faults() -> Vec<&'static str> {
    Fault::DEFAULT.iter().map(|(fault, _)| fault.name()).chain(What::ALL.map(What::name)).collect()
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    pub runs: u64,
    pub tally: Tally,
    pub faults: u64,
    pub virtual_seconds: u64,
    /// Over all runs, in whichever order they ran.
    pub hash: u64,
    /// Runs that failed, by seed.
    pub failed: BTreeMap<u64, Run>,
}

/// Runs these seeds on so many threads, until one fails; `all`: or to the end all the same.
pub fn campaign(seeds: &[u64], threads: usize, all: bool) -> Campaign {
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut mine = Campaign::default();
        while (all || !failed.load(Ordering::Relaxed))
            && let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
        {
            mine.add(guarded(*seed));
            failed.fetch_or(!mine.failed.is_empty(), Ordering::Relaxed);
        }
        mine
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).fold(Campaign::default(), Campaign::and)
    })
}

/// A run that panics has failed.
fn guarded(seed: u64) -> Run {
    std::panic::catch_unwind(|| run(seed, &BTreeSet::new(), false)).unwrap_or_else(|_| Run {
        seed,
        violation: Some("a panic, see above".into()),
        ..Run::default()
    })
}

impl Campaign {
    fn add(&mut self, run: Run) {
        self.runs += 1;
        self.faults += run.faults.len() as u64;
        self.virtual_seconds += run.took.as_secs();
        self.hash = self.hash.wrapping_add(draw(run.hash, 0, "", run.seed));
        for (what, times) in &run.tally {
            *self.tally.entry(what).or_default() += times;
        }
        if run.violation.is_some() {
            self.failed.insert(run.seed, run);
        }
    }

    fn and(mut self, other: Campaign) -> Campaign {
        self.runs += other.runs;
        self.faults += other.faults;
        self.virtual_seconds += other.virtual_seconds;
        self.hash = self.hash.wrapping_add(other.hash);
        for (what, times) in other.tally {
            *self.tally.entry(what).or_default() += times;
        }
        self.failed.extend(other.failed);
        self
    }
}

/// What a violation is about: `invariant 3`.
fn kind(violation: &str) -> &str {
    violation.split_once(':').map_or(violation, |(kind, _)| kind)
}

/// The same failure with as few faults as are found to be needed: halves are left out, then quarters, then single ones.
pub fn shrink(failed: &Run) -> Run {
    let mut dropped = BTreeSet::new();
    let mut best = failed.clone();
    let mut size = best.faults.len().div_ceil(2);
    while size > 0 && !best.faults.is_empty() {
        let mut at = 0;
        while at < best.faults.len() {
            let some = best.faults.iter().skip(at).take(size).cloned();
            let tried: BTreeSet<String> = dropped.iter().cloned().chain(some).collect();
            let again = run(failed.seed, &tried, false);
            if again.violation.as_deref().map(kind) == failed.violation.as_deref().map(kind) {
                (dropped, best) = (tried, again);
            } else {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    run(failed.seed, &dropped, true)
}
