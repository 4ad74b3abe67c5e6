//! Deterministic fault simulation: thousands of seeded runs of the very role code (`src/sim/`). docs/TESTING.md says how
//! to run a campaign and how to read a failure.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and runs in real time"
)]

use bellows::sim::Run;
use bellows::sim::campaign::{Campaign, campaign as run_all, shrink};
use bellows::sim::run;
use std::collections::BTreeSet;
use std::time::Instant;

/// Seeds that every run of the tests has, and how many fresh ones come on top.
const FIXED: u64 = 200;
const FRESH: u64 = 40;

/// Seeds as `SEEDS` names them: a count (from 0), a range `from..to`, or one seed as `=seed`.
fn seeds() -> Vec<u64> {
    let Ok(given) = std::env::var("SEEDS") else {
        let fresh = uuid::Uuid::new_v4().as_u128() as u64 >> 16;
        println!("fresh seeds: {fresh}..{}", fresh + FRESH);
        return (0..FIXED).chain(fresh..fresh + FRESH).collect();
    };
    let number = |text: &str| text.trim().parse::<u64>().expect("SEEDS: a count, or from..to");
    match given.split_once("..") {
        Some((from, to)) => (number(from)..number(to)).collect(),
        None => (0..number(&given)).collect(),
    }
}

fn print(campaign: &Campaign) {
    for (what, times) in &campaign.tally {
        println!("{times:>10}  {what}");
    }
    let Campaign { runs, faults, virtual_seconds, hash, .. } = campaign;
    println!("{runs} runs, {faults} faults, {} virtual hours, hash {hash:016x}", virtual_seconds / 3600);
}

/// What people need who look for the cause.
fn explain(failed: &Run) -> String {
    let shrunk = shrink(failed);
    let log = shrunk.log.join("\n");
    let path = std::env::temp_dir().join(format!("bellows-seed-{}.log", failed.seed));
    let _ = std::fs::write(&path, &log);
    let last: Vec<&String> = shrunk.log.iter().rev().take(60).collect();
    let last: String = last.into_iter().rev().map(|line| format!("{line}\n")).collect();
    format!(
        "{last}seed {}: {}\nwith {} of its {} faults: {:#?}\nthe whole log: {}\nagain: SEEDS={}..{} cargo test --release -- campaign --nocapture",
        failed.seed,
        shrunk.violation.as_deref().unwrap_or("does not fail again: not deterministic"),
        shrunk.faults.len(),
        failed.faults.len(),
        shrunk.faults,
        path.display(),
        failed.seed,
        failed.seed + 1,
    )
}

#[test]
fn campaign() {
    let (seeds, began) = (seeds(), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = std::env::var_os("ALL").is_some();
    let campaign = run_all(&seeds, threads, all);
    print(&campaign);
    println!("{:.1} s on {threads} threads", began.elapsed().as_secs_f64());
    for run in campaign.failed.values() {
        println!("seed {}: {}", run.seed, run.violation.as_deref().unwrap_or_default());
    }
    if let Some(failed) = campaign.failed.values().next() {
        if !all {
            eprintln!("{}", explain(failed));
        }
        panic!("seed {} failed", failed.seed);
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    for seed in 0..10 {
        let (first, second) = (run(seed, &BTreeSet::new(), true), run(seed, &BTreeSet::new(), true));
        for (one, other) in first.log.iter().zip(&second.log) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first.hash, second.hash, "seed {seed}");
    }
}
