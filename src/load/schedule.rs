//! When each upload starts. Pure: offsets from the begin, no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The order of uploads in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// Each connection sends when it has its last answer (closed loop).
    Closed,
    AllAtOnce,
    /// So many a second.
    Rate(f64),
    /// So many at once, and the next ones when all of these are answered.
    Batches(u64),
    /// From so many a second to so many a second.
    Ramp(f64, f64),
}

/// When an upload starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// So long after the begin, whatever the server does.
    At(Duration),
    /// As soon as a connection is free, and so many uploads are over.
    After(Option<u64>),
}

/// A pattern with its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pattern: Pattern,
    requests: u64,
    duration: Option<Duration>,
    /// How long the ramp is, in seconds.
    ramp: f64,
}

/// What would start later than this does not start.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
const EXPECTED: &str = "closed, all-at-once, rate=R/s, batches=K or ramp=A..B/s";

impl Schedule {
    /// `requests` and `duration`: whichever ends first. Without either: `pictures` uploads.
    pub fn new(pattern: Pattern, requests: Option<u64>, duration: Option<Duration>, pictures: u64) -> Schedule {
        let without_end = if duration.is_some() && pattern != Pattern::AllAtOnce { u64::MAX } else { pictures };
        let requests = requests.unwrap_or(without_end);
        let ramp = match (pattern, duration) {
            (_, Some(duration)) => duration.as_secs_f64(),
            // the area below a line from `from` to `to` is the number of uploads
            (Pattern::Ramp(from, to), None) => 2.0 * requests as f64 / (from + to),
            _ => 0.0,
        };
        Schedule { pattern, requests, duration, ramp }
    }

    /// When the `n`-th upload, from 0, starts; none where it is not to be sent.
    pub fn start(&self, n: u64) -> Option<Start> {
        if n >= self.requests {
            return None;
        }
        let seconds = match self.pattern {
            Pattern::Closed => return Some(Start::After(None)),
            Pattern::Batches(size) => return Some(Start::After(Some(n / size * size))),
            Pattern::AllAtOnce => 0.0,
            Pattern::Rate(rate) => n as f64 / rate,
            Pattern::Ramp(from, to) => self.on_ramp(n as f64, from, to)?,
        };
        let offset = Duration::try_from_secs_f64(seconds).ok()?;
        (offset < self.duration.unwrap_or(LONGEST)).then_some(Start::At(offset))
    }

    /// When `n` uploads have started: from·t + (to - from)·t² / 2T = n, solved for t in a form that also holds where
    /// both rates are the same.
    fn on_ramp(&self, n: f64, from: f64, to: f64) -> Option<f64> {
        let slope = (to - from) / self.ramp;
        let root = (from * from + 2.0 * slope * n).sqrt();
        if n == 0.0 {
            return Some(0.0);
        }
        // not a number: a falling ramp never comes so far
        (root.is_finite() && from + root > 0.0).then(|| 2.0 * n / (from + root))
    }

    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Whether the next batch starts when so many are over.
    pub fn opens(&self, over: u64) -> bool {
        matches!(self.pattern, Pattern::Batches(size) if over.is_multiple_of(size))
    }

    /// How many uploads there will be, where that is known.
    pub fn total(&self) -> Option<u64> {
        (self.duration.is_none() && self.requests < u64::MAX).then_some(self.requests)
    }

    /// How many connections carry the pattern, where nobody says it.
    pub fn connections(&self) -> u64 {
        const FEW: u64 = 16;
        const MANY: u64 = 256;
        match self.pattern {
            Pattern::Closed => FEW.min(self.requests),
            Pattern::AllAtOnce => self.requests.min(MANY),
            Pattern::Batches(size) => size.min(MANY),
            Pattern::Rate(_) | Pattern::Ramp(..) => MANY.min(self.requests),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let wrong = || format!("expected {EXPECTED}");
        let rate = |text: &str| text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match (name, value) {
            ("closed", "") => Ok(Pattern::Closed),
            ("all-at-once", "") => Ok(Pattern::AllAtOnce),
            ("rate", value) => {
                let rate = rate(value.strip_suffix("/s").unwrap_or(value)).filter(|rate| *rate > 0.0);
                rate.map(Pattern::Rate).ok_or_else(wrong)
            }
            ("batches", value) => value.parse().ok().filter(|size| *size > 0).map(Pattern::Batches).ok_or_else(wrong),
            ("ramp", value) => {
                let ends = value.strip_suffix("/s").unwrap_or(value).split_once("..");
                let ramp = ends.and_then(|(from, to)| Some((rate(from)?, rate(to)?)));
                let ramp = ramp.filter(|(from, to)| from + to > 0.0);
                ramp.map(|(from, to)| Pattern::Ramp(from, to)).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Closed => f.write_str("closed"),
            Pattern::AllAtOnce => f.write_str("all-at-once"),
            Pattern::Rate(rate) => write!(f, "rate={rate}/s"),
            Pattern::Batches(size) => write!(f, "batches={size}"),
            Pattern::Ramp(from, to) => write!(f, "ramp={from}..{to}/s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offsets(pattern: &str, requests: Option<u64>, seconds: Option<u64>) -> Vec<f64> {
        let duration = seconds.map(Duration::from_secs);
        let schedule = Schedule::new(pattern.parse().unwrap(), requests, duration, 3);
        let starts = (0..).map_while(|n| schedule.start(n));
        starts
            .map(|start| match start {
                Start::At(offset) => offset.as_secs_f64(),
                Start::After(_) => panic!("not by time"),
            })
            .collect()
    }

    #[test]
    fn patterns_read_as_they_are_written() {
        for text in ["closed", "all-at-once", "rate=12.5/s", "batches=20", "ramp=1..50/s"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        assert_eq!("rate=5".parse(), Ok(Pattern::Rate(5.0)));
        for text in ["", "rate", "rate=0", "rate=-1/s", "rate=NaN", "rate=inf", "batches=0", "ramp=1", "ramp=0..0", "x"]
        {
            assert_eq!(text.parse::<Pattern>(), Err(format!("expected {EXPECTED}")), "{text}");
        }
    }

    #[test]
    fn each_pattern_has_its_times_and_its_end() {
        assert_eq!(offsets("all-at-once", Some(4), None), [0.0; 4]);
        assert_eq!(offsets("all-at-once", None, Some(9)), [0.0; 3], "as many as there are pictures");
        assert_eq!(offsets("rate=2/s", Some(4), None), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!(offsets("rate=2/s", None, Some(1)), [0.0, 0.5]);
        assert_eq!(offsets("rate=2/s", Some(1), Some(60)), [0.0]);
        assert_eq!(offsets("rate=1e-300/s", Some(9), None), [0.0], "the next one comes after the end of all clocks");
        assert_eq!(offsets("ramp=2..2/s", Some(3), None), [0.0, 0.5, 1.0]);
        // 0 to 10 a second in 4 s are 20 uploads; half of the time is a quarter of them
        let ramp = offsets("ramp=0..10/s", Some(20), None);
        assert!((ramp[5] - 2.0).abs() < 1e-6 && ramp.len() == 20, "{ramp:?}");
        assert_eq!(offsets("ramp=10..0/s", None, Some(4)).len(), 20);
    }

    #[test]
    fn a_batch_starts_when_the_last_is_over() {
        let schedule = Schedule::new(Pattern::Batches(3), Some(7), None, 1);
        let starts: Vec<_> = (0..8).map(|n| schedule.start(n)).collect();
        let after = |over| Some(Start::After(Some(over)));
        assert_eq!(starts, [after(0), after(0), after(0), after(3), after(3), after(3), after(6), None]);
        assert!(schedule.opens(3) && !schedule.opens(4));
        assert_eq!((schedule.total(), schedule.connections()), (Some(7), 3));
        assert_eq!(Schedule::new(Pattern::Closed, None, None, 5).start(4), Some(Start::After(None)));
    }

    proptest! {
        #[test]
        fn a_ramp_never_goes_back_and_keeps_its_number(from in 0.0..500.0_f64, to in 0.1..500.0_f64, n in 1..400_u64) {
            let schedule = Schedule::new(Pattern::Ramp(from, to), Some(n), None, 1);
            let mut last = Duration::ZERO;
            for k in 0..n {
                let Some(Start::At(at)) = schedule.start(k) else { panic!("{k} of {n} is missing") };
                prop_assert!(at >= last);
                last = at;
            }
            prop_assert!(last.as_secs_f64() <= 2.0 * n as f64 / (from + to) + 1e-6);
        }
    }
}
