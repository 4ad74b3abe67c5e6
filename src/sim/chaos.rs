//! Faults drawn from a seed. Each is drawn by its own name (which fault, of whom, the how-manieth chance), so that one
//! that is left out changes nothing about the others: that is how a failing run is cut down to what it needs.

mod odds;
mod plan;
mod profile;

pub use plan::{PLACES, Timed, What};
pub use profile::{Fault, Profile};

use super::truth::Truth;
use crate::edge::queue::Depth;
use crate::edge::wire::Leg;
use crate::edge::{self, Kind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often each thing happened, by its name.
pub type Tally = BTreeMap<&'static str, u64>;

/// What becomes of one half of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    pub delay: Duration,
    pub fault: Option<super::Fault>,
}

/// The odds of one world, and what came of them.
#[derive(Debug)]
pub struct Chaos {
    pub seed: u64,
    profile: Profile,
    /// What happens at which time.
    pub plan: Vec<Timed>,
    dropped: BTreeSet<String>,
    /// From now on nothing more goes wrong.
    calm: AtomicBool,
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    chances: BTreeMap<Fault, BTreeMap<String, u64>>,
    counts: BTreeMap<String, VecDeque<(u64, Depth)>>,
    /// What is left of each ration, in thousandths of a call, and when that was.
    rations: BTreeMap<&'static str, (u64, u64)>,
    /// Who reaches no bucket any more, until when.
    cut_off: Option<(String, u64)>,
    /// A place without capacity, whatever else goes right.
    full: Option<&'static str>,
    truth: Truth,
    record: Record,
}

/// What happened, as text: kept where somebody reads it, else only summed up.
#[derive(Debug, Default)]
struct Record {
    faults: Vec<String>,
    hash: u64,
    lines: Option<Vec<String>>,
    line: String,
}

impl Record {
    fn line(&mut self, at: u64, who: &str, what: std::fmt::Arguments<'_>) {
        self.line.clear();
        // writing to a string does not fail
        let _ = write!(self.line, "{at:>8} {who} {what}");
        self.hash =
            self.line.bytes().fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }
}

/// A random number that depends on nothing but these.
pub(super) fn draw(seed: u64, what: u64, who: &str, n: u64) -> u64 {
    let mut z = who.bytes().fold(seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    z = z.wrapping_add(n.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A fraction in `0.0..1.0`.
fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

impl Chaos {
    /// `span`: how long things go wrong. `dropped`: names of faults that do not happen. Call it inside a runtime whose
    /// clock is paused.
    pub fn new(
        seed: u64,
        span: Duration,
        machines: bool,
        truth: Truth,
        dropped: BTreeSet<String>,
        log: bool,
    ) -> Arc<Chaos> {
        let record = Record { lines: log.then(Vec::new), hash: 0xcbf2_9ce4_8422_2325, ..Record::default() };
        let (chances, counts, rations) = Default::default();
        let state = State { chances, counts, rations, cut_off: None, full: None, truth, record };
        let mut plan = plan::of(seed, span, machines);
        plan.retain(|timed| !dropped.contains(&timed.name));
        let (profile, calm) = (Profile::of(seed), AtomicBool::new(false));
        Arc::new(Chaos { seed, profile, plan, dropped, calm, origin: Instant::now(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since this world began.
    pub fn at(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        let at = self.at();
        self.with_truth(|truth| truth.calm_at = Some(at));
        self.note("world", "is calm from now on");
    }

    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether a fault happens now: then a random number with it.
    pub fn happens(&self, fault: Fault, who: &str) -> Option<u64> {
        let rate = self.profile.rate(fault);
        if rate <= 0.0 || self.is_calm() {
            return None;
        }
        let mut state = self.state();
        let chances = state.chances.entry(fault).or_default();
        let n = match chances.get_mut(who) {
            Some(n) => {
                *n += 1;
                *n
            }
            None => *chances.entry(who.to_owned()).or_insert(1),
        };
        let random = draw(self.seed, fault.number(), who, n);
        if fraction(random) >= rate {
            return None;
        }
        let name = format!("{} of {who} #{n}", fault.name());
        self.record(&mut state, fault.name(), name).then(|| draw(random, 1, "", 0))
    }

    /// Writes down that a fault happens, unless it is one of those that are left out.
    fn record(&self, state: &mut State, counted: &'static str, name: String) -> bool {
        if self.dropped.contains(&name) {
            return false;
        }
        state.truth.count(counted);
        state.record.line(self.at(), "fault:", format_args!("{name}"));
        state.record.faults.push(name);
        true
    }

    /// A timed fault happens now.
    pub fn strikes(&self, timed: &Timed) {
        let mut state = self.state();
        self.record(&mut state, timed.what.name(), timed.name.clone());
    }

    /// What becomes of the `point`-th half of a call of a process.
    pub(super) fn passage(&self, who: &str, point: u64, operation: &'static str, leg: Leg) -> Passage {
        if self.is_calm() {
            self.state().truth.passed(self.at(), who, operation, leg);
            return Passage { delay: Duration::ZERO, fault: None };
        }
        let random = draw(self.seed, 0, who, point);
        let delay = match random % 512 {
            0 => Duration::from_millis(random / 512 % 12_000),
            1..=300 => Duration::ZERO,
            some => Duration::from_millis(some % 9),
        };
        let fault = self.struck(who, operation, leg).or_else(|| self.rationed(operation, leg)).or_else(|| {
            let (fault, kind) = self.profile.of_call(fraction(draw(random, 1, "", 0)), who, operation, leg)?;
            let name = format!("{} of {who} at {operation} {leg:?} #{point}", fault.name());
            let mut state = self.state();
            self.record(&mut state, fault.name(), name).then_some(kind)
        });
        self.state().truth.slowed(who, delay.as_millis() as u64);
        if leg == Leg::Back && fault.is_some() {
            self.state().truth.reply_lost(who, operation, fault == Some(super::Fault::Crash));
        } else if fault.is_none() {
            self.state().truth.passed(self.at(), who, operation, leg);
        } else if leg == Leg::There {
            self.state().truth.refused(self.at(), who, operation);
        }
        Passage { delay, fault }
    }

    /// The error of an outage that lasts now.
    fn struck(&self, who: &str, operation: &'static str, leg: Leg) -> Option<super::Fault> {
        if leg == Leg::Back {
            return None;
        }
        let at = self.at();
        let cut_off = |(name, until): &(String, u64)| name == who && at < *until && operation.starts_with("bucket.");
        if self.state().cut_off.as_ref().is_some_and(cut_off) {
            return Some(super::Fault::Fail(Kind::Unavailable));
        }
        let during = self.plan.iter().filter(|timed| (timed.from..timed.to).contains(&at));
        let mut kinds = during.filter_map(|timed| match timed.what {
            What::Outage(of, kind) if of == operation => Some(kind),
            _ => None,
        });
        kinds.next_back().map(super::Fault::Fail)
    }

    /// Until then this process reaches no bucket.
    pub fn cut_off(&self, who: &str, until: u64) {
        self.state().cut_off = Some((who.to_owned(), until));
    }

    /// From now on this place has no capacity, though all else goes right.
    pub fn fill(&self, place: &'static str) {
        self.state().full = Some(place);
        self.note("world", &format!("has no capacity for {place}"));
    }

    /// Something people read in the log.
    pub fn note(&self, who: &str, what: &str) {
        self.state().record.line(self.at(), who, format_args!("{what}"));
    }

    /// What must not have happened and did.
    pub fn fail(&self, what: String) {
        self.state().truth.violated(what);
    }

    pub fn with_truth<T>(&self, look: impl FnOnce(&mut Truth) -> T) -> T {
        look(&mut self.state().truth)
    }

    /// All that happened: faults in order, a hash over the log, and the log where it was kept.
    pub fn story(&self) -> (Vec<String>, u64, Vec<String>) {
        let state = self.state();
        (state.record.faults.clone(), state.record.hash, state.record.lines.clone().unwrap_or_default())
    }
}

/// An error of a world.
pub(super) fn error(kind: Kind, operation: &'static str) -> edge::Error {
    edge::Error::new(kind, operation, "a fault of this world")
}
