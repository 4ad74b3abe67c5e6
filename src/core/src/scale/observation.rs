//! What a decision is made of.

use super::{Memory, Policy};
use crate::control::{Idle, Leader};
use crate::estimate::{Arrivals, Meter};
use crate::pool::{Live, Roster};
use crate::retire::Requests;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The counters of request_queue. On SQS approximate and late; exact elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

/// All that a decision is made of. Times are durations since this process started.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub now: Duration,
    /// As they were last read, and how long ago that was; none: never.
    pub counters: Option<(Counters, Duration)>,
    /// Requests that we or other web processes have sent within the counter lag and that are not answered.
    pub unanswered: u64,
    /// Requests that we or other web processes have ever sent and that are not seen to be answered.
    pub open: u64,
    pub arrivals: Arrivals,
    /// For how long every working slot has received nothing ([`crate::pool::Roster::quiet`]).
    pub quiet: Option<Duration>,
    /// The pool by the last good list ([`crate::pool::Roster::live`]), and how old that is; none: never listed.
    pub live: Live,
    pub list_age: Option<Duration>,
    /// The list that was to be read for this decision failed.
    pub list_failed: bool,
    /// For how long each instance that is not ready yet has been booting ([`crate::pool::Roster::booting_for`]).
    pub booting_for: Vec<Duration>,
    /// Terminate requests that are out ([`crate::retire::Requests::outstanding`]).
    pub outstanding: u32,
    /// Images an instance works on at once ([`crate::pool::Roster::slots`]).
    pub slots: u32,
    /// One slot's time for one image, and an instance's from launch to ready.
    pub service: Duration,
    pub boot: Duration,
    /// No launch for so long, because launches failed; zero: free to.
    pub backoff: Duration,
    /// Why nothing may be done; none where [`crate::control::Leader::permit`] gives leave.
    pub idle: Option<Idle>,
    /// From the decision before; the default at the beginning.
    pub memory: Memory,
}

impl Observation {
    /// What leader, roster, requests and measurements say at `now`. Counters, a failed list, a back-off and the memory
    /// are the caller's to add: without them nothing is ended, and nothing was ever decided. `slots` is what the
    /// configuration says an instance works on at once.
    pub fn new(
        (leader, roster, requests, meter): (&Leader, &Roster, &Requests, &Meter),
        slots: u32,
        dry_run: bool,
        now: Duration,
    ) -> Observation {
        Observation {
            now,
            counters: None,
            unanswered: meter.unanswered(now),
            open: meter.open(),
            arrivals: meter.arrivals(now),
            quiet: roster.quiet(),
            live: roster.live(&leader.control().intents, now),
            list_age: roster.list_age(now),
            list_failed: false,
            booting_for: roster.booting_for(now),
            outstanding: requests.outstanding(),
            slots: roster.slots(slots),
            service: meter.service(),
            boot: meter.boot(),
            backoff: Duration::ZERO,
            idle: leader.permit(dry_run, now).err(),
            memory: Memory::default(),
        }
    }
}

/// The numbers a decision was made of, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub counters: Counters,
    pub unanswered: u64,
    pub arrivals: Arrivals,
    pub intended: u32,
    pub booting: u32,
    pub ready: u32,
    pub retiring: u32,
    pub terminating: u32,
    pub outstanding: u32,
    pub slots: u32,
    pub service_us: u64,
    pub boot_ms: u64,
    pub min: u32,
    pub max: u32,
    pub hold_ms: u64,
    pub target_ms: u64,
    /// The queue's counter of visible messages is taken to be stuck.
    pub stuck: bool,
}

pub(super) fn inputs(observation: &Observation, policy: &Policy, memory: &Memory) -> Inputs {
    let live = &observation.live;
    let hold = policy.hold.span(observation.boot);
    let whole = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
    Inputs {
        counters: observation.counters.map(|(counters, _)| counters).unwrap_or_default(),
        unanswered: observation.unanswered,
        arrivals: observation.arrivals,
        intended: live.intended,
        booting: live.booting,
        ready: live.ready,
        retiring: live.retiring,
        terminating: live.terminating,
        outstanding: observation.outstanding,
        slots: observation.slots,
        service_us: whole(observation.service.as_micros()),
        boot_ms: whole(observation.boot.as_millis()),
        min: policy.min,
        max: policy.max,
        hold_ms: whole(hold.as_millis()),
        target_ms: whole(policy.latency_target.as_millis()),
        stuck: memory.is_stuck(),
    }
}
