//! What came back: counted, timed and judged.

use crate::client::{Asked, Outcome, Picture};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Faults that are told in words.
const TOLD: usize = 10;
/// An upload that starts later than this after its time is counted: connections, or this machine, are too few.
const LATE: Duration = Duration::from_millis(10);

/// How an upload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Refused,
    Wrong(String),
    Lost(String),
}

/// Counts of a run that goes on.
#[derive(Debug)]
pub struct Tally {
    /// Of answers, right or wrong, in microseconds. Refusals are quick, and would make a full server look fast.
    latency: Histogram<u64>,
    report: Report,
}

/// The result of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub requests: u64,
    /// The right label of the right image, as far as that is known.
    pub right: u64,
    pub wrong: u64,
    pub lost: u64,
    /// The last answer was 429 or 503 with a Retry-After.
    pub refused: u64,
    /// Uploads repeated after a refusal.
    pub retries: u64,
    /// Answers that were fetched at the Location of a 202.
    pub followed: u64,
    /// Uploads that started later than their pattern wants.
    pub late: u64,
    pub seconds: f64,
    pub images_per_second: f64,
    pub latency_ms: Latency,
    /// Answers to uploads, by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Right answers, by who gave them.
    pub instances: BTreeMap<String, u64>,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// Whether this is the answer to `picture`. `expected`: a label, or the code of an error.
pub fn judge(outcome: &Outcome, picture: &Picture, expected: Option<&str>) -> Verdict {
    let said = match outcome {
        Outcome::Refused { .. } => return Verdict::Refused,
        Outcome::Lost(why) => return Verdict::Lost(why.to_string()),
        Outcome::Unreadable(why) => return Verdict::Wrong(why.clone()),
        Outcome::Failed { status, code } if expected != Some(code) => {
            return Verdict::Wrong(format!("status {status}, {code}"));
        }
        Outcome::Failed { code, .. } => code,
        Outcome::Classified(answer) if answer.sha256 != picture.sha256 => {
            return Verdict::Wrong(format!("the answer is about another image, sha256 {}", answer.sha256));
        }
        Outcome::Classified(answer) => &answer.label,
    };
    match expected {
        Some(expected) if expected != said => Verdict::Wrong(format!("{said}; expected {expected}")),
        _ => Verdict::Right,
    }
}

impl Default for Tally {
    #[expect(clippy::expect_used, reason = "three digits are between none and five")]
    fn default() -> Tally {
        Tally { latency: Histogram::new(DIGITS).expect("a valid precision"), report: Report::default() }
    }
}

impl Tally {
    /// Counts one upload that ended `latency` after it should have started, and started `late` after that.
    pub fn record(
        &mut self,
        asked: &Asked,
        picture: &Picture,
        expected: Option<&str>,
        latency: Duration,
        late: Duration,
    ) {
        let report = &mut self.report;
        report.requests += 1;
        report.late += u64::from(late > LATE);
        report.followed += u64::from(asked.followed);
        report.retries += asked.statuses.len().saturating_sub(1) as u64;
        for status in &asked.statuses {
            *report.statuses.entry(*status).or_default() += 1;
        }
        let verdict = judge(&asked.outcome, picture, expected);
        if matches!(verdict, Verdict::Right | Verdict::Wrong(_)) {
            // it grows as far as it must
            let _ = self.latency.record(latency.as_micros() as u64);
        }
        match verdict {
            Verdict::Right => report.right += 1,
            Verdict::Refused => report.refused += 1,
            Verdict::Wrong(_) => report.wrong += 1,
            Verdict::Lost(_) => report.lost += 1,
        }
        match (verdict, &asked.outcome) {
            (Verdict::Right, Outcome::Classified(answer)) => {
                *report.instances.entry(answer.worker.instance_id.clone()).or_default() += 1;
            }
            (Verdict::Wrong(why) | Verdict::Lost(why), _) if report.faults.len() < TOLD => {
                report.faults.push(format!("{}: {why}", picture.file));
            }
            _ => {}
        }
    }

    /// The result after `elapsed`.
    pub fn report(self, elapsed: Duration) -> Report {
        let ms = |us: u64| us as f64 / 1e3;
        let at = |quantile: f64| ms(self.latency.value_at_quantile(quantile));
        let latency_ms = Latency {
            mean: self.latency.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: ms(self.latency.max()),
        };
        let seconds = elapsed.as_secs_f64();
        Report { seconds, images_per_second: self.report.right as f64 / seconds, latency_ms, ..self.report }
    }
}

impl Report {
    /// Every upload was answered rightly, or told to come later; not all of them were told so.
    pub fn passed(&self) -> bool {
        self.wrong == 0 && self.lost == 0 && self.right > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = |pairs: Vec<String>| pairs.join(", ");
        let Latency { mean, p50, p90, p99, p99_9, max } = self.latency_ms;
        writeln!(f, "{} uploads in {:.2} s, {:.1} images/s", self.requests, self.seconds, self.images_per_second)?;
        writeln!(f, "right {}, wrong {}, lost {}, refused {}", self.right, self.wrong, self.lost, self.refused)?;
        writeln!(f, "retries {}, followed up {}, started late {}", self.retries, self.followed, self.late)?;
        write!(f, "latency ms: p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p99_9:.1}, max {max:.1}, ")?;
        writeln!(f, "mean {mean:.1}")?;
        let statuses = self.statuses.iter().map(|(status, n)| format!("{status} x {n}")).collect();
        writeln!(f, "statuses: {}", pairs(statuses))?;
        let instances = self.instances.iter().map(|(id, n)| format!("{id} x {n}")).collect();
        writeln!(f, "instances: {}", pairs(instances))?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "fault: {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Lost;
    use bellows_core::answer::{Classified, Model, Timings, Worker};
    use bellows_core::key::RequestId;
    use bytes::Bytes;
    use uuid::Uuid;

    fn picture() -> Picture {
        Picture { file: "a.png".into(), bytes: Bytes::new(), sha256: "ab".into() }
    }

    fn classified(sha256: &str, label: &str) -> Outcome {
        Outcome::Classified(Box::new(Classified {
            request_id: RequestId(Uuid::from_u128(1)),
            file: "a.png".into(),
            sha256: sha256.into(),
            label: label.into(),
            predictions: Vec::new(),
            model: Model { name: String::new(), sha256: String::new(), engine: String::new() },
            worker: Worker { app_tier_id: 1, instance_id: "one".into() },
            timings_ms: Timings::default(),
        }))
    }

    fn asked(outcome: Outcome, statuses: &[u16]) -> Asked {
        Asked { outcome, statuses: statuses.to_vec(), followed: statuses.last() == Some(&202) }
    }

    #[test]
    fn an_answer_is_judged_by_its_image_and_its_label() {
        let judge = |outcome: &Outcome, expected| judge(outcome, &picture(), expected);
        assert_eq!(judge(&classified("ab", "tub"), None), Verdict::Right);
        assert_eq!(judge(&classified("ab", "tub"), Some("tub")), Verdict::Right);
        assert!(matches!(judge(&classified("ab", "tub"), Some("tench")), Verdict::Wrong(why) if why.contains("tench")));
        assert!(matches!(judge(&classified("cd", "tub"), Some("tub")), Verdict::Wrong(why) if why.contains("another")));
        let failed = Outcome::Failed { status: 415, code: "unsupported-image".into() };
        assert!(matches!(judge(&failed, None), Verdict::Wrong(_)));
        assert_eq!(judge(&failed, Some("unsupported-image")), Verdict::Right);
        assert_eq!(judge(&Outcome::Refused { status: 429 }, Some("tub")), Verdict::Refused);
        assert!(matches!(judge(&Outcome::Lost(Lost::TooLate), None), Verdict::Lost(_)));
    }

    #[test]
    fn a_report_counts_everything_once() {
        let mut tally = Tally::default();
        let mut record = |asked: &Asked, ms| {
            tally.record(asked, &picture(), None, Duration::from_millis(ms), Duration::from_millis(ms / 10));
        };
        record(&asked(classified("ab", "tub"), &[200]), 100);
        record(&asked(classified("ab", "tub"), &[429, 429, 202]), 200);
        record(&asked(Outcome::Refused { status: 429 }, &[429]), 1);
        record(&asked(Outcome::Lost(Lost::TooLate), &[]), 900);
        record(&asked(classified("cd", "tub"), &[200]), 300);
        let report = tally.report(Duration::from_secs(2));
        assert_eq!((report.requests, report.right, report.wrong, report.lost, report.refused), (5, 2, 1, 1, 1));
        assert_eq!((report.retries, report.followed, report.late), (2, 1, 3));
        assert_eq!(report.statuses, BTreeMap::from([(200, 2), (202, 1), (429, 3)]));
        assert_eq!(report.instances, BTreeMap::from([("one".into(), 2)]));
        assert!((report.images_per_second - 1.0).abs() < 1e-9);
        assert!((report.latency_ms.max - 300.0).abs() < 1.0 && (report.latency_ms.p50 - 200.0).abs() < 1.0);
        assert!(!report.passed());
        let text = report.to_string();
        assert!(text.contains("right 2, wrong 1, lost 1, refused 1") && text.contains("fault: a.png: "), "{text}");
    }

    #[test]
    fn nothing_but_refusals_is_no_success() {
        let mut tally = Tally::default();
        let refused = asked(Outcome::Refused { status: 503 }, &[503]);
        tally.record(&refused, &picture(), None, Duration::ZERO, Duration::ZERO);
        assert!(!tally.report(Duration::from_secs(1)).passed());
    }
}
