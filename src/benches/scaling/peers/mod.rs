//! What others would do with the same queue: the policies that ours is compared with, each as a pure state machine.
//!
//! Every one is written after its source's documents and code, which its file names; its tests hold it to examples that
//! those work out. Where a document says nothing, the file says what was taken, and it was taken in the reference's
//! favour. Nothing here knows bellows: whoever runs a policy hands it a `Sight` every `period_seconds` and does as the
//! `Wish` says.
//!
//! In the references' favour, for all: an instance serves one request at a time and is a pod with a node of its own
//! (no cluster autoscaler takes its time, no node outlives its pod), and instances that were asked to end are billed
//! by the same rules as ours.

pub mod buildkite;
pub mod fixed;
pub mod hpa;
pub mod keda;
pub mod knative;
pub mod target_tracking;
pub mod victims;

/// What a system sees in life. Each uses only the fields that its source says it has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sight {
    /// Messages that could be received, as the queue's counters have it: late, and at times wrong.
    pub visible: u64,
    /// Messages received and not deleted yet, from the same read.
    pub in_flight: u64,
    /// Requests that were accepted and not answered yet, as a mean over the time since the last tick: exact, since it
    /// is known to a proxy that every request passes through. Zero, and not nearly zero, where there were none.
    pub concurrency: f64,
    /// Launched, not running yet.
    pub pending: u32,
    /// Running and billed, not taking work yet.
    pub starting: u32,
    /// Taking work or working.
    pub ready: u32,
    /// Instances that have ended of themselves since the run began (`Ending::Idle`).
    pub ended_idle: u64,
}

impl Sight {
    /// Instances that exist and were not asked to end: what Kubernetes counts as the replicas of a Deployment.
    pub fn live(&self) -> u32 {
        self.pending + self.starting + self.ready
    }

    /// Instances that an Auto Scaling group has in service: it knows nothing of what they run.
    pub fn in_service(&self) -> u32 {
        self.starting + self.ready
    }
}

/// What a policy wants until its next tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// Instances that are pending, starting or ready: too few are launched at once, too many end as `ending` says.
    pub wanted: u32,
    pub ending: Ending,
}

/// How instances come to an end. One that was asked to takes no more work, finishes what it has, and is gone at the
/// latest after its grace; what it had then comes back to the queue when its visibility runs out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// In the order in which a ReplicaSet deletes pods (`victims::deletion_order`), whether they are busy or not.
    Pods { grace_seconds: u64 },
    /// At random, whether they are busy or not.
    Random { grace_seconds: u64 },
    /// None is ever chosen: whoever has had no work for so long ends of itself, and `wanted` falls with it.
    Idle { after_seconds: u64 },
}

/// A reference. Time is in whole seconds since the run began: all of these tick on the second.
pub trait Policy {
    /// Seconds from one tick to the next; the first is at 0.
    fn period_seconds(&self) -> u64;
    fn tick(&mut self, now_seconds: u64, sight: &Sight) -> Wish;
}

/// A row of the tables.
pub struct Row {
    pub name: &'static str,
    pub policy: Box<dyn Policy>,
}

/// The acceptable latency that target tracking is given, as `target_tracking::DEFAULT` has it for 2 s of service.
const ACCEPTABLE_SECONDS: f64 = 10.0;

/// Every reference with its defaults and tuned for a pool of instances that serve one request at a time.
/// `trace_seconds` is when the last request has arrived: a fixed pool is kept until then. `service_seconds` is what a
/// request takes: AWS's guide makes its target of it.
pub fn rows(max: u32, trace_seconds: u64, service_seconds: f64) -> Vec<Row> {
    let tracking =
        target_tracking::Settings { target: ACCEPTABLE_SECONDS / service_seconds, ..target_tracking::DEFAULT };
    let row = |name, policy| Row { name, policy };
    vec![
        row("fixed-max", Box::new(fixed::Fixed::new(max, trace_seconds))),
        row("keda", Box::new(keda::Keda::new(keda::DEFAULT, max))),
        row("keda, 1 per pod", Box::new(keda::Keda::new(keda::ONE_PER_POD, max))),
        row("keda, tuned", Box::new(keda::Keda::new(keda::TUNED, max))),
        row("knative", Box::new(knative::Knative::new(knative::DEFAULT, max))),
        row("knative, tuned", Box::new(knative::Knative::new(knative::TUNED, max))),
        row("buildkite", Box::new(buildkite::Buildkite::new(buildkite::DEFAULT, max))),
        row("buildkite, scaler alone", Box::new(buildkite::Buildkite::new(buildkite::ALONE, max))),
        row("buildkite, tuned", Box::new(buildkite::Buildkite::new(buildkite::TUNED, max))),
        row("target tracking", Box::new(target_tracking::TargetTracking::new(tracking, max))),
        row("target tracking, tuned", Box::new(target_tracking::TargetTracking::new(target_tracking::TUNED, max))),
    ]
}

#[cfg(test)]
mod tests;
