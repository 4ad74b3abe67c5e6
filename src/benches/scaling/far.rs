//! How far the role code goes: thousands of instances, and traces of any length.

use super::jobs::{World, ours, plans};
use super::traces;
use bellows::sim::{self, Figures, Plan, Trace};
use std::io::IsTerminal;
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
pub struct Scale {
    /// Requests a second
    #[arg(long, default_value_t = 2500)]
    rate: u64,
    #[arg(long, default_value_t = 5000)]
    max: u32,
    /// Mean time an instance works on one request; nine tenths of the instances are busy with the default
    #[arg(long, default_value = "1800ms")]
    service: String,
    /// Simulated seconds of requests
    #[arg(long, default_value_t = 3600)]
    seconds: u32,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Length {
    /// A recorded trace or a built-in shape
    #[arg(long, default_value = "nasa-7d")]
    trace: String,
    /// So many of its first days, each in a process of its own
    #[arg(long, value_name = "DAYS,…", value_delimiter = ',', default_values_t = [1.0, 3.0, 7.0])]
    days: Vec<f64>,
    #[arg(long, hide = true)]
    alone: bool,
}

/// One run of the default policy: what it took and what came of it.
pub fn scale(wanted: &Scale) -> bool {
    let (max, trace) = (wanted.max.to_string(), traces::steady(wanted.rate, wanted.seconds));
    let world = World::new("scale", &["--max", &max, "--service", &wanted.service]);
    println!("{}, {} s of it, at most {} instances, {} each", trace.name, wanted.seconds, wanted.max, wanted.service);
    measure(&plans(&world, &ours("deadline", &["--policy", "deadline"]), &trace, 1)[0], &trace)
}

fn measure(plan: &Plan, trace: &Trace) -> bool {
    let (began, came) = (Instant::now(), std::cell::Cell::new(0));
    let told = std::cell::Cell::new(Instant::now());
    let progress = |requests| {
        came.set(came.get() + requests);
        if told.get().elapsed() > Duration::from_secs(if std::io::stderr().is_terminal() { 1 } else { 30 }) {
            told.set(Instant::now());
            eprintln!("{} of {} requests after {:.0} s", came.get(), trace.requests(), began.elapsed().as_secs_f64());
        }
    };
    let outcome = sim::run(plan, trace, &progress).unwrap();
    let figures = Figures::of(&outcome, f64::NAN, plan.settings.service.as_secs_f64());
    println!(
        "{} requests over {:.1} simulated hours: wall {:.1} s, processor {:.1} s, peak memory {} MB",
        outcome.requests,
        outcome.span.as_secs_f64() / 3600.0,
        began.elapsed().as_secs_f64(),
        processor(),
        peak_megabytes()
    );
    println!(
        "{:.1} instance-hours, p50 {:.2} s, p99 {:.2} s, {} launches, at most {} instances, {} lost, {} interrupted, \
         at rest: {}",
        figures.instance_hours,
        figures.p50_seconds,
        figures.p99_seconds,
        figures.launches,
        figures.most_instances,
        figures.lost,
        figures.interrupted,
        figures.back_to_minimum
    );
    figures.kept_promises()
}

/// The trace's first days, each length in a process of its own, so that each has a peak of its own.
pub fn length(wanted: &Length) -> bool {
    let Some(trace) = traces::named(&wanted.trace) else { return true };
    if wanted.alone {
        let trace = traces::days(&trace, wanted.days[0]);
        let world = World::new("length", &[]);
        return measure(&plans(&world, &ours("deadline", &["--policy", "deadline"]), &trace, 1)[0], &trace);
    }
    wanted.days.iter().fold(true, |good, days| {
        println!("{}, {days} days", wanted.trace);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["length", "--alone", "--trace", &wanted.trace, "--days", &days.to_string()]);
        command.status().unwrap().success() && good
    })
}

/// User and system seconds of this process.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
