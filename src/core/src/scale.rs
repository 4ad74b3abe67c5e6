//! How many instances there shall be. `decide` is pure: the same observation and policy give the same decision, byte
//! for byte. The state that it needs from one decision to the next is in the observation and in the decision.
//!
//! Demand (`demand`) is what waits or is worked on; a rule (`per_request`, `backlog`, `deadline`) makes it the number
//! of instances needed; the hold keeps what was needed of late; clamps bound it; what differs from the instances that
//! serve is cancelled, launched or asked to retire.

mod backlog;
mod deadline;
mod demand;
mod hold;
mod observation;
mod peaks;
mod per_request;
#[cfg(test)]
mod tests;

pub use hold::Memory;
pub use observation::{Counters, Inputs, Observation};

use crate::control::Idle;
use crate::pool::AppTierId;
use hold::Held;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Reads older than this are stale: nothing scales in on their account.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub rule: Rule,
    pub min: u32,
    pub max: u32,
    pub hold: Hold,
    /// How long an image may take once an instance runs.
    pub latency_target: Duration,
    /// How far the counters may lag behind; zero where they are exact.
    pub counter_lag: Duration,
}

/// How the need is worked out from the demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    PerRequest,
    Backlog,
    Deadline,
}

/// For how long the pool keeps what it has needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Fixed(Duration),
    /// Three measured boots, at least so long: a hold shorter than a boot is worse than none.
    Boots(Duration),
}

impl Hold {
    pub fn span(self, boot: Duration) -> Duration {
        match self {
            Hold::Fixed(span) => span,
            Hold::Boots(least) => boot.saturating_mul(3).max(least),
        }
    }
}

/// What kept a decision from being what the rule alone says: the last one that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clamp {
    /// pool.max_instances.
    Max,
    /// pool.min_instances.
    Min,
    /// More was needed within the hold.
    Hold,
    /// Queue or fleet could not be read of late: no scale-in.
    Stale,
    /// The fleet was never listed: no launch.
    Unlisted,
    /// Instances that end still count: no room below the maximum.
    Room,
    /// No app-tier id is free.
    Ids,
    /// Launches failed a moment ago.
    Backoff,
    Paused,
    DryRun,
    /// The lease ran out or is lost.
    Lease,
}

/// Numbers of instances to act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actions {
    /// Terminate requests to take back.
    pub cancel: u32,
    pub launch: u32,
    /// Terminate requests to send.
    pub request: u32,
}

impl Actions {
    pub fn is_none(self) -> bool {
        self == Actions::default()
    }
}

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Requests that wait or are worked on.
    pub demand: u64,
    /// Instances the rule asks for, before hold and clamps.
    pub need: u64,
    /// Instances there shall be.
    pub wanted: u32,
    /// Instances that serve or boot, less the terminate requests that are out. Below zero where more requests are out
    /// than instances are left.
    pub active: i64,
    /// What to do if every cancellation succeeds. None of it where the decision is idle.
    pub act: Actions,
    /// What would have been done but for a pause, a dry run or the lease.
    pub withheld: Actions,
    pub rule: Rule,
    pub clamp: Option<Clamp>,
    pub inputs: Inputs,
    /// Ids to launch, should no cancellation succeed.
    #[serde(skip)]
    ids: Vec<AppTierId>,
    /// For the next observation.
    #[serde(skip)]
    pub memory: Memory,
}

impl Decision {
    /// The ids to launch once it is known how many terminate requests were really taken back: in the place of those
    /// that workers hold already, instances are launched.
    pub fn launch_after(&self, cancelled: u32) -> &[AppTierId] {
        let rise = i64::from(self.wanted) - self.active - i64::from(cancelled);
        let count = usize::try_from(rise).unwrap_or(0).min(self.ids.len());
        &self.ids[..count]
    }
}

/// What a rule asks for, in instances.
struct Need {
    now: u64,
    /// No more than what is there above this is let go.
    keep: u64,
}

impl Need {
    fn only(now: u64) -> Need {
        Need { now, keep: now }
    }
}

/// Decides. Total: whatever the numbers, it neither panics nor asks for more than `policy.max`.
pub fn decide(observation: &Observation, policy: &Policy) -> Decision {
    let mut memory = observation.memory.clone();
    let demand = demand::demand(observation, policy, &mut memory);
    let need = match policy.rule {
        Rule::PerRequest => Need::only(per_request::need(demand, observation)),
        Rule::Backlog => Need::only(backlog::need(demand, observation, policy)),
        Rule::Deadline => deadline::need(demand, observation, policy, &mut memory.history),
    };
    let active = i64::from(observation.live.serving()) - i64::from(observation.outstanding);
    let Held { wanted, clamp } = hold::wanted(&need, active, observation, policy, &mut memory);
    let (plan, ids, clamp) = plan(wanted, active, clamp, observation, policy);
    let stopped = observation.idle.map(|idle| match idle {
        Idle::Paused => Clamp::Paused,
        Idle::DryRun => Clamp::DryRun,
        Idle::Lapsed | Idle::Lost => Clamp::Lease,
    });
    let none = Actions::default();
    let (act, withheld, ids) = if stopped.is_some() { (none, plan, Vec::new()) } else { (plan, none, ids) };
    let clamp = stopped.or(clamp);
    let inputs = observation::inputs(observation, policy, &memory);
    let rule = policy.rule;
    Decision { demand, need: need.now, wanted, active, act, withheld, rule, clamp, inputs, ids, memory }
}

/// Cancel first, launch the rest; or ask to retire.
fn plan(
    wanted: u32,
    active: i64,
    clamp: Option<Clamp>,
    observation: &Observation,
    policy: &Policy,
) -> (Actions, Vec<AppTierId>, Option<Clamp>) {
    let rise = i64::from(wanted) - active;
    let count = |instances: i64| u32::try_from(instances.max(0)).unwrap_or(u32::MAX);
    if rise <= 0 {
        // a launch whose outcome is open is nobody who could be asked so far
        let there = i64::from(observation.live.booting.saturating_add(observation.live.ready));
        let request = count((-rise).min(there - i64::from(observation.outstanding)));
        return (Actions { request, ..Actions::default() }, Vec::new(), clamp);
    }
    let cancel = count(rise).min(observation.outstanding);
    let rest = count(rise - i64::from(cancel));
    let live = &observation.live;
    let mut ids = live.free(policy.max);
    let room = policy.max.saturating_sub(live.total());
    let (most, why) = if !live.known {
        (0, Clamp::Unlisted)
    } else if !observation.backoff.is_zero() {
        (0, Clamp::Backoff)
    } else if room as usize <= ids.len() {
        (room, Clamp::Room)
    } else {
        (ids.len() as u32, Clamp::Ids)
    };
    ids.truncate(most.min(count(rise)) as usize);
    let clamp = if most < rest { Some(why) } else { clamp };
    (Actions { cancel, launch: rest.min(most), request: 0 }, ids, clamp)
}
