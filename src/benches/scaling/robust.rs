//! Worlds that are not as assumed: ours against every reference in each.

use super::jobs::{self, Cell, World, ours};
use super::table::{DEFAULT, dominated, number};
use super::traces;
use bellows::sim::{Late, Plan, Trace};
use std::time::Duration;

/// More launches an hour for each instance of the largest pool are a thrash: each would live for six minutes.
const THRASH: f64 = 10.0;
const OUTAGE: Duration = Duration::from_mins(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Robust {
    /// Recorded traces or built-in shapes; of those that last for days the first
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values_t = traces::RECORDED.map(String::from))]
    trace: Vec<String>,
    /// Worlds whose name begins with one of these [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    world: Vec<String>,
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Days of a trace
    #[arg(long, default_value_t = 1.0)]
    days: f64,
    /// Runs at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// A world, and what it makes of a trace.
struct Case {
    world: World,
    trace: fn(&Trace) -> Trace,
}

fn cases() -> Vec<Case> {
    let as_is: fn(&Trace) -> Trace = Clone::clone;
    let case = |name, flags: &[&str]| Case { world: World::new(name, flags), trace: as_is };
    let changed = |name, change| Case { world: World { change, ..World::new(name, &[]) }, trace: as_is };
    vec![
        case("as assumed", &[]),
        case("service 0.01 s", &["--service", "10ms"]),
        case("service 0.5 s", &["--service", "500ms"]),
        case("service 8 s", &["--service", "8s"]),
        case("service 8 s, max 80", &["--service", "8s", "--max", "80"]),
        case("boot 10 s", &["--boot-unbilled", "4s", "--boot", "6s"]),
        case("boot 180 s", &["--boot-unbilled", "15s", "--boot", "165s"]),
        Case { trace: |trace| traces::times(trace, 0.25), ..case("max 5, a quarter of the requests", &["--max", "5"]) },
        Case {
            trace: |trace| traces::times(&busy_hours(trace), 25.0),
            ..case("max 500, 25 times the requests", &["--max", "500"])
        },
        changed("counters 60 s late", |plan: &mut Plan, _: &Trace| {
            let old = Duration::from_mins(1);
            plan.chance.counters = Late { lag: old, share: 1.0, old, seed: 0 };
        }),
        changed("no capacity for 10 min", |plan, trace| {
            let from = Duration::from_secs_f64(traces::busiest(trace));
            plan.chance.refused = Some((from, from + OUTAGE));
        }),
        Case { trace: traces::in_bursts, ..case("in bursts", &[]) },
    ]
}

/// What lasts for a day and is multiplied is cut to two hours about its busiest ten minutes.
fn busy_hours(trace: &Trace) -> Trace {
    if trace.span() < Duration::from_hours(6) {
        return trace.clone();
    }
    let middle = traces::busiest(trace);
    traces::cut(trace, (middle - 3600.0).max(0.0), middle + 3600.0)
}

/// Prints the table; whether all is well.
pub fn run(wanted: &Robust) -> bool {
    let rows: Vec<_> = [ours(DEFAULT, &["--policy", "deadline"])].into_iter().chain(jobs::references()).collect();
    let chosen = |case: &Case| {
        wanted.world.is_empty() || wanted.world.iter().any(|start| case.world.name.starts_with(start.as_str()))
    };
    println!(
        "| | deadline: h @ p99 s | launches (an hour and instance) | least h at most as slow | fastest at most as dear |"
    );
    println!("|---|---|---|---|---|");
    let mut faults = Vec::new();
    for case in cases().into_iter().filter(chosen) {
        for trace in wanted.trace.iter().filter_map(|name| traces::named(name)) {
            let trace = (case.trace)(&traces::days(&trace, wanted.days));
            let cells = jobs::cells(wanted.jobs, &case.world, &trace, &rows, wanted.seeds);
            let place = format!("{}, {}", case.world.name, trace.name);
            print(&place, &cells);
            faults.extend(judge(&place, &cells));
        }
    }
    println!();
    for fault in &faults {
        println!("- {fault}");
    }
    if faults.is_empty() {
        println!("No thrash, no collapse, nothing lost or interrupted, and no reference below ours on both axes.");
    }
    faults.is_empty()
}

fn print(place: &str, cells: &[Cell]) {
    let (own, others) = (&cells[0], &cells[1..]);
    let short = |cell: &Cell| format!("{} @ {}", number(cell.hours.median), number(cell.p99.median));
    let told = |cell: Option<&Cell>| cell.map_or("none".into(), |cell| format!("{} {}", cell.who, short(cell)));
    let as_fast = others.iter().filter(|cell| cell.p99.median <= own.p99.median);
    let as_cheap = others.iter().filter(|cell| cell.hours.median <= own.hours.median);
    println!(
        "| {place} | {} | {:.0} ({:.1}) | {} | {} |",
        short(own),
        own.launches.median,
        own.churn,
        told(as_fast.min_by(|a, b| a.hours.median.total_cmp(&b.hours.median))),
        told(as_cheap.min_by(|a, b| a.p99.median.total_cmp(&b.p99.median)))
    );
}

/// What is wrong with ours, the first of the cells.
fn judge(place: &str, cells: &[Cell]) -> Vec<String> {
    let (own, others) = (&cells[0], &cells[1..]);
    let mut faults = dominated(place, cells, |cell| cell.who == DEFAULT);
    if !own.kept_promises() {
        faults.push(format!("{place}: {} lost, {} interrupted, rested: {}", own.lost, own.interrupted, own.rested));
    }
    if own.churn > THRASH {
        faults.push(format!("{place}: thrash, {:.1} launches an hour for each instance", own.churn));
    }
    if others.iter().all(|other| other.p99.median < own.p99.median) {
        faults.push(format!("{place}: collapse, slower than every reference ({:.1} s)", own.p99.median));
    }
    faults
}
