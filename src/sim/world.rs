//! The world: what all processes share.

use super::bill::Bill;
use super::chance::{Chance, Refused};
use super::chaos::Chaos;
use super::machines::Machines;
use super::process::{Controller, Fault, Line, Point};
use crate::controller::{self, Retention};
use crate::edge;
use crate::edge::bucket::{self, Bucket};
use crate::edge::fleet::{self, Fleet};
use crate::edge::host::{Clock, Entropy, Host};

use crate::edge::nature::{Natural, Nature};
use crate::edge::queue::{self, Depth, Queue};
use crate::edge::wire::Wire;
use crate::metrics::Metrics;
use crate::status::Status;
use bellows_core::control::Control;
use bellows_core::estimate::Priors;
use bellows_core::key::{self, RequestId};
use bellows_core::message::{self, Request, VERSION};
use bellows_core::pool::{InstanceId, Named, State, UNLISTED_GRACE};
use bellows_core::scale::Policy;
use bellows_core::time::Timestamp;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// When every world begins: 2026-01-01T00:00:00Z.
pub const BEGIN: Timestamp = Timestamp(1_767_225_600_000);

/// What stands behind the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Processes of the controller: exact lists, and nobody outlives it for long.
    Processes,
    /// Machines of their own: lists that are right only in the end.
    Machines,
}

/// How the world is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub kind: Kind,
    pub policy: Policy,
    pub seed: u64,
    pub boot: Duration,
    pub ending: Duration,
    /// How old a machine is before a list shows it: right only in the end, as EC2 is.
    pub lists_after: Duration,
    /// Engine time of an image, and the pause after it.
    pub service: Duration,
    pub pause: Duration,
    pub visibility: Duration,
    pub job_deadline: Duration,
    pub report_every: Duration,
    pub tick: Duration,
    pub dry_run: bool,
    pub retention: Retention,
}

/// Cheap to clone; all clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    pub settings: Arc<Settings>,
    pub host: Host,
    pub requests: queue::memory::Queue,
    pub dead: queue::memory::Queue,
    pub responses: queue::memory::Queue,
    pub terminate_requests: queue::memory::Queue,
    pub notices: queue::memory::Queue,
    pub input: bucket::memory::Bucket,
    pub output: bucket::memory::Bucket,
    pub fleet: fleet::memory::Fleet,
    pub(super) machines: Machines,
    pub(super) chance: Chance,
    /// What instances would cost.
    pub bill: Bill,
    /// What goes wrong by itself; none: nothing does.
    pub(super) chaos: Option<Arc<Chaos>>,
}

impl World {
    /// A world without controllers and machines. Call it inside a runtime whose clock is paused.
    pub fn new(settings: Settings) -> edge::Result<World> {
        World::with(settings, Chance::default())
    }

    /// The same, where some things are left to chance.
    pub fn with(settings: Settings, chance: Chance) -> edge::Result<World> {
        World::within(settings, chance, None)
    }

    /// The same, where what `chaos` draws goes wrong, and it sees all that happens.
    pub fn within(settings: Settings, chance: Chance, chaos: Option<Arc<Chaos>>) -> edge::Result<World> {
        let host = Host::new(Clock::virtual_from(BEGIN), Entropy::seeded(settings.seed));
        let refused = chance.refused.map(|(from, until)| {
            let (from, until) = (BEGIN.plus(from), BEGIN.plus(until));
            Arc::new(Refused { clock: host.clock.clone(), from, until }) as Arc<dyn Nature>
        });
        let nature = chaos.clone().map(|chaos| chaos as Arc<dyn Nature>).or(refused);
        let natural = nature.map(Natural::new).unwrap_or_default();
        let late = queue::memory::Late { seed: settings.seed, ..chance.counters };
        let store = queue::memory::Store::within(host.clock.clone(), late, natural.clone());
        let open = |name: &str, dead_letters| {
            let (visibility, retention) = (settings.visibility, Duration::from_hours(96));
            store.queue(queue::Settings { name: name.into(), visibility, retention, dead_letters })
        };
        let processes = settings.kind == Kind::Processes;
        let lists_dead_for = Duration::from_secs(if processes { 5 } else { 3600 });
        let lists_after = settings.lists_after;
        let places = if processes || chaos.is_none() { 0 } else { 4 };
        let (fleet, orders) = fleet::memory::Fleet::within(
            host.clock.clone(),
            host.entropy.clone(),
            fleet::memory::Settings { processes, lists_dead_for, lists_after, places },
            natural.clone(),
        );
        let bucket = |name| bucket::memory::Bucket::within(host.clock.clone(), name, natural.clone());
        let world = World {
            requests: open("request_queue", Some((10, "dead_letter_queue".into())))?,
            dead: open("dead_letter_queue", None)?,
            responses: open("response_queue", None)?,
            terminate_requests: open("terminate_request_queue", None)?,
            notices: open("terminate_confirm_queue", None)?,
            input: bucket("input"),
            output: bucket("output"),
            fleet,
            machines: Machines::default(),
            chance,
            bill: Bill::default(),
            chaos,
            settings: Arc::new(settings),
            host,
        };
        world.host.spawn("machines", world.clone().run_machines(orders));
        Ok(world)
    }

    /// An instance is in this state now.
    pub(super) fn become_(&self, id: &InstanceId, state: State) {
        self.fleet.become_(id, state);
        self.bill.became(id, state, self.host.clock.now());
    }

    /// How many instances were ended by somebody else while an image was in their hands.
    pub fn interrupted(&self) -> u64 {
        self.machines.interrupted.load(Ordering::Relaxed)
    }

    pub(super) fn queue(queue: &queue::memory::Queue, wire: &Wire) -> Queue {
        Queue::Memory(queue.over(wire.clone()))
    }

    pub(super) fn bucket(bucket: &bucket::memory::Bucket, wire: &Wire) -> Bucket {
        Bucket::Memory(bucket.over(wire.clone()))
    }

    /// Starts a process that runs a controller, with faults at points of its calls.
    pub fn start_controller(&self, owner: &str, faults: Vec<(Point, Fault)>) -> Controller {
        let host = Host::new(self.host.clock.clone(), self.host.entropy.clone());
        let line = Line::new(host.clone(), owner, faults, self.chaos.clone());
        let edges = self.controller_edges(&line.wire(), &host);
        let (metrics, status) = (Arc::new(Metrics::new(host.clock.now())), Arc::new(Status::new(0)));
        let stop = CancellationToken::new();
        let settings = self.controller_settings(owner);
        let finish = self.settings.job_deadline * 2;
        host.spawn(
            "controller",
            controller::run(edges, settings, metrics.clone(), status.clone(), stop.clone(), finish),
        );
        Controller { host, line, stop, status, metrics }
    }

    pub(super) fn controller_edges(&self, wire: &Wire, host: &Host) -> controller::Edges {
        controller::Edges {
            requests: World::queue(&self.requests, wire),
            responses: World::queue(&self.responses, wire),
            terminate_requests: World::queue(&self.terminate_requests, wire),
            notices: World::queue(&self.notices, wire),
            dead: World::queue(&self.dead, wire),
            input: World::bucket(&self.input, wire),
            output: World::bucket(&self.output, wire),
            fleet: Fleet::Memory(self.fleet.over(wire.clone())),
            host: host.clone(),
        }
    }

    pub(super) fn controller_settings(&self, owner: &str) -> controller::Settings {
        let (settings, processes) = (&self.settings, self.settings.kind == Kind::Processes);
        let truth = Priors { service: settings.service + settings.pause, boot: settings.boot };
        controller::Settings {
            owner: owner.into(),
            entitled: processes,
            policy: settings.policy,
            tick: settings.tick,
            dry_run: settings.dry_run,
            instance_usd_per_hour: 0.0,
            priors: self.chance.priors.unwrap_or(truth),
            slots: 1,
            job_deadline: settings.job_deadline,
            report_every: settings.report_every,
            unlisted_grace: if processes { Duration::ZERO } else { UNLISTED_GRACE },
            cancel_wait: if processes { Duration::ZERO } else { Duration::from_secs(1) },
            visibility: settings.visibility,
            max_backlog: None,
            web_wait: Duration::from_mins(5),
            retention: settings.retention,
        }
    }

    /// The parent of all processes is gone: they finish and end. Machines do not care.
    pub fn orphan(&self) {
        if self.settings.kind == Kind::Processes {
            self.machines.orphan(self);
        }
    }

    /// kill -9 of a worker; what it holds comes back by visibility.
    pub fn kill_worker(&self, id: &InstanceId) -> bool {
        self.machines.kill(id)
    }

    /// A worker does nothing any more, and nobody sees it end.
    pub fn hang_worker(&self, id: &InstanceId) -> bool {
        self.machines.hang(id)
    }

    /// A machine is told that it will be taken away (a spot notice). False where no worker runs on it.
    pub fn evict_worker(&self, id: &InstanceId) -> bool {
        self.machines.worker(id).inspect(|worker| worker.evicted.cancel()).is_some()
    }

    /// From now on every call of this name by this worker fails without effect. False where none runs.
    pub fn fail_worker(&self, id: &InstanceId, operation: &'static str, kind: edge::Kind) -> bool {
        self.machines.worker(id).inspect(|worker| worker.line.fail(Some((operation, kind)))).is_some()
    }

    /// So many of the next launches never become ready.
    pub fn next_are_duds(&self, count: u32) {
        self.machines.duds.store(count, Ordering::Relaxed);
    }

    /// The `n`-th image: input, then message.
    pub async fn upload(&self, n: u128) -> edge::Result<RequestId> {
        self.send(n, "").await
    }

    /// The same; whoever answers it also sends a response.
    pub async fn submit(&self, n: u128) -> edge::Result<RequestId> {
        self.send(n, "response_queue").await
    }

    async fn send(&self, n: u128, reply_to: &str) -> edge::Result<RequestId> {
        let wire = Wire::default();
        let id = RequestId(Uuid::from_u128(n));
        let key = key::input(id, "a.png");
        let image = Bytes::copy_from_slice(&(n as u64).to_le_bytes());
        World::bucket(&self.input, &wire).put(&key, image).await?;
        let (reply_to, submitted_at) = (reply_to.to_owned(), self.host.clock.now());
        let request = Request { v: VERSION, request_id: id, filename: "a.png".into(), key, reply_to, submitted_at };
        World::queue(&self.requests, &wire).send(message::encode(&request).unwrap_or_default()).await?;
        Ok(id)
    }

    /// Whether there is a result.
    pub async fn is_answered(&self, id: RequestId) -> edge::Result<bool> {
        Ok(World::bucket(&self.output, &Wire::default()).get(&key::result(id)).await?.is_some())
    }

    /// The control object, where there is one that reads.
    pub async fn control(&self) -> Option<Control> {
        let object = World::bucket(&self.output, &Wire::default()).get(key::CONTROL).await.ok()??;
        Control::parse(&object.bytes).ok()
    }

    pub fn live(&self) -> Vec<Named> {
        self.fleet.live()
    }

    /// The queue of responses, for whoever waits.
    pub fn responses(&self) -> Queue {
        World::queue(&self.responses, &Wire::default())
    }

    /// What the counters of the queue of requests say now: as late as this world has them.
    pub async fn counted(&self) -> edge::Result<Depth> {
        World::queue(&self.requests, &Wire::default()).depth().await
    }

    /// An answered request's objects have come of age.
    pub async fn forget(&self, id: RequestId) -> edge::Result<()> {
        World::bucket(&self.input, &Wire::default()).delete(&key::input(id, "a.png")).await?;
        World::bucket(&self.output, &Wire::default()).delete(&key::result(id)).await
    }

    /// Messages in all queues.
    pub async fn messages(&self) -> edge::Result<u64> {
        let queues = [&self.requests, &self.dead, &self.responses, &self.terminate_requests, &self.notices];
        let mut total = 0;
        for queue in queues {
            total += World::queue(queue, &Wire::default()).depth().await?.total();
        }
        Ok(total)
    }
}
