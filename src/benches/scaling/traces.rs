//! Traces by name, and what is made of them.

use bellows::sim::{Bin, Trace};
use std::path::{Path, PathBuf};

/// What docs/SCALING.md compares on.
pub const RECORDED: [&str; 4] = ["burst-150", "azure-llm-code", "worldcup98-4d", "nasa-7d"];

const DAY: f64 = 86_400.0;

/// A built-in shape or a recorded trace; none, with a word about it, where it is not there.
pub fn named(name: &str) -> Option<Trace> {
    let folder = std::env::var_os("BELLOWS_DEBUG_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let file = folder.join("traces").join(format!("{name}.csv.gz"));
    let trace = Trace::shape(name).or_else(|| file.exists().then(|| Trace::read(&file).unwrap()));
    if trace.is_none() {
        println!("{name} is left out: {} is not there (BELLOWS_DEBUG_SHARED names another folder)", file.display());
    }
    trace
}

/// The bins that begin within these seconds, as a trace of its own.
pub fn cut(trace: &Trace, from: f64, until: f64) -> Trace {
    let within = trace.bins.iter().filter(|bin| (from..until).contains(&bin.start));
    let bins = within.map(|bin| Bin { start: bin.start - from, ..*bin }).collect();
    Trace { name: trace.name.clone(), bins }
}

/// The first days.
pub fn days(trace: &Trace, days: f64) -> Trace {
    cut(trace, 0.0, days * DAY)
}

/// So many times the requests; what is less than one is owed to the next bin.
pub fn times(trace: &Trace, factor: f64) -> Trace {
    let mut owed = 0.0;
    let bin = |bin: &Bin| {
        owed += bin.requests as f64 * factor;
        let requests = owed as u64;
        owed -= requests as f64;
        Bin { requests, ..*bin }
    };
    Trace { name: trace.name.clone(), bins: trace.bins.iter().map(bin).collect() }
}

/// The same requests in the same minutes, in bursts of 1 to 19 at random moments of their minute.
pub fn in_bursts(trace: &Trace) -> Trace {
    let mut minutes = std::collections::BTreeMap::<u64, u64>::new();
    for bin in &trace.bins {
        *minutes.entry((bin.start / 60.0) as u64).or_default() += bin.requests;
    }
    let (mut random, mut bins) = (Random(13), Vec::new());
    for (minute, mut left) in minutes {
        while left > 0 {
            let requests = (1 + random.below(19)).min(left);
            left -= requests;
            bins.push(Bin { start: minute as f64 * 60.0 + random.below(60_000) as f64 / 1000.0, width: 0.0, requests });
        }
    }
    bins.sort_by(|a, b| a.start.total_cmp(&b.start));
    Trace { name: trace.name.clone(), bins }
}

/// When the ten minutes with the most requests begin, in seconds.
pub fn busiest(trace: &Trace) -> f64 {
    let mut tens = std::collections::BTreeMap::<u64, u64>::new();
    trace.bins.iter().for_each(|bin| *tens.entry((bin.start / 600.0) as u64).or_default() += bin.requests);
    tens.into_iter().max_by_key(|(_, requests)| *requests).map_or(0.0, |(ten, _)| ten as f64 * 600.0)
}

/// A steady rate, in bins of a second.
pub fn steady(rate: u64, seconds: u32) -> Trace {
    let bins = (0..seconds).map(|second| Bin { start: f64::from(second), width: 1.0, requests: rate });
    Trace { name: format!("{rate} a second"), bins: bins.collect() }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % end
    }
}
