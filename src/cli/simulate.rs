//! `bellows simulate`: what a policy would cost and how long people would wait, before anything is paid for.

use super::check_config::print;
use super::remote;
use crate::client;
use crate::config::{Auto, Backend, Config, ConfigArgs, ConfigError, Loaded, Origin, Policy};
use crate::exit::Exit;
use crate::sim::{self, Chance, Figures, Kind, Outcome, Plan, SHAPES, Settings, Trace};
use crate::wiring;
use bellows_core::estimate::Priors;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, builder::TypedValueParser};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// An instance's price is looked up here.
const PRICES: &str = include_str!("../../terraform/prices.json");
/// What terraform/ launches where nobody says otherwise.
const INSTANCE_TYPE: &str = "c7i.large";
/// Machines of a world like AWS: from the end of their work to their end, and how late lists show a new one.
const ENDING: Duration = Duration::from_secs(2);
const LISTS_AFTER: Duration = Duration::from_secs(5);
/// Some reads of SQS's counters are as old as that.
const OLD_READ: Duration = Duration::from_mins(1);

/// Try policies on a trace of requests, through the very code of the daemon, in virtual time; exit 1 where a request is
/// lost, an instance interrupted at its work, or the pool does not come back to its minimum.
///
/// The pool is configured as the daemon is. Where the configuration does not say `backend`, the pool is one on AWS; where
/// it does not say pool.service_prior or pool.boot_prior, the controller begins with what it would have measured before.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("what").multiple(true))]
pub struct Simulate {
    /// A table with the columns start_seconds,width_seconds,requests (gzip, too), or a shape [default: burst-150]:
    /// burst-110, burst-150, batches, diurnal, flash-crowd, square-wave, poisson, bursty
    #[arg(long, group = "what", value_name = "FILE|SHAPE")]
    trace: Vec<String>,
    /// An access log (Common Log Format; gzip, too), counted by seconds
    #[arg(long, group = "what", value_name = "FILE")]
    from_log: Vec<PathBuf>,
    /// Policies to compare, separated by commas [default: the configured one]
    #[arg(long, value_name = "POLICY,…", value_delimiter = ',', value_parser = policy_parser())]
    policy: Vec<Policy>,
    /// How many runs of each, each with chances of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Most instances [default: pool.max_instances]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max: Option<u32>,
    /// Mean time an instance works on one request
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = remote::span)]
    service: Duration,
    /// Its standard deviation over its mean
    #[arg(long, value_name = "RATIO", default_value_t = 0.3, value_parser = ratio)]
    service_cv: f64,
    /// The part of a boot that is not billed: from launch to running
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = remote::span)]
    boot_unbilled: Duration,
    /// The part of a boot that is billed: from running to ready, on average
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = remote::span)]
    boot: Duration,
    /// Standard deviation over mean of the billed part
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = ratio)]
    boot_cv: f64,
    /// How late the queue's counters are at most; on AWS one read in fifty is a minute late [default: 10s; 0 on local]
    #[arg(long, value_name = "TIME", value_parser = remote::span)]
    counter_lag: Option<Duration>,
    /// Print one JSON object: each run with the lives of its instances
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print a line for each run
    #[arg(long)]
    csv: bool,
    /// Draw the first run into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Runs at the same time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Simulate {
    /// The configuration of the daemon, with what the flags say.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        Config::load(&super::sources(&self.config))
    }
}

fn policy_parser() -> impl TypedValueParser<Value = Policy> {
    let all = [Policy::PerRequest, Policy::Backlog, Policy::Deadline];
    PossibleValuesParser::new(all.map(Policy::as_str))
        .map(move |name| all.into_iter().find(|policy| policy.as_str() == name).unwrap_or(Policy::Deadline))
}

fn ratio(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|ratio| (0.0..=10.0).contains(ratio));
    parsed.ok_or_else(|| "expected a number from 0 to 10".into())
}

pub fn run(args: &Simulate) -> Exit {
    let loaded = match args.load() {
        Ok(loaded) => loaded,
        Err(e) => {
            eprintln!("{e}");
            return Exit::Configuration;
        }
    };
    let traces = match traces(args) {
        Ok(traces) => traces,
        Err(why) => {
            eprintln!("bellows: {why}");
            return Exit::Usage;
        }
    };
    match simulate(args, &loaded, &traces) {
        Ok(runs) => tell(args, &runs),
        Err(why) => {
            eprintln!("bellows: {why}");
            Exit::Unavailable
        }
    }
}

fn traces(args: &Simulate) -> Result<Vec<Trace>, String> {
    let mut traces = Vec::new();
    for name in &args.trace {
        traces.push(match Trace::shape(name) {
            Some(trace) => trace,
            None if Path::new(name).exists() => Trace::read(Path::new(name))?,
            None => {
                let shapes: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
                return Err(format!("--trace {name}: no such file, and no shape; expected {}", shapes.join(", ")));
            }
        });
    }
    for path in &args.from_log {
        let (trace, skipped) = Trace::read_log(path)?;
        if skipped > 0 {
            eprintln!("bellows: {}: {skipped} lines without a time are left out", path.display());
        }
        traces.push(trace);
    }
    if traces.is_empty() {
        traces.extend(Trace::shape("burst-150"));
    }
    Ok(traces)
}

/// What is run: for each policy and trace (by its place among them) each seed, the configured policy first.
pub fn plans(args: &Simulate, loaded: &Loaded, traces: &[Trace]) -> Vec<(Plan, usize)> {
    let mut config = loaded.config.clone();
    if loaded.origin("backend") == Origin::Default {
        config.backend = Backend::Aws;
    }
    if let Some(max) = args.max {
        config.pool.max_instances = Auto::Set(max);
    }
    let configured = config.policy();
    let mut policies = if args.policy.is_empty() { vec![configured] } else { args.policy.clone() };
    policies.sort_by_key(|policy| *policy != configured);
    let mut plans = Vec::new();
    for trace in 0..traces.len() {
        for policy in &policies {
            config.pool.policy = Auto::Set(*policy);
            let plan = |seed| Plan {
                policy: policy.as_str().to_owned(),
                settings: settings(args, &config, seed),
                chance: chance(args, loaded, &config),
                deadline: *config.pool.latency_target,
            };
            plans.extend((1..=args.seeds).map(|seed| (plan(seed), trace)));
        }
    }
    plans
}

/// The pool as the daemon would be told, in the world that the flags say.
fn settings(args: &Simulate, config: &Config, seed: u64) -> Settings {
    let (pool, aws) = (wiring::pool(config), !config.is_local());
    Settings {
        kind: if aws { Kind::Machines } else { Kind::Processes },
        policy: pool.policy,
        seed,
        boot: args.boot_unbilled + args.boot,
        ending: if aws { ENDING } else { Duration::ZERO },
        lists_after: if aws { LISTS_AFTER } else { Duration::ZERO },
        service: args.service,
        pause: *config.app.pause,
        visibility: *config.queue.visibility,
        job_deadline: pool.job_deadline,
        report_every: pool.report_every,
        tick: pool.tick,
        dry_run: pool.dry_run,
        retention: pool.retention,
    }
}

fn chance(args: &Simulate, loaded: &Loaded, config: &Config) -> Chance {
    let believed = |key: &str, configured, measured| {
        if loaded.origin(key) == Origin::Default { measured } else { configured }
    };
    let (service, boot) = (args.service + *config.app.pause, args.boot_unbilled + args.boot);
    let counters = if config.is_local() {
        sim::Late { lag: args.counter_lag.unwrap_or_default(), ..sim::Late::default() }
    } else {
        let lag = args.counter_lag.unwrap_or(Duration::from_secs(10));
        sim::Late { lag, share: 0.02, old: OLD_READ.max(lag), seed: 0 }
    };
    Chance {
        counters,
        service_cv: args.service_cv,
        boot_unbilled: Some(args.boot_unbilled),
        boot_cv: args.boot_cv,
        least_bill: if config.is_local() { Duration::ZERO } else { Duration::from_mins(1) },
        refused: None,
        priors: Some(Priors {
            service: believed("pool.service_prior", *config.pool.service_prior, service),
            boot: believed("pool.boot_prior", config.boot_prior(), boot),
        }),
    }
}

/// Runs all plans, several at a time, in an order that does not show in the result.
fn simulate(args: &Simulate, loaded: &Loaded, traces: &[Trace]) -> Result<Vec<(Outcome, Figures)>, String> {
    let plans = plans(args, loaded, traces);
    let bar = client::progress(Some(plans.iter().map(|(_, trace)| traces[*trace].requests()).sum()));
    let usd = price(loaded)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((plan, trace)) = plans.get(next.load(Ordering::Relaxed)).and_then(|_| {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            plans.get(nth).map(|(plan, trace)| ((nth, plan), &traces[*trace]))
        }) {
            let (nth, plan) = plan;
            let outcome = sim::run(plan, trace, &|requests| bar.inc(requests));
            done.lock().unwrap_or_else(PoisonError::into_inner).push((nth, outcome));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.map_or(cores, usize::from).min(plans.len()) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(nth, _)| *nth);
    let outcomes = done.into_iter().map(|(_, outcome)| outcome.map_err(|e| e.to_string()));
    let service = args.service + *loaded.config.app.pause;
    outcomes.map(|outcome| outcome.map(|outcome| with_figures(outcome, usd, service))).collect()
}

fn with_figures(outcome: Outcome, usd: f64, service: Duration) -> (Outcome, Figures) {
    let figures = Figures::of(&outcome, usd, service.as_secs_f64());
    (outcome, figures)
}

/// Dollars for an hour of an instance of the first configured type.
fn price(loaded: &Loaded) -> Result<f64, String> {
    let kind = loaded.config.aws.instance_types.first().map_or(INSTANCE_TYPE, |kind| kind);
    let prices: serde_json::Value = serde_json::from_str(PRICES).map_err(|e| format!("terraform/prices.json: {e}"))?;
    // one that is not listed costs an unknown sum, and the rest is worth knowing all the same
    Ok(prices["usd"]["instance_hour"][kind].as_f64().unwrap_or(f64::NAN))
}

fn tell(args: &Simulate, runs: &[(Outcome, Figures)]) -> Exit {
    let figures: Vec<Figures> = runs.iter().map(|(_, figures)| figures.clone()).collect();
    if let (Some(path), Some((outcome, figures))) = (&args.svg, runs.first())
        && let Err(e) = std::fs::write(path, sim::svg(outcome, figures.p99_seconds))
    {
        eprintln!("bellows: {}: {e}", path.display());
        return Exit::Unavailable;
    }
    let text = if args.json {
        sim::json(runs).to_string() + "\n"
    } else if args.csv {
        match sim::csv(&figures) {
            Ok(text) => text,
            Err(e) => {
                eprintln!("bellows: {e}");
                return Exit::Unavailable;
            }
        }
    } else {
        sim::table(&figures)
    };
    match print(&text) {
        Exit::Success if figures.iter().all(Figures::kept_promises) => Exit::Success,
        Exit::Success => Exit::Failure,
        other => other,
    }
}
