//! One run: a trace meets a policy in a world, in virtual time, through the very role code of the daemon.

use super::bill::Lived;
use super::chance::{Chance, later};
use super::trace::Trace;
use super::world::{Settings, World};
use crate::edge;
use crate::edge::queue::BATCH;
use crate::edge::queue::MAX_WAIT;
use crate::status::Status;
use bellows_core::key::RequestId;
use bellows_core::message::{self, Parsed, Response};
use bellows_core::time::Timestamp;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// An answered request's objects stay so long: whoever receives it again finds its answer.
const KEEP_ANSWERED: Duration = Duration::from_mins(10);
/// After the last arrival: when what is not answered is lost, and a pool that is not at rest never will be.
const PATIENCE: Duration = Duration::from_hours(4);
/// Looks at the pool in a run, and the pause between two of them.
const LOOKS: u32 = 2000;
const LEAST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_LOOK: Duration = Duration::from_mins(1);
/// The longest latency that is told from longer ones, in milliseconds.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As people call the policy.
    pub policy: String,
    pub settings: Settings,
    pub chance: Chance,
    /// Later answers are misses.
    pub deadline: Duration,
}

/// The world at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Seconds since the trace began.
    pub at: f64,
    /// Requests that came since the look before, and that have no answer yet.
    pub arrived: u64,
    pub open: u64,
    /// Age of the oldest of them, in seconds.
    pub oldest: f64,
    pub wanted: u32,
    pub booting: u32,
    pub ready: u32,
    pub ending: u32,
    /// Largest latency of the answers since the look before, in seconds.
    pub slowest: f64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub policy: String,
    pub trace: String,
    pub seed: u64,
    pub requests: u64,
    /// Never answered.
    pub lost: u64,
    /// Instances that were ended while they worked.
    pub interrupted: u64,
    /// The largest pool, and whether it came back to its minimum.
    pub most: u32,
    pub rested: bool,
    /// Each instance's life, and when the trace began.
    pub lives: Vec<Lived>,
    pub began: Timestamp,
    pub instance_hours: f64,
    pub latencies: Histogram<u64>,
    pub misses: u64,
    pub decisions: u64,
    /// From the beginning to rest.
    pub span: Duration,
    pub looks: Vec<Look>,
}

/// Those who wait.
#[derive(Debug)]
struct Clients {
    open: BTreeMap<RequestId, Instant>,
    answered: VecDeque<(Instant, RequestId)>,
    latencies: Histogram<u64>,
    misses: u64,
    slowest: Duration,
    arrived: u64,
}

type Shared = Arc<Mutex<Clients>>;

fn lock(clients: &Shared) -> std::sync::MutexGuard<'_, Clients> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a trace to its end, and on until nothing is left. `progress` is told of requests that came, now and then.
pub fn run(plan: &Plan, trace: &Trace, progress: &dyn Fn(u64)) -> edge::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|e| edge::Error::io("sim.run", "a runtime", e))?;
    runtime.block_on(live(plan, trace, progress))
}

async fn live(plan: &Plan, trace: &Trace, progress: &dyn Fn(u64)) -> edge::Result<Outcome> {
    let world = World::with(plan.settings.clone(), plan.chance)?;
    let controller = world.start_controller("web", Vec::new());
    let latencies = Histogram::new_with_bounds(1, LONGEST_MS, 3)
        .map_err(|e| edge::Error::new(edge::Kind::Invalid, "sim.run", e.to_string()))?;
    let clients: Shared = Arc::new(Mutex::new(Clients {
        open: BTreeMap::new(),
        answered: VecDeque::new(),
        latencies,
        misses: 0,
        slowest: Duration::ZERO,
        arrived: 0,
    }));
    let reading = read(world.clone(), controller.status.clone(), clients.clone(), plan.deadline);
    world.host.spawn("clients", reading);
    let looks = Arc::<Mutex<Vec<Look>>>::default();
    let every = (trace.span() / LOOKS).clamp(LEAST_LOOK, LONGEST_LOOK);
    let began = Instant::now();
    world.host.spawn("looks", look(controller.status.clone(), clients.clone(), looks.clone(), every));

    let moment = world.host.clock.now();
    let later = later(plan.settings.seed);
    let (mut requests, mut told) = (0, 0);
    for at in trace.arrivals(plan.settings.seed) {
        sleep_until(began + later + at).await;
        requests += 1;
        let entering = controller.status.entering(RequestId(uuid::Uuid::from_u128(requests.into())), None);
        lock(&clients).came(RequestId(uuid::Uuid::from_u128(requests.into())));
        world.submit(requests.into()).await?;
        entering.accepted();
        let aged = lock(&clients).aged();
        for id in aged {
            world.forget(id).await?;
        }
        if requests - told >= 1000 {
            progress(requests - told);
            told = requests;
        }
    }
    progress(requests - told);
    let rested = rest(&world, &clients, plan.settings.policy.min).await?;
    Ok(outcome(plan, trace, &world, (began, moment, requests, rested), &controller.status, &clients, &looks))
}

/// Waits until all is answered and nothing is left; false where that does not come.
async fn rest(world: &World, clients: &Shared, min: u32) -> edge::Result<bool> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let open = lock(clients).open.len();
        if open == 0 && world.live().len() <= min as usize && world.messages().await? == 0 {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(false)
}

fn outcome(
    plan: &Plan,
    trace: &Trace,
    world: &World,
    (began, moment, requests, rested): (Instant, Timestamp, u64, bool),
    status: &Status,
    clients: &Shared,
    looks: &Mutex<Vec<Look>>,
) -> Outcome {
    let (clients, now, lives) = (lock(clients), world.host.clock.now(), world.bill.lives());
    let billed: Duration = lives.iter().map(|life| life.billed(&plan.chance, now)).sum();
    Outcome {
        policy: plan.policy.clone(),
        trace: trace.name.clone(),
        seed: plan.settings.seed,
        requests,
        lost: clients.open.len() as u64,
        interrupted: world.interrupted(),
        most: world.bill.most() as u32,
        rested,
        lives,
        began: moment,
        instance_hours: billed.as_secs_f64() / 3600.0,
        latencies: clients.latencies.clone(),
        misses: clients.misses + clients.open.len() as u64,
        decisions: status.ledger().next(),
        span: began.elapsed(),
        looks: looks.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    }
}

impl Clients {
    fn came(&mut self, id: RequestId) {
        self.open.insert(id, Instant::now());
        self.arrived += 1;
    }

    fn answered(&mut self, id: RequestId, deadline: Duration) {
        let Some(came) = self.open.remove(&id) else { return };
        let latency = came.elapsed();
        self.misses += u64::from(latency > deadline);
        self.slowest = self.slowest.max(latency);
        self.latencies.saturating_record(latency.as_millis().max(1) as u64);
        self.answered.push_back((Instant::now(), id));
    }

    /// How long the oldest request has waited. They come in the order of their ids.
    fn oldest(&self) -> Duration {
        self.open.first_key_value().map(|(_, came)| came.elapsed()).unwrap_or_default()
    }

    /// Those whose objects nobody needs any more.
    fn aged(&mut self) -> Vec<RequestId> {
        let young = |(at, _): &(Instant, RequestId)| at.elapsed() < KEEP_ANSWERED;
        let old = self.answered.iter().position(young).unwrap_or(self.answered.len());
        self.answered.drain(..old).map(|(_, id)| id).collect()
    }
}

/// Takes responses as the web tier does.
async fn read(world: World, status: Arc<Status>, clients: Shared, deadline: Duration) {
    let (queue, never) = (world.responses(), CancellationToken::new());
    loop {
        for delivery in queue.receive(BATCH, MAX_WAIT, &never).await.unwrap_or_default() {
            if let Parsed::Ok(response) = message::parse::<Response>(&delivery.body) {
                lock(&clients).answered(response.request_id, deadline);
                status.answered(response.request_id);
            }
            let _ = queue.delete(&delivery.receipt).await;
        }
    }
}

/// Looks at the pool again and again.
async fn look(status: Arc<Status>, clients: Shared, looks: Arc<Mutex<Vec<Look>>>, every: Duration) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(every).await;
        let pool = status.pool();
        let mut clients = lock(&clients);
        looks.lock().unwrap_or_else(PoisonError::into_inner).push(Look {
            at: began.elapsed().as_secs_f64(),
            arrived: std::mem::take(&mut clients.arrived),
            open: clients.open.len() as u64,
            oldest: clients.oldest().as_secs_f64(),
            wanted: pool.wanted,
            booting: pool.states.booting,
            ready: pool.states.ready,
            ending: pool.states.ending,
            slowest: std::mem::take(&mut clients.slowest).as_secs_f64(),
        });
    }
}
