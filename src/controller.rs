//! The controller: one actor that sees the queues and the fleet, and makes the pool follow the work.
//!
//! It becomes the leader (`lease`), and then goes round: hear the workers (`notices`), list the fleet and read the
//! queues (`observe`), decide (`bellows_core::scale`), and act in the order that a crash at any point leaves whole
//! (`act`): what is to be launched is written into the control object first (`lease`). What it knows goes to the page, the
//! probes and the metrics (`publish`). Beside it, old objects are swept away (`sweep`).

mod act;
mod dead_letters;
mod lead;
mod lease;
mod notices;
mod observe;
mod publish;
mod sweep;

use crate::edge::bucket::Bucket;
use crate::edge::fleet::Fleet;
use crate::edge::host::Host;
use crate::edge::queue::Queue;
use crate::metrics::{Loop, Metrics};
use crate::status::Status;
use bellows_core::estimate::Priors;
use bellows_core::scale::Policy;
use lead::Lead;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the controller reaches of the world.
#[derive(Clone, Debug)]
pub struct Edges {
    pub requests: Queue,
    pub responses: Queue,
    pub terminate_requests: Queue,
    pub notices: Queue,
    pub dead: Queue,
    pub input: Bucket,
    pub output: Bucket,
    pub fleet: Fleet,
    pub host: Host,
}

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name in the control object: an instance id, or a random one.
    pub owner: String,
    /// A lock says already that nobody else leads.
    pub entitled: bool,
    pub policy: Policy,
    pub tick: Duration,
    /// Decide and record, but do nothing.
    pub dry_run: bool,
    /// What an instance costs.
    pub instance_usd_per_hour: f64,
    pub priors: Priors,
    /// Images an instance works on at once, until one has said so.
    pub slots: u32,
    pub job_deadline: Duration,
    /// Workers report at least so often.
    pub report_every: Duration,
    /// How long an instance that no list shows counts; zero where lists are exact.
    pub unlisted_grace: Duration,
    /// How long a receive of terminate requests waits before the queue is believed to be empty, and for how long what it
    /// brings is ours.
    pub cancel_wait: Duration,
    pub visibility: Duration,
    /// Most accepted and unanswered images, and how long uploads wait for their answer.
    pub max_backlog: Option<u64>,
    pub web_wait: Duration,
    pub retention: Retention,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// A request not begun by then is answered `expired`.
    pub request_ttl: Duration,
    /// Ages at which we delete inputs and results; none where the buckets do that themselves.
    pub objects: Option<(Duration, Duration)>,
}

/// What every part of the controller has at hand.
#[derive(Clone, Debug)]
struct Context {
    edges: Edges,
    settings: Settings,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    started: Instant,
}

impl Context {
    /// Since the controller started: what deadlines are made of.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Runs until `stop`, then lets every instance that lives by this process finish what it holds and end, and waits for
/// that, at most `finish`.
pub async fn run(
    edges: Edges,
    settings: Settings,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    stop: CancellationToken,
    finish: Duration,
) {
    let context = Context { edges, settings, metrics, status, started: Instant::now() };
    let (sweeping, swept) = (context.clone(), stop.clone());
    context.edges.host.spawn("sweep", async move { sweeping.sweep_on(&swept).await });
    while let Some(leader) = context.take_over(&stop).await {
        Lead::new(context.clone(), leader).serve(&stop).await;
        context.metrics.set_leader(false);
    }
    context.metrics.loop_ended(Loop::Controller);
    context.edges.fleet.release(finish).await;
}
