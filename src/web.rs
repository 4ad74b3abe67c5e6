//! The web tier: takes uploads, makes them durable, waits for their answers, and says no in time and in words.
//!
//! `submit` is the seam: above it is HTTP, below it are edges, and the simulator drives it directly.

mod access;
mod batch;
mod compat;
mod direct;
mod inspect;
mod live;
mod memory;
mod page;
mod peer;
mod refusal;
mod reply;
mod responses;
mod results;
mod routes;
mod server;
mod submit;
mod upload;
mod waiters;

pub use direct::Outcome;
pub use refusal::Refusal;
pub use server::{serve, serve_metrics};

use crate::config::{ResponseFormat, Token};
use crate::edge::bucket::Bucket;
use crate::edge::host::Host;
use crate::edge::queue::Queue;
use crate::metrics::Metrics;
use crate::status::Status;
use access::Access;
use memory::Budget;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use waiters::Waiters;

/// What the web tier reaches of the world.
#[derive(Clone, Debug)]
pub struct Edges {
    pub requests: Queue,
    pub responses: Queue,
    pub input: Bucket,
    pub output: Bucket,
    pub host: Host,
}

/// What the web tier is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest wait for an answer before a 202.
    pub wait: Duration,
    /// How long waiters are kept after a stop.
    pub drain: Duration,
    pub header_timeout: Duration,
    /// Longest time for a whole body.
    pub body_timeout: Duration,
    /// Largest body, in bytes.
    pub max_body: u64,
    /// Most parts of a form, other fields counted.
    pub max_files: usize,
    pub max_connections: usize,
    /// Bytes of bodies in memory at once.
    pub body_budget: u64,
    pub response_format: ResponseFormat,
    /// Who may upload, and read results and decisions; everybody where there are none, or `allow_anonymous`.
    pub tokens: Vec<Token>,
    pub allow_anonymous: bool,
    /// An input object younger than this may still get its answer.
    pub request_ttl: Duration,
    /// Name of the queue that brings our answers.
    pub reply_to: String,
    /// For crash tests only: see [`submit`].
    pub barrier: Option<PathBuf>,
}

/// The web tier of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Web(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    edges: Edges,
    settings: Settings,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    access: Access,
    waiters: Waiters,
    budget: Budget,
    /// Places for those who follow `/live`.
    listeners: Arc<Semaphore>,
    /// Cancelled when those who still wait shall get a 202.
    dismissed: CancellationToken,
}

impl Web {
    pub fn new(edges: Edges, settings: Settings, metrics: Arc<Metrics>, status: Arc<Status>) -> Web {
        let budget = Budget::new(settings.body_budget.max(settings.max_body));
        let (waiters, dismissed) = (Waiters::default(), CancellationToken::new());
        let listeners = Arc::new(Semaphore::new(live::LISTENERS));
        let access = Access::new(&settings.tokens, settings.allow_anonymous);
        Web(Arc::new(Inner { edges, settings, metrics, status, access, waiters, budget, listeners, dismissed }))
    }

    /// Starts the loop that brings answers to those who wait.
    pub fn start(&self) {
        let web = self.clone();
        let host = &self.0.edges.host;
        host.spawn("responses", host.turning.watch("responses", async move { responses::run(web).await }));
    }

    /// Images that somebody waits for.
    pub fn waiting(&self) -> usize {
        self.0.waiters.len()
    }

    /// Bytes of bodies that may come in now, beside those that are in memory: `body_budget` where there are none.
    pub fn room(&self) -> u64 {
        self.0.budget.room()
    }
}
