//! What came of runs: a table for people, CSV and JSON for programs.

use super::run::Outcome;
use bellows_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub policy: String,
    pub trace: String,
    pub seed: u64,
    pub requests: u64,
    pub lost: u64,
    pub interrupted: u64,
    pub most_instances: u32,
    pub back_to_minimum: bool,
    pub instance_hours: f64,
    pub cost_usd: f64,
    pub launches: u64,
    pub p50_seconds: f64,
    pub p95_seconds: f64,
    pub p99_seconds: f64,
    pub max_seconds: f64,
    pub misses: u64,
    pub oldest_seconds: f64,
    /// Provisioning accuracy and time share, under and over what the arrivals need (SPEC RG's elasticity metrics), in
    /// percent.
    pub theta_under: f64,
    pub theta_over: f64,
    pub tau_under: f64,
    pub tau_over: f64,
    pub decisions_an_hour: f64,
}

impl Figures {
    /// `usd`: an instance's price for an hour. `service`: seconds that a request takes.
    pub fn of(outcome: &Outcome, usd: f64, service: f64) -> Figures {
        // whoever never got an answer waited for ever
        let answered = outcome.latencies.len();
        let quantile = |q: f64| {
            let rank = libm::ceil(q * (answered + outcome.lost) as f64) as u64;
            let seconds = outcome.latencies.value_at_quantile(rank as f64 / answered.max(1) as f64) as f64 / 1000.0;
            if rank > answered { f64::INFINITY } else { seconds }
        };
        let [theta_under, theta_over, tau_under, tau_over] = elasticity(outcome, service);
        let hours = outcome.span.as_secs_f64() / 3600.0;
        Figures {
            policy: outcome.policy.clone(),
            trace: outcome.trace.clone(),
            seed: outcome.seed,
            requests: outcome.requests,
            lost: outcome.lost,
            interrupted: outcome.interrupted,
            most_instances: outcome.most,
            back_to_minimum: outcome.rested,
            instance_hours: outcome.instance_hours,
            cost_usd: outcome.instance_hours * usd,
            launches: outcome.lives.len() as u64,
            p50_seconds: quantile(0.5),
            p95_seconds: quantile(0.95),
            p99_seconds: quantile(0.99),
            max_seconds: quantile(1.0),
            misses: outcome.misses,
            oldest_seconds: outcome.looks.iter().map(|look| look.oldest).fold(0.0, f64::max),
            theta_under,
            theta_over,
            tau_under,
            tau_over,
            decisions_an_hour: outcome.decisions as f64 / hours.max(f64::MIN_POSITIVE),
        }
    }

    /// Nothing lost, nobody interrupted, and in the end all quiet.
    pub fn kept_promises(&self) -> bool {
        self.lost == 0 && self.interrupted == 0 && self.back_to_minimum
    }

    /// Columns of numbers that are compared.
    fn numbers(&self) -> [f64; 16] {
        [
            self.instance_hours,
            self.cost_usd,
            self.launches as f64,
            self.p50_seconds,
            self.p95_seconds,
            self.p99_seconds,
            self.max_seconds,
            self.misses as f64,
            self.oldest_seconds,
            self.theta_under,
            self.theta_over,
            self.tau_under,
            self.tau_over,
            self.decisions_an_hour,
            self.interrupted as f64,
            self.lost as f64,
        ]
    }
}

/// Between two looks: what the arrivals need against what is ready.
fn elasticity(outcome: &Outcome, service: f64) -> [f64; 4] {
    let (mut sums, mut last) = ([0.0; 4], 0.0);
    for look in &outcome.looks {
        let span = look.at - last;
        last = look.at;
        let needed = libm::ceil(look.arrived as f64 * service / span);
        let (under, over) = (needed - f64::from(look.ready), f64::from(look.ready) - needed);
        let parts = [under.max(0.0) / needed.max(1.0), over.max(0.0) / needed.max(1.0)];
        let times = [f64::from(u8::from(under > 0.0)), f64::from(u8::from(over > 0.0))];
        sums.iter_mut().zip(parts.into_iter().chain(times)).for_each(|(sum, part)| *sum += part * span);
    }
    sums.map(|sum| if last > 0.0 { 100.0 * sum / last } else { 0.0 })
}

const COLUMNS: [(&str, usize); 16] = [
    ("inst-h", 1),
    ("USD", 2),
    ("launches", 0),
    ("p50 s", 2),
    ("p95 s", 2),
    ("p99 s", 2),
    ("max s", 1),
    ("misses", 0),
    ("oldest s", 1),
    ("θU %", 1),
    ("θO %", 1),
    ("τU %", 1),
    ("τO %", 1),
    ("changes/h", 1),
    ("interr.", 0),
    ("lost", 0),
];

/// A line for each policy and trace: medians over the seeds, and below the first six columns their spread.
pub fn table(figures: &[Figures]) -> String {
    let mut lines =
        vec![["trace", "policy"].map(String::from).into_iter().chain(COLUMNS.map(|c| c.0.into())).collect()];
    for group in groups(figures) {
        let column = |n: usize| -> Vec<f64> {
            let mut values: Vec<f64> = group.iter().map(|figures| figures.numbers()[n]).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let first = [group[0].trace.clone(), group[0].policy.clone()];
        let medians = COLUMNS.iter().enumerate().map(|(n, (_, digits))| {
            let values = column(n);
            number(values[(values.len() - 1) / 2], *digits)
        });
        lines.push(first.into_iter().chain(medians).collect::<Vec<String>>());
        if group.len() > 1 {
            let spread = COLUMNS.iter().enumerate().map(|(n, (_, digits))| {
                let values = column(n);
                if n >= 6 { String::new() } else { number(values[values.len() - 1] - values[0], *digits) }
            });
            lines.push([String::new(), "  spread".into()].into_iter().chain(spread).collect());
        }
    }
    align(&lines) + &promises(figures)
}

/// Runs of one policy on one trace, in the order in which they were run.
fn groups(figures: &[Figures]) -> Vec<Vec<&Figures>> {
    let mut groups: Vec<Vec<&Figures>> = Vec::new();
    for figures in figures {
        let same =
            |group: &&mut Vec<&Figures>| (&group[0].policy, &group[0].trace) == (&figures.policy, &figures.trace);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(figures),
            None => groups.push(vec![figures]),
        }
    }
    groups
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "never".into() }
}

fn align(lines: &[Vec<String>]) -> String {
    let width = |n: usize| lines.iter().map(|line| line[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in lines {
        for (n, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if n < 2 { write!(text, "{cell:<width$}  ") } else { write!(text, "{cell:>width$}  ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// What must hold in every run, or which did not keep it.
fn promises(figures: &[Figures]) -> String {
    let broken: Vec<String> = figures
        .iter()
        .filter(|run| !run.kept_promises())
        .map(|run| format!("{} on {}, seed {}", run.policy, run.trace, run.seed))
        .collect();
    if broken.is_empty() {
        format!("{} runs: nothing lost, nothing interrupted, each back to its minimum\n", figures.len())
    } else {
        format!("lost, interrupted or not back to its minimum: {}\n", broken.join("; "))
    }
}

/// A line for each run.
pub fn csv(figures: &[Figures]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    figures.iter().try_for_each(|figures| writer.serialize(figures))?;
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Each run with the life of each of its instances: app-tier id, and the seconds of launched, running and terminated,
/// counted from the beginning of the run; null where that never came.
pub fn json(runs: &[(Outcome, Figures)]) -> Value {
    let runs = runs.iter().map(|(outcome, figures)| {
        let seconds = |at: Timestamp| at.since(outcome.began).as_secs_f64();
        let instances = outcome.lives.iter().map(|life| {
            let id = life.named.app_tier_id.0;
            json!([id, seconds(life.launched), life.running.map(seconds), life.terminated.map(seconds)])
        });
        json!({
            "policy": figures.policy,
            "trace": figures.trace,
            "seed": figures.seed,
            "instance_hours": figures.instance_hours,
            "p50_seconds": figures.p50_seconds,
            "p99_seconds": figures.p99_seconds,
            "launches": figures.launches,
            "interrupted": figures.interrupted,
            "lost": figures.lost,
            "instances": instances.collect::<Vec<_>>(),
        })
    });
    json!({ "runs": runs.collect::<Vec<_>>() })
}
