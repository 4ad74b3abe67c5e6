//! Ours beside every reference, a plan that knows the future, and the bound.

use super::jobs::{self, Cell, Middle, Who, World, at_once, ours};
use super::scaling::bound::{self, Grid, Promise};
use super::scaling::lean;
use super::scaling::plan::{self, Clairvoyant};
use super::traces;
use bellows::sim::{self, Figures, Plan, Trace};
use std::time::Duration;

/// The values of the one knob beside its default.
const TARGETS: [&str; 4] = ["5s", "10s", "30s", "60s"];
/// The plan's reckoning is hopeful: it is given deadlines so much shorter, and the cheapest course that keeps ours counts.
const SHORTER: [f64; 4] = [0.0, 2.0, 4.0, 6.0];

#[derive(Clone, Debug, clap::Args)]
pub struct Table {
    /// Recorded traces or built-in shapes
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_values_t = traces::RECORDED.map(String::from))]
    pub trace: Vec<String>,
    /// Rows whose name begins with one of these [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub policy: Vec<String>,
    #[arg(long, default_value_t = 5)]
    pub seeds: u64,
    /// What plan and bound are held to [default: the p99 of `deadline`, if it is run]
    #[arg(long, value_name = "SECONDS")]
    pub p99: Option<f64>,
    /// Runs at the same time
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table { trace: traces::RECORDED.map(String::from).into(), policy: Vec::new(), seeds: 5, p99: None, jobs: 2 }
    }
}

pub const DEFAULT: &str = "deadline";
const PLAN: &str = "clairvoyant plan";
const BOUND: &str = "lower bound";

fn rows(wanted: &Table) -> Vec<Who> {
    let mut rows = vec![ours(DEFAULT, &["--policy", "deadline"])];
    let knob = |target: &&str| {
        let set = format!("pool.latency_target={target}");
        ours(&format!("deadline, target {target}"), &["--policy", "deadline", "--set", &set])
    };
    rows.extend(TARGETS.iter().map(knob));
    rows.extend(["backlog", "per-request"].map(|policy| ours(policy, &["--policy", policy])));
    rows.extend(jobs::references());
    rows.retain(|who| wanted.wants(who.name()));
    rows
}

impl Table {
    fn wants(&self, name: &str) -> bool {
        self.policy.is_empty() || self.policy.iter().any(|start| name.starts_with(start.as_str()))
    }
}

/// Prints the tables; whether all is well.
pub fn run(wanted: &Table) -> bool {
    let (world, rows, mut faults) = (World::new("as assumed", &[]), rows(wanted), Vec::new());
    for trace in wanted.trace.iter().filter_map(|name| traces::named(name)) {
        let mut cells = jobs::cells(wanted.jobs, &world, &trace, &rows, wanted.seeds);
        let frontier = |cell: &Cell| cell.who.starts_with(DEFAULT);
        faults.extend(dominated(&trace.name, &cells, frontier));
        for (who, cell) in rows.iter().zip(&cells) {
            if matches!(who, Who::Ours { .. }) && !cell.kept_promises() {
                faults.push(format!("{}: {} lost, interrupted, or did not come to rest", trace.name, cell.who));
            }
        }
        let ours = cells.iter().find(|cell| cell.who == DEFAULT).map(|cell| cell.p99.median);
        if let Some(p99) = wanted.p99.or(ours) {
            let plans = jobs::plans(&world, &jobs::ours(DEFAULT, &[]), &trace, wanted.seeds);
            cells.extend(wanted.wants(PLAN).then(|| foreseen(wanted.jobs, &plans, &trace, p99)).flatten());
            if wanted.wants(BOUND) {
                let hours = Middle::of(at_once(wanted.jobs, &plans, |plan| least(plan, &trace, p99)));
                println!("\n{}: {BOUND} at p99 {p99:.2} s: {:.2} instance-hours", trace.name, hours.median);
            }
        }
        print(&trace.name, wanted.seeds, &cells);
    }
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() && wanted.wants(DEFAULT) {
        println!("\nNo reference lies below ours on both axes; ours lost and interrupted nothing and came to rest.");
    }
    faults.is_empty()
}

/// Which of ours lies above which reference on both axes.
pub fn dominated(place: &str, cells: &[Cell], is_ours: impl Fn(&Cell) -> bool) -> Vec<String> {
    let references: Vec<&str> =
        jobs::references().iter().map(|who| if let Who::Peer(name) = who { *name } else { "" }).collect();
    let mut faults = Vec::new();
    for own in cells.iter().filter(|cell| is_ours(cell)) {
        for other in cells.iter().filter(|cell| references.contains(&cell.who.as_str()) && cell.dominates(own)) {
            faults.push(format!(
                "{place}: {} ({:.2} h @ {:.2} s) lies above {} ({:.2} h @ {:.2} s)",
                own.who, own.hours.median, own.p99.median, other.who, other.hours.median, other.p99.median
            ));
        }
    }
    faults
}

/// When each request of a run comes and how long it takes, in seconds: what plan and bound are told.
fn requests(plan: &Plan, trace: &Trace) -> Vec<(f64, f64)> {
    let seed = plan.settings.seed;
    let later = sim::later(seed);
    let service = |nth| plan.chance.service(plan.settings.service, seed, nth).as_secs_f64();
    (1..).zip(trace.arrivals(seed)).map(|(nth, at)| ((later + at).as_secs_f64(), service(nth))).collect()
}

fn grid(plan: &Plan) -> Grid {
    let slot_seconds = plan.settings.service.as_secs_f64();
    Grid { slot_seconds, units: 1 }
}

fn bounded(plan: &Plan) -> bound::World {
    let (unbilled, billed) = plan.chance.boot(plan.settings.boot, plan.settings.seed, 0);
    debug_assert_eq!(unbilled + billed, plan.settings.boot);
    bound::World {
        max: plan.settings.policy.max,
        boot_billed_seconds: billed.as_secs_f64(),
        minimum_bill_seconds: plan.chance.least_bill.as_secs_f64(),
    }
}

/// Instance-hours that any policy pays which answers all but a hundredth within `p99` seconds.
fn least(plan: &Plan, trace: &Trace, p99: f64) -> f64 {
    let promise = Promise { deadline_seconds: p99, late_share: 0.01 };
    let seconds = bound::instance_seconds(&requests(plan, trace), bounded(plan), promise, grid(plan));
    eprintln!("{} / {BOUND} / seed {}: {seconds:?}", trace.name, plan.settings.seed);
    seconds.unwrap_or(f64::NAN) / 3600.0
}

/// The plan that costs least of those that keep `p99`; or that comes closest to it.
fn foreseen(threads: usize, plans: &[Plan], trace: &Trace, p99: f64) -> Option<Cell> {
    let work: Vec<(f64, &Plan)> =
        SHORTER.iter().flat_map(|shorter| plans.iter().map(move |plan| (p99 - shorter, plan))).collect();
    let runs = at_once(threads, &work, |(deadline, plan)| foresee(plan, trace, *deadline));
    let cells = work.iter().zip(&runs).collect::<Vec<_>>();
    let courses = SHORTER.iter().filter_map(|shorter| {
        let of = |((deadline, _), run): &(&(f64, &Plan), &Option<(Figures, f64)>)| {
            (deadline.to_bits() == (p99 - shorter).to_bits()).then(|| (*run).clone())
        };
        let runs: Option<Vec<_>> = cells.iter().filter_map(of).collect();
        runs.filter(|runs| !runs.is_empty()).map(|runs| Cell::of(PLAN, &runs))
    });
    let rank = |cell: &Cell| {
        let late = (cell.p99.median - p99).max(0.0);
        (late, cell.hours.median)
    };
    courses.min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal))
}

fn foresee(plan: &Plan, trace: &Trace, deadline: f64) -> Option<(Figures, f64)> {
    let (grid, settings) = (grid(plan), &plan.settings);
    if deadline < grid.slot_seconds {
        return None;
    }
    let requests = requests(plan, trace);
    let early = requests.iter().take_while(|(at, _)| *at < settings.boot.as_secs_f64()).count();
    if early * 100 > requests.len() {
        return None; // a run begins too late to launch a boot ahead of these
    }
    let seats = plan::seats(&requests, bounded(plan), deadline, grid)?;
    let boot = settings.boot.as_secs();
    let mut policy = Clairvoyant::new(&seats, grid.slot_seconds as u64, boot, settings.policy.max);
    let outcome = lean::run(plan, trace, PLAN, &mut policy);
    let figures = Figures::of(&outcome, f64::NAN, settings.service.as_secs_f64());
    eprintln!(
        "{} / {PLAN} / seed {} within {deadline:.1} s: {:.2} h @ {:.2} s",
        trace.name, settings.seed, figures.instance_hours, figures.p99_seconds
    );
    Some((figures, outcome.span.as_secs_f64() / Duration::from_hours(1).as_secs_f64()))
}

pub fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => "never".into(),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

pub fn middle(middle: Middle) -> String {
    format!("{} ({})", number(middle.median), number(middle.spread))
}

fn print(trace: &str, seeds: u64, cells: &[Cell]) {
    println!("\n{trace}, medians of {seeds} seeds (and the largest less the smallest)\n");
    println!("| | instance-hours | p50 s | p99 s | launches | interrupted | lost | most |");
    println!("|---|---|---|---|---|---|---|---|");
    for cell in cells {
        let Cell { who, interrupted, lost, most, .. } = cell;
        let figures = [cell.hours, cell.p50, cell.p99].map(middle).join(" | ");
        let launches = format!("{:.0} ({:.0})", cell.launches.median, cell.launches.spread);
        println!("| {who} | {figures} | {launches} | {interrupted} | {lost} | {most} |");
    }
}
