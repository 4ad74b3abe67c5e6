//! Runs, several at a time, and their medians.

use super::scaling::world::planned;
use super::scaling::{lean, peers};
use bellows::sim::{self, Figures, Plan, Trace};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A world: flags of `bellows simulate`, and what no flag says.
#[derive(Clone)]
pub struct World {
    pub name: String,
    pub flags: Vec<String>,
    pub change: fn(&mut Plan, &Trace),
}

impl World {
    pub fn new(name: &str, flags: &[&str]) -> World {
        World { name: name.into(), flags: flags.iter().map(|&flag| flag.into()).collect(), change: |_, _| {} }
    }
}

/// One row: ours with further flags, or a reference.
#[derive(Clone)]
pub enum Who {
    Ours { name: String, flags: Vec<String> },
    Peer(&'static str),
}

impl Who {
    pub fn name(&self) -> &str {
        match self {
            Who::Ours { name, .. } => name,
            Who::Peer(name) => name,
        }
    }
}

pub fn ours(name: &str, flags: &[&str]) -> Who {
    Who::Ours { name: name.into(), flags: flags.iter().map(|&flag| flag.into()).collect() }
}

/// Every reference.
pub fn references() -> Vec<Who> {
    peers::rows(1, 0, 1.0).into_iter().map(|row| Who::Peer(row.name)).collect()
}

/// Of one policy on one trace in one world: the medians over the seeds, and how far the runs lie apart.
#[derive(Clone, Debug)]
pub struct Cell {
    pub who: String,
    pub hours: Middle,
    pub p50: Middle,
    pub p99: Middle,
    pub launches: Middle,
    pub interrupted: u64,
    pub lost: u64,
    /// The largest pool of all runs, and whether each came back to its minimum.
    pub most: u32,
    pub rested: bool,
    /// Launches an hour for each instance of the largest pool, in runs of an hour at least.
    pub churn: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Middle {
    pub median: f64,
    pub spread: f64,
}

impl Middle {
    pub fn of(mut values: Vec<f64>) -> Middle {
        values.sort_by(f64::total_cmp);
        Middle { median: values[(values.len() - 1) / 2], spread: values[values.len() - 1] - values[0] }
    }
}

impl Cell {
    pub fn of(who: &str, runs: &[(Figures, f64)]) -> Cell {
        let middle = |value: fn(&Figures) -> f64| Middle::of(runs.iter().map(|(figures, _)| value(figures)).collect());
        let launches = middle(|figures| figures.launches as f64);
        let most = runs.iter().map(|(figures, _)| figures.most_instances).max().unwrap_or(0);
        let span = Middle::of(runs.iter().map(|(_, hours)| *hours).collect()).median;
        Cell {
            who: who.into(),
            hours: middle(|figures| figures.instance_hours),
            p50: middle(|figures| figures.p50_seconds),
            p99: middle(|figures| figures.p99_seconds),
            launches,
            interrupted: runs.iter().map(|(figures, _)| figures.interrupted).sum(),
            lost: runs.iter().map(|(figures, _)| figures.lost).sum(),
            most,
            rested: runs.iter().all(|(figures, _)| figures.back_to_minimum),
            churn: launches.median / span.max(1.0) / f64::from(most.max(1)),
        }
    }

    /// Below on both axes.
    pub fn dominates(&self, other: &Cell) -> bool {
        self.hours.median < other.hours.median && self.p99.median < other.p99.median
    }

    pub fn kept_promises(&self) -> bool {
        self.lost == 0 && self.interrupted == 0 && self.rested
    }
}

/// Does all of these, several at a time, and returns what came of them in their order.
pub fn at_once<T: Sync, R: Send>(threads: usize, work: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, work.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = work.get(nth) else { break };
                    let result = each(item);
                    done.lock().unwrap().push((nth, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Each policy on one trace in one world.
pub fn cells(threads: usize, world: &World, trace: &Trace, rows: &[Who], seeds: u64) -> Vec<Cell> {
    let work: Vec<(usize, Who, Plan)> = rows
        .iter()
        .enumerate()
        .flat_map(|(nth, who)| plans(world, who, trace, seeds).into_iter().map(move |plan| (nth, who.clone(), plan)))
        .collect();
    let runs = at_once(threads, &work, |(_, who, plan)| one(&world.name, who, plan, trace));
    let of = |nth: usize| -> Vec<(Figures, f64)> {
        work.iter().zip(&runs).filter(|((of, ..), _)| *of == nth).map(|(_, run)| run.clone()).collect()
    };
    rows.iter().enumerate().map(|(nth, who)| Cell::of(who.name(), &of(nth))).collect()
}

/// A plan for each seed; a reference runs in the world of our default.
pub fn plans(world: &World, who: &Who, trace: &Trace, seeds: u64) -> Vec<Plan> {
    let mut flags = world.flags.clone();
    if let Who::Ours { flags: further, .. } = who {
        flags.extend(further.iter().cloned());
    }
    flags.extend(["--seeds".into(), seeds.to_string()]);
    let mut plans = planned(&flags, trace).unwrap();
    for plan in &mut plans {
        (world.change)(plan, trace);
    }
    plans
}

fn one(world: &str, who: &Who, plan: &Plan, trace: &Trace) -> (Figures, f64) {
    let began = Instant::now();
    let outcome = match who {
        Who::Ours { .. } => sim::run(plan, trace, &|_| {}).unwrap(),
        Who::Peer(name) => {
            let service = plan.settings.service.as_secs_f64();
            // nobody knows when a burst comes: a fixed pool is there for an hour at least
            let end = (sim::later(plan.settings.seed) + trace.span()).max(Duration::from_hours(1));
            let rows = peers::rows(plan.settings.policy.max, end.as_secs() + 1, service);
            let mut policy = rows.into_iter().find(|row| row.name == *name).unwrap().policy;
            lean::run(plan, trace, name, policy.as_mut())
        }
    };
    let figures = Figures::of(&outcome, f64::NAN, plan.settings.service.as_secs_f64());
    eprintln!(
        "{world} / {} / {} / seed {}: {:.2} h @ {:.2} s, {} launches ({:.0} s)",
        trace.name,
        who.name(),
        figures.seed,
        figures.instance_hours,
        figures.p99_seconds,
        figures.launches,
        began.elapsed().as_secs_f64()
    );
    (figures, outcome.span.as_secs_f64() / 3600.0)
}
