//! How often what goes wrong.

use super::draw;
use crate::edge::Kind;
use crate::edge::nature::Odd;
use crate::edge::wire::Leg;
use std::collections::BTreeMap;

/// What goes wrong by chance, at a chance of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Edge(Odd),
    /// The writer is newer: what it writes has fields that nobody here knows.
    NewerFields,
    /// A call is not let in: throttled, or no answer from the service.
    Refused,
    /// A call times out, and had no effect.
    TimedOutBefore,
    /// A call times out, and had its effect.
    TimedOutAfter,
    /// A process dies at a call, before its effect or after it.
    Crash,
    /// Counters show what was some seconds ago.
    CountLag,
    /// Counters show what was a minute ago.
    CountGlitch,
    /// An engine never answers.
    EngineHangs,
    /// An engine takes its process with it.
    EngineCrashes,
    /// An instance boots and never becomes ready.
    NeverReady,
    /// An instance takes long to boot.
    SlowBoot,
    /// A process's wall clock is wrong.
    SkewedClock,
    /// A worker tells of times that cannot be.
    AbsurdTimes,
}

impl Fault {
    /// All of them, each with its rate in the default profile: of the chances that there are, not a second.
    pub const DEFAULT: [(Fault, f64); 21] = [
        (Fault::Edge(Odd::OutOfOrder), 0.7),
        (Fault::Edge(Odd::PartialBatch), 0.2),
        (Fault::Edge(Odd::Duplicate), 0.03),
        (Fault::Edge(Odd::Resurrected), 0.02),
        (Fault::Edge(Odd::Late), 0.03),
        (Fault::Edge(Odd::LeaseCutShort), 0.01),
        (Fault::NewerFields, 0.1),
        (Fault::Edge(Odd::NoCapacity), 0.05),
        (Fault::Edge(Odd::PartialLaunch), 0.1),
        (Fault::Refused, 0.006),
        (Fault::TimedOutBefore, 0.004),
        (Fault::TimedOutAfter, 0.01),
        (Fault::Crash, 0.0008),
        (Fault::CountLag, 0.3),
        (Fault::CountGlitch, 0.02),
        (Fault::EngineHangs, 0.01),
        (Fault::EngineCrashes, 0.03),
        (Fault::NeverReady, 0.05),
        (Fault::SlowBoot, 0.1),
        (Fault::SkewedClock, 0.5),
        (Fault::AbsurdTimes, 0.05),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Edge(Odd::OutOfOrder) => "out of order",
            Fault::Edge(Odd::PartialBatch) => "partial batch",
            Fault::Edge(Odd::Duplicate) => "duplicate delivery",
            Fault::Edge(Odd::Resurrected) => "deleted message delivered again",
            Fault::Edge(Odd::Late) => "delivered late",
            Fault::Edge(Odd::LeaseCutShort) => "receipt expired early",
            Fault::NewerFields => "unknown fields of a newer version",
            Fault::Edge(Odd::NoCapacity) => "launch refused for capacity",
            Fault::Edge(Odd::PartialLaunch) => "partial launch",
            Fault::Refused => "call refused",
            Fault::TimedOutBefore => "call timed out without effect",
            Fault::TimedOutAfter => "call timed out with effect",
            Fault::Crash => "crash at a call",
            Fault::CountLag => "stale counters",
            Fault::CountGlitch => "counters a minute old",
            Fault::EngineHangs => "engine hangs",
            Fault::EngineCrashes => "engine crashes",
            Fault::NeverReady => "instance never ready",
            Fault::SlowBoot => "slow boot",
            Fault::SkewedClock => "skewed clock",
            Fault::AbsurdTimes => "times that cannot be",
        }
    }

    pub(super) fn number(self) -> u64 {
        Fault::DEFAULT.iter().position(|(fault, _)| *fault == self).unwrap_or_default() as u64 + 1
    }
}

/// The rates of one world: each fault of the default profile is absent, half as frequent, as frequent, or twice so.
#[derive(Clone, Debug)]
pub struct Profile(BTreeMap<Fault, f64>);

impl Profile {
    pub fn of(seed: u64) -> Profile {
        let rate = |(fault, rate): (Fault, f64)| {
            (fault, rate * [0.0, 0.5, 1.0, 2.0][draw(seed, fault.number(), "rate", 0) as usize % 4])
        };
        Profile(Fault::DEFAULT.into_iter().map(rate).collect())
    }

    pub fn rate(&self, fault: Fault) -> f64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    /// What becomes of half a call, by one random fraction.
    pub(super) fn of_call(
        &self,
        random: f64,
        who: &str,
        operation: &str,
        leg: Leg,
    ) -> Option<(Fault, super::super::Fault)> {
        use super::super::Fault as Fate;
        let crash = if who.starts_with("web") { self.rate(Fault::Crash) / 4.0 } else { self.rate(Fault::Crash) };
        if random < crash {
            return Some((Fault::Crash, Fate::Crash));
        }
        let mut random = random - crash;
        let launch = if operation == "fleet.launch" { 8.0 } else { 1.0 };
        let kinds: &[(Fault, Kind)] = match leg {
            Leg::There => &[
                (Fault::Refused, Kind::Unavailable),
                (Fault::Refused, Kind::Throttled),
                (Fault::TimedOutBefore, Kind::Timeout),
            ],
            Leg::Back => &[(Fault::TimedOutAfter, Kind::Timeout)],
        };
        for (fault, kind) in kinds {
            let rate = self.rate(*fault) * launch;
            if random < rate {
                return Some((*fault, Fate::Fail(*kind)));
            }
            random -= rate;
        }
        None
    }
}
