//! The app tier: takes requests from the queue, classifies, stores the result, answers, and only then deletes.
//!
//! One task receives and owns the state machine (`intake`); each message has a task of its own (`job`) that keeps its
//! lease (`lease`) from the moment it is received. Beside them one task looks for terminate requests (`retire`).

mod intake;
mod job;
mod lease;
mod retire;

use crate::edge::bucket::Bucket;
use crate::edge::engine::Engine;
use crate::edge::host::{Ending, Host};
use crate::edge::queue::Queue;
use bellows_core::answer::Worker;
use bellows_core::message::{self, Endings, Notice, Report, VERSION, WorkerState};
use bellows_core::pool::{AppTierId, InstanceId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use intake::run;

/// What an app-tier process reaches of the world.
#[derive(Clone, Debug)]
pub struct Edges {
    pub requests: Queue,
    pub dead: Queue,
    pub responses: Queue,
    pub terminate_requests: Queue,
    pub notices: Queue,
    pub input: Bucket,
    pub output: Bucket,
    pub engine: Engine,
    pub host: Host,
}

/// What an app-tier process is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub identity: Identity,
    /// Images classified at once.
    pub sessions: usize,
    /// Model and engine, as answers name them.
    pub model: bellows_core::answer::Model,
    /// Longest work on one message.
    pub job_deadline: Duration,
    /// The original's added delay after each image.
    pub pause: Duration,
    /// How long a lease lasts, and how often it is renewed.
    pub visibility: Duration,
    pub heartbeat: Duration,
    /// A request older than this is answered `expired`.
    pub request_ttl: Duration,
    /// Whether the original's `<stem>` objects are written.
    pub label_objects: bool,
    /// Between two reports, until the control object says it.
    pub report_every: Duration,
    pub started: Instant,
    /// Cancelled when this machine is to be taken away.
    pub evicted: CancellationToken,
}

/// Which member of the pool this process is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
}

impl Identity {
    fn worker(&self) -> Worker {
        Worker { app_tier_id: self.app_tier_id.0, instance_id: self.instance_id.0.clone() }
    }
}

/// Counts since process start, as reports carry them.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    jobs: u64,
    busy: Duration,
    endings: Endings,
}

/// Edges and settings, shared by all tasks of the process.
#[derive(Clone, Debug)]
struct App {
    edges: Arc<Edges>,
    settings: Arc<Settings>,
    /// Between two reports, in milliseconds: as the control object had it when it was last read.
    report_every_ms: Arc<AtomicU64>,
}

impl App {
    fn new(edges: Edges, settings: Settings) -> App {
        let report_every_ms = Arc::new(AtomicU64::new(settings.report_every.as_millis() as u64));
        App { edges: Arc::new(edges), settings: Arc::new(settings), report_every_ms }
    }

    /// Tells the controller how this worker fares. Best effort: a lost report does no harm.
    async fn report(&self, state: WorkerState, tally: Tally, in_hand: usize, boot: Duration) {
        let up = self.settings.started.elapsed() * self.settings.sessions as u32;
        let report = Notice::Report(Report {
            v: VERSION,
            app_tier_id: self.settings.identity.app_tier_id,
            instance_id: self.settings.identity.instance_id.clone(),
            state,
            slots: self.settings.sessions as u32,
            jobs: tally.jobs,
            busy_ms: tally.busy.as_millis() as u64,
            idle_ms: up.saturating_sub(tally.busy).as_millis() as u64,
            boot_ms: boot.as_millis() as u64,
            in_hand: in_hand as u32,
            endings: tally.endings,
        });
        let Ok(body) = message::encode(&report) else { return };
        if let Err(e) = self.edges.notices.send(body).await {
            tracing::warn!(error = %e, "a report was not sent");
        }
    }

    fn report_every(&self) -> Duration {
        Duration::from_millis(self.report_every_ms.load(Ordering::Relaxed))
    }

    fn end(&self, ending: Ending) {
        self.edges.host.end(ending);
    }
}
