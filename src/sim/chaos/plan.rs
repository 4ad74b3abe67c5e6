//! What goes wrong at which time.

use super::draw;
use crate::edge::Kind;
use std::time::Duration;

/// What is done to the world, or to somebody in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every call of this name fails so.
    Outage(&'static str, Kind),
    /// No launch finds capacity, wherever it goes; or in one place.
    NoCapacity,
    FullPlace(&'static str),
    /// The fleet's calls are rationed: each takes from a bucket that fills slowly, whoever calls.
    Rationed,
    /// The web tier that leads reaches no bucket any more, while others do.
    CutOff,
    /// kill -9 of a web tier with its controller; it is started again after a while.
    KillWeb,
    /// SIGTERM of it, and a newer one in its place.
    RestartWeb,
    /// Another web tier with a controller beside the first, on its own machine.
    SecondWeb,
    Pause,
    /// The same by a newer program, which leaves in the control object what nobody here knows.
    NewerPause,
    /// Somebody tells of the end of workers that have not ended, and is none of them.
    Forgery,
    /// A terminate request of an epoch that is over turns up.
    OldRequest,
    /// A spot notice, and the end two minutes later.
    Evict,
    KillWorker,
    HangWorker,
}

impl What {
    /// One of each name.
    pub const ALL: [What; 18] = [
        What::Outage("queue.send", Kind::Full),
        What::Outage("queue.depth", Kind::Unavailable),
        What::Outage("fleet.list", Kind::Throttled),
        What::Outage("bucket.get", Kind::Unavailable),
        What::NoCapacity,
        What::FullPlace(PLACES[0]),
        What::Rationed,
        What::CutOff,
        What::KillWeb,
        What::RestartWeb,
        What::SecondWeb,
        What::Pause,
        What::NewerPause,
        What::Forgery,
        What::OldRequest,
        What::Evict,
        What::KillWorker,
        What::HangWorker,
    ];

    pub fn name(self) -> &'static str {
        match self {
            What::Outage(_, Kind::Full) => "disk full",
            What::Outage("queue.depth", _) => "counters unread for long",
            What::Outage("fleet.list", _) => "pool unlisted for long",
            What::Outage(..) => "outage of a service",
            What::NoCapacity => "no capacity for long",
            What::FullPlace(_) => "no capacity in one place for long",
            What::Rationed => "calls of the fleet rationed",
            What::CutOff => "leader cut off",
            What::KillWeb => "web tier killed",
            What::RestartWeb => "web tier replaced by a newer one",
            What::SecondWeb => "two controllers",
            What::Pause => "paused",
            What::NewerPause => "paused by a newer program",
            What::Forgery => "forged confirmation",
            What::OldRequest => "old terminate request turns up",
            What::Evict => "spot notice",
            What::KillWorker => "worker killed",
            What::HangWorker => "worker hangs",
        }
    }
}

/// From when to when, in milliseconds of the world's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    pub what: What,
    pub from: u64,
    pub to: u64,
    pub name: String,
}

/// The places of a fleet of machines.
pub const PLACES: [&str; 4] = ["type-0 in zone-0", "type-0 in zone-1", "type-1 in zone-0", "type-1 in zone-1"];

const OUTAGES: [(&str, Kind); 14] = [
    ("queue.depth", Kind::Unavailable),
    ("queue.depth", Kind::Throttled),
    ("queue.receive", Kind::Unavailable),
    ("queue.send", Kind::Throttled),
    ("queue.send", Kind::Full),
    ("queue.delete", Kind::Timeout),
    ("queue.extend", Kind::Unavailable),
    ("bucket.get", Kind::Unavailable),
    ("bucket.put", Kind::Full),
    ("bucket.put", Kind::Timeout),
    ("bucket.put_if_absent", Kind::Unavailable),
    ("bucket.compare_and_swap", Kind::Timeout),
    ("fleet.list", Kind::Throttled),
    ("fleet.launch", Kind::Timeout),
];

/// The timed faults of a world: most have some.
pub(super) fn of(seed: u64, span: Duration, machines: bool) -> Vec<Timed> {
    let span = span.as_millis() as u64;
    let mut plan = Vec::new();
    let mut add = |what: What, chance: u64, longest: u64| {
        let name = what.name();
        let random = draw(seed, 99, name, plan.len() as u64);
        if random % 100 < chance {
            // long enough for another one to take over
            let within = if what == What::CutOff { span / 3 } else { span };
            let from = random / 100 % within;
            let to = from + 5000 + draw(random, 2, "", 0) % longest;
            plan.push(Timed { what, from, to, name: format!("{name} at {from} to {to}") });
        }
    };
    let outage = |n: u64| OUTAGES[draw(seed, 98, "outage", n) as usize % OUTAGES.len()];
    for n in 0..3 {
        let (operation, kind) = outage(n);
        add(What::Outage(operation, kind), 30, 80_000);
    }
    add(What::Outage("queue.depth", Kind::Unavailable), 30, 150_000);
    add(What::NoCapacity, 20, 60_000);
    add(What::KillWeb, 25, 30_000);
    add(What::RestartWeb, 20, 20_000);
    add(What::Pause, 15, 60_000);
    for _ in 0..2 {
        add(What::KillWorker, 20, 1);
        add(What::HangWorker, 8, 1);
    }
    if machines {
        add(What::SecondWeb, 30, 1);
        add(What::Evict, 25, 1);
        add(What::FullPlace(PLACES[0]), 30, 90_000);
        add(What::FullPlace(PLACES[1]), 15, 90_000);
        add(What::Rationed, 25, 120_000);
        add(What::CutOff, 20, 150_000);
    }
    add(What::NewerPause, 10, 20_000);
    for _ in 0..3 {
        add(What::Forgery, 15, 1);
        add(What::OldRequest, 15, 1);
    }
    plan.sort_by_key(|timed| timed.from);
    plan
}
