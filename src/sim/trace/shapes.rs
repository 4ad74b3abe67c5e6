//! Shapes that come along with the program.

use super::super::chance::{Draw, fraction};
use super::{Bin, Trace};

/// Their names, with what they are.
pub const SHAPES: [(&str, &str); 8] = [
    ("burst-110", "the original's first test: 110 at once"),
    ("burst-150", "the original's second test: 150 at once"),
    ("batches", "60 at once, every ten minutes for two hours"),
    ("diurnal", "a day: nothing to speak of at night, 3 a second at noon"),
    ("flash-crowd", "an hour of 0.2 a second, in which it rises to 8 within a minute and falls again over ten"),
    ("square-wave", "two hours: five minutes of 4 a second, five of nothing"),
    ("poisson", "two hours of 2 a second, at random"),
    ("bursty", "two hours at random: now 0.1 a second, now 6, some minutes each"),
];

/// The seed of what a shape has of chance: shapes are the same in every run.
const SEED: u64 = 13;

impl Trace {
    /// A shape by its name.
    pub fn shape(name: &str) -> Option<Trace> {
        let bins = match name {
            "burst-110" => vec![at_once(1.0, 110)],
            "burst-150" => vec![at_once(1.0, 150)],
            "batches" => (0..12).map(|n| at_once(f64::from(n) * 600.0, 60)).collect(),
            "diurnal" => curve(86_400, |t| 3.0 * day(t)),
            "flash-crowd" => curve(3600, |t| 0.2 + 7.8 * crowd(t)),
            "square-wave" => curve(7200, |t| if t % 600.0 < 300.0 { 4.0 } else { 0.0 }),
            "poisson" => random(7200.0, |_| 2.0),
            "bursty" => bursty(),
            _ => return None,
        };
        Some(Trace { name: name.to_owned(), bins })
    }
}

fn at_once(start: f64, requests: u64) -> Bin {
    Bin { start, width: 0.0, requests }
}

/// A rate (a second) over so many seconds, in bins of ten.
fn curve(seconds: u32, rate: impl Fn(f64) -> f64) -> Vec<Bin> {
    let mut owed = 0.0;
    let bin = |n: u32| {
        let start = f64::from(n) * 10.0;
        owed += rate(start) * 10.0;
        let requests = owed as u64;
        owed -= requests as f64;
        Bin { start, width: 10.0, requests }
    };
    (0..seconds / 10).map(bin).collect()
}

/// Between 0 at midnight and 1 at noon; most of the night is quiet.
fn day(t: f64) -> f64 {
    let height = 0.5 - 0.5 * libm::cos(std::f64::consts::TAU * t / 86_400.0);
    height * height
}

/// From the twentieth minute on: up within one, down over ten.
fn crowd(t: f64) -> f64 {
    let since = t - 1200.0;
    if since < 0.0 { 0.0 } else { (since / 60.0).min(1.0) * libm::exp(-(since - 60.0).max(0.0) / 200.0) }
}

/// Exponential gaps at a rate that may change with time.
fn random(seconds: f64, rate: impl Fn(f64) -> f64) -> Vec<Bin> {
    let (mut at, mut bins) = (0.0, Vec::new());
    for nth in 0.. {
        at -= libm::log(1.0 - fraction(SEED, Draw::Arrival, nth)) / rate(at);
        if at >= seconds {
            break;
        }
        bins.push(at_once(at, 1));
    }
    bins
}

/// Calm and storm, three minutes each on average.
fn bursty() -> Vec<Bin> {
    let (mut turns, mut until, mut nth) = (Vec::new(), 0.0, 0);
    while until < 7200.0 {
        until -= 180.0 * libm::log(1.0 - fraction(SEED, Draw::Boot, nth));
        turns.push(until);
        nth += 1;
    }
    let storm = |t: f64| turns.partition_point(|turn| *turn <= t) % 2 == 1;
    // a gap drawn in a calm may reach far into the next storm: rates are looked at each second
    let mut bins = Vec::new();
    for second in 0_u32..7200 {
        let rate = if storm(f64::from(second)) { 6.0 } else { 0.1 };
        let requests = (rate + fraction(SEED, Draw::Service, second.into())) as u64;
        bins.push(Bin { start: f64::from(second), width: 1.0, requests });
    }
    bins
}
