//! How much arrives, and what of it is not answered: our own web process and, where there are several, the others by
//! their reports.

use super::{Arrivals, FAST, RECENT, SLOW};
use crate::message::WebReport;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Arrivals this near to one another are kept as one number.
const GRAIN: Duration = Duration::from_millis(250);
/// A web process that has not been heard for so long is forgotten.
const SILENT: Duration = Duration::from_mins(10);
/// Most other web processes that are listened to.
const MOST_SOURCES: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Traffic {
    counter_lag: Duration,
    own: Source,
    others: BTreeMap<Uuid, Source>,
}

/// One web process.
#[derive(Clone, Debug, Default)]
struct Source {
    accepted: u64,
    answered: u64,
    heard: Duration,
    /// When how many were accepted, oldest first.
    arrivals: VecDeque<(Duration, u64)>,
}

impl Source {
    /// Totals since the start of the process; those that go back are late or doubled.
    fn told(&mut self, accepted: u64, answered: u64, now: Duration, keep: Duration) {
        self.heard = self.heard.max(now);
        self.answered = self.answered.max(answered);
        let new = accepted.saturating_sub(self.accepted);
        self.accepted = self.accepted.max(accepted);
        while self.arrivals.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= keep) {
            self.arrivals.pop_front();
        }
        if new == 0 {
            return;
        }
        match self.arrivals.back_mut() {
            Some((at, count)) if now.saturating_sub(*at) < GRAIN => *count = count.saturating_add(new),
            _ => self.arrivals.push_back((now, new)),
        }
    }

    fn arrived(&self, now: Duration, window: Duration) -> u64 {
        let within = self.arrivals.iter().rev().take_while(|(at, _)| now.saturating_sub(*at) < window);
        within.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn unanswered(&self, now: Duration, counter_lag: Duration) -> u64 {
        self.accepted.saturating_sub(self.answered).min(self.arrived(now, counter_lag))
    }
}

impl Traffic {
    pub fn new(counter_lag: Duration) -> Traffic {
        Traffic { counter_lag, own: Source::default(), others: BTreeMap::new() }
    }

    fn keep(&self) -> Duration {
        self.counter_lag.max(SLOW)
    }

    pub fn own(&mut self, accepted: u64, answered: u64, now: Duration) {
        let keep = self.keep();
        self.own.told(accepted, answered, now, keep);
    }

    pub fn heard(&mut self, report: &WebReport, now: Duration) {
        self.others.retain(|_, source| now.saturating_sub(source.heard) < SILENT);
        let keep = self.keep();
        if let Some(source) = self.others.get_mut(&report.web_id) {
            source.told(report.accepted_total, report.answered_total, now, keep);
        } else if self.others.len() < MOST_SOURCES {
            // when those were accepted that it had already is not known: only what is still open counts, as of now
            let answered = report.answered_total.min(report.accepted_total);
            let mut source = Source { accepted: answered, ..Source::default() };
            source.told(report.accepted_total, answered, now, keep);
            self.others.insert(report.web_id, source);
        }
    }

    pub fn arrivals(&self, now: Duration) -> Arrivals {
        let all = |window| {
            let sources = self.others.values().chain([&self.own]);
            sources.fold(0, |sum: u64, source| sum.saturating_add(source.arrived(now, window)))
        };
        Arrivals { fast: all(FAST), recent: all(RECENT), slow: all(SLOW) }
    }

    /// Accepted and not seen to be answered, however long ago.
    pub fn open(&self) -> u64 {
        let sources = self.others.values().chain([&self.own]);
        sources.fold(0, |sum, source| sum.saturating_add(source.accepted.saturating_sub(source.answered)))
    }

    pub fn unanswered(&self, now: Duration) -> u64 {
        let sources = self.others.values().chain([&self.own]);
        sources.fold(0, |sum, source| sum.saturating_add(source.unanswered(now, self.counter_lag)))
    }
}

#[cfg(test)]
impl Traffic {
    /// How many numbers are kept of our own web process.
    pub fn kept(&self) -> usize {
        self.own.arrivals.len()
    }
}
