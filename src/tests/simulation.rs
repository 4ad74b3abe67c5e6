//! Deterministic fault simulation: thousands of seeded runs of the very role code (`src/sim/`). docs/TESTING.md says how
//! to run a campaign and how to read a failure.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and runs in real time"
)]

use bellows::sim::campaign::{Campaign, campaign as run_all, faults, shrink};
use bellows::sim::story::{Run, run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

/// Seeds that every run of the tests has, and how many fresh ones come on top.
const FIXED: u64 = 200;
const FRESH: u64 = 40;

/// A campaign of so many runs is a long one: each premise happens a thousand times at least.
const LONG: u64 = 100_000;

/// Seeds that failed once, and what it was: docs/CHANGELOG.md.
const FOUND: [u64; 13] = [648, 888, 3682, 3776, 4000, 830, 5116, 19_087, 23_137, 29_313, 44_903, 47_830, 69_437];

/// What must have happened for the invariants to mean something, and how often at least in the fixed seeds.
const PREMISES: &[(&str, u64)] = &[
    ("request delivered again", 50),
    ("request held by two", 1),
    ("request delivered after its answer", 20),
    ("dead letter answered", 4),
    ("lease to a dead poll", 1),
    ("lease to a poll that timed out", 20),
    ("crash between effect and reply", 5),
    ("web tier killed while clients wait", 4),
    ("asked to retire while busy", 10),
    ("launch that timed out but happened", 8),
    ("partial launch", 8),
    ("new leader with instances live", 8),
    ("two controllers", 5),
    ("came to rest", 50),
    ("work found an empty pool", 50),
    ("an id used again", 100),
    ("terminate request of an older epoch met by a worker", 4),
    ("terminate request taken back", 30),
    ("cancel while another one is held", 4),
    ("duplicate confirmation", 1),
    ("counters unread for 30 s with instances", 10),
    ("launch refused for capacity", 4),
    ("launched while another place was full", 20),
    ("work found one place full", 10),
    ("call that found its bucket empty", 10),
    ("confirmation that is forged", 10),
    ("control object of a newer program", 4),
    ("an instance that never was ready ended", 3),
    ("a worker that hangs ended", 3),
    ("paused", 4),
    ("machines without a controller ended", 2),
];

/// Seeds as `SEEDS` names them: a count (from 0), a range `from..to`, or one seed as `=seed`.
fn seeds() -> Vec<u64> {
    let Ok(given) = std::env::var("SEEDS") else {
        let fresh = uuid::Uuid::new_v4().as_u128() as u64 >> 16;
        println!("fresh seeds: {fresh}..{}", fresh + FRESH);
        return (0..FIXED).chain(FOUND).chain(fresh..fresh + FRESH).collect();
    };
    let number = |text: &str| {
        text.trim().parse::<u64>().unwrap_or_else(|e| panic!("SEEDS={text}: {e}; expected a count, or from..to"))
    };
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

/// Writes a run's log where people find it, and the end of it to the output.
fn show(run: &Run) {
    let log = run.log.join("\n");
    let path = std::env::temp_dir().join(format!("bellows-seed-{}.log", run.seed));
    std::fs::write(&path, log).unwrap();
    let last = run.log.len().saturating_sub(60);
    run.log[last..].iter().for_each(|line| println!("{line}"));
    println!("the whole log: {}", path.display());
}

/// What people need who look for the cause.
fn explain(failed: &Run) {
    let shrunk = shrink(failed);
    show(&shrunk);
    let (seed, all, left) = (failed.seed, failed.faults.len(), shrunk.faults.len());
    println!("with {left} of its {all} faults: {:#?}", shrunk.faults);
    println!("seed {seed}: {}", shrunk.violation.unwrap_or_else(|| "does not fail again".into()));
    println!("again: SEEDS={seed}..{} cargo test --release -- campaign --nocapture", seed + 1);
}

/// One seed with its log, as it is: nothing is left out.
fn replay(seed: u64) {
    let replayed = run(seed, &BTreeSet::new(), true);
    show(&replayed);
    if replayed.violation.is_some() {
        println!("seed {seed}: {}", replayed.violation.as_deref().unwrap_or_default());
        explain(&replayed);
        panic!("seed {seed} failed");
    }
}

#[test]
fn campaign() {
    let (seeds, began) = (seeds(), Instant::now());
    if let [seed] = seeds[..] {
        return replay(seed);
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = std::env::var_os("ALL").is_some();
    let campaign = run_all(&seeds, threads, all);
    print(&campaign);
    println!("{:.1} s on {threads} threads", began.elapsed().as_secs_f64());
    for run in campaign.failed.values() {
        println!("seed {}: {}", run.seed, run.violation.as_deref().unwrap_or_default());
    }
    if let Some(failed) = campaign.failed.values().next() {
        if !all && std::env::var_os("UNSHRUNK").is_none() {
            explain(failed);
        }
        panic!("seed {} failed", failed.seed);
    }
    let tally = campaign.tally.iter().map(|(what, times)| ((*what).to_owned(), *times)).collect();
    check(campaign.runs, &tally);
    if let Some(path) = std::env::var_os("TALLY") {
        let (runs, tally) = add_up(Path::new(&path), &seeds, tally);
        println!("{runs} runs in all, as {} says", Path::new(&path).display());
        check(runs, &tally);
    }
}

/// What was to happen did.
fn check(runs: u64, tally: &BTreeMap<String, u64>) {
    let happened = |what: &str, least: u64| {
        let times = tally.get(what).copied().unwrap_or_default();
        let least = if runs >= LONG { 1000 } else { least * runs / FIXED };
        assert!(times >= least, "in {runs} runs this happened {times} times only, not {least}: {what}");
    };
    for (what, least) in PREMISES {
        happened(what, *least);
    }
    for what in faults() {
        happened(what, 2);
    }
}

/// Adds a range of seeds to what others came to, in a file of their names and numbers: how many runs it is of then, and
/// how often everything happened. No range counts twice.
fn add_up(path: &Path, seeds: &[u64], mut tally: BTreeMap<String, u64>) -> (u64, BTreeMap<String, u64>) {
    let mut ranges = vec![(seeds[0], seeds[seeds.len() - 1])];
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let (number, what) = line.split_once('\t').unwrap();
        match what.split_once("..=") {
            Some((from, to)) => {
                let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
                let apart = |(other, others): &(u64, u64)| to < *other || *others < from;
                assert!(ranges.iter().all(apart), "seeds {from} to {to} are counted already");
                ranges.push((from, to));
            }
            None => *tally.entry(what.to_owned()).or_default() += number.parse::<u64>().unwrap(),
        }
    }
    let of_range = ranges.iter().map(|(from, to)| (to - from + 1, format!("{from}..={to}")));
    let lines = of_range.chain(tally.iter().map(|(what, times)| (*times, what.clone())));
    let text: String = lines.map(|(number, what)| format!("{number}\t{what}\n")).collect();
    std::fs::write(path, text).unwrap();
    (ranges.iter().map(|(from, to)| to - from + 1).sum(), tally)
}

/// Not drawn only: without it the same seed has another story.
#[test]
fn each_fault_occurs_and_is_felt() {
    let mut left: BTreeSet<&str> = faults().into_iter().collect();
    for seed in 0..FIXED {
        if left.is_empty() {
            return;
        }
        let all = run(seed, &BTreeSet::new(), true);
        let story = |run: &Run| run.log.iter().filter(|line| !line.contains(" fault: ")).cloned().collect::<Vec<_>>();
        left.retain(|fault| {
            let of_it = |name: &&String| ["of", "at"].iter().any(|word| name.starts_with(&format!("{fault} {word} ")));
            let dropped: BTreeSet<String> = all.faults.iter().filter(of_it).cloned().collect();
            dropped.is_empty() || story(&run(seed, &dropped, true)) == story(&all)
        });
    }
    assert_eq!(left, BTreeSet::new(), "in {FIXED} seeds these never change anything");
}

/// A child process says what these seeds come to.
const CHILD: &str = "BELLOWS_TEST_HASHES";

#[test]
fn the_same_seed_makes_the_same_bytes_here_and_in_another_process() {
    let hashes = || (0..12).map(|seed| run(seed, &BTreeSet::new(), false).hash).collect::<Vec<u64>>();
    if std::env::var_os(CHILD).is_some() {
        return println!("{:?}", hashes());
    }
    let first = hashes();
    assert_eq!(first, hashes());
    let name = "the_same_seed_makes_the_same_bytes_here_and_in_another_process";
    let mut other = std::process::Command::new(std::env::current_exe().unwrap());
    let other = other.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let told = String::from_utf8(other.stdout).unwrap();
    assert!(told.contains(&format!("{first:?}")), "{first:?}: {told}");
}
