//! Machines: they boot, run an app-tier process, and end; as processes of their controller, or for themselves.

use super::process::Line;
use super::world::{Kind, World};
use crate::app;
use crate::edge::engine::Engine;
use crate::edge::fleet::memory::Order;
use crate::edge::host::Host;
use bellows_core::answer::Model;
use bellows_core::pool::{InstanceId, Named, State};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// So long beyond the longest job an orphan may hold its lock.
const ORPHANED: Duration = Duration::from_secs(30);

/// The app-tier processes that run, by instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Machines {
    hosts: Arc<Mutex<BTreeMap<InstanceId, Host>>>,
    /// What reaches each of them from outside its edges.
    workers: Arc<Mutex<BTreeMap<InstanceId, Worker>>>,
    /// So many of the next launches never become ready.
    pub(super) duds: Arc<AtomicU32>,
    /// So many were ended by somebody else while an image was in their hands.
    pub(super) interrupted: Arc<AtomicU64>,
}

/// An app-tier process as those see it who disturb it.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) line: Arc<Line>,
    pub(super) evicted: CancellationToken,
    /// An image is in the engine.
    busy: Arc<AtomicBool>,
}

impl Machines {
    /// One that has started; none: it boots, or never will.
    pub(super) fn worker(&self, id: &InstanceId) -> Option<Worker> {
        self.workers().get(id).cloned()
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dud(&self) -> bool {
        self.duds.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Their parent is gone: processes finish what they hold.
    pub(super) fn orphan(&self, world: &World) {
        for (id, host) in &*self.hosts() {
            host.stop.cancel();
            if host.is_killed() {
                // nobody reads the pipe of a process that hangs: whoever leads next kills it in time
                continue;
            }
            world.become_(id, State::ShuttingDown);
            let (world, id) = (world.clone(), id.clone());
            // by the lock that it holds: one that never became ready does not end by itself
            world.host.clone().spawn("orphan", async move {
                sleep(world.settings.job_deadline + ORPHANED).await;
                world.machines.kill(&id);
            });
        }
    }

    /// Whether it works on an image.
    fn is_busy(&self, id: &InstanceId) -> bool {
        self.worker(id).is_some_and(|worker| worker.busy.load(Ordering::Relaxed))
    }

    /// kill -STOP of one: it does nothing any more, and nobody sees it end.
    pub(super) fn hang(&self, id: &InstanceId) -> bool {
        self.hosts().get(id).inspect(|host| host.kill()).is_some()
    }

    /// kill -9 of one; false where it does not run.
    pub(super) fn kill(&self, id: &InstanceId) -> bool {
        let host = self.hosts().remove(id);
        if let Some(host) = &host {
            host.kill();
            host.end(crate::edge::host::Ending::Unavailable);
        }
        host.is_some()
    }
}

impl World {
    /// Machines on which nothing runs that could end them: they hang, or never became ready.
    pub(super) fn machines_without_worker(&self) -> u32 {
        let workers = self.machines.workers();
        let dead = |id: &InstanceId, host: &Host| host.is_killed() || !workers.contains_key(id);
        self.machines.hosts().iter().filter(|(id, host)| dead(id, host)).count() as u32
    }

    /// Does what the fleet orders.
    pub(super) async fn run_machines(self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Launch(named) => {
                    let world = self.clone();
                    self.host.spawn("machine", async move { world.run_machine(named).await });
                }
                Order::Terminate(id) => {
                    let interrupted = u64::from(self.machines.is_busy(&id));
                    self.machines.interrupted.fetch_add(interrupted, Ordering::Relaxed);
                    self.machines.kill(&id);
                    let (world, ending) = (self.clone(), self.settings.ending);
                    self.host.spawn("ending", async move {
                        sleep(ending).await;
                        world.become_(&id, State::Terminated);
                    });
                }
                Order::Release => self.machines.orphan(&self),
            }
        }
    }

    async fn run_machine(self, named: Named) {
        let id = &named.instance_id;
        let host = self.new_host(&id.0);
        self.machines.hosts().insert(id.clone(), host.clone());
        let nth = self.bill.launched(&named, self.host.clock.now());
        if self.boot(id, nth, &host).await {
            if !self.machines.is_dud() && !self.is_never_ready(&named) {
                self.start_worker(&named, &host);
            }
            host.ended().await;
        }
        // a process is gone with its exit; a machine powers itself off
        host.kill();
        self.machines.hosts().remove(id);
        self.machines.workers().remove(id);
        if self.settings.kind == Kind::Machines {
            self.become_(id, State::ShuttingDown);
            sleep(self.settings.ending).await;
        }
        self.become_(id, State::Terminated);
    }

    /// First nobody pays for it, then it runs and boots; false where it was ended meanwhile.
    async fn boot(&self, id: &InstanceId, nth: u64, host: &Host) -> bool {
        let (settings, chance) = (&self.settings, &self.chance);
        let (unbilled, rest) = chance.boot(settings.boot, settings.seed, nth);
        let rest = rest + self.slowed(id);
        let lives = || !host.is_killed() && !host.stop.is_cancelled();
        sleep(unbilled).await;
        if lives() {
            self.become_(id, State::Running);
            sleep(rest).await;
        }
        lives()
    }

    fn start_worker(&self, named: &Named, host: &Host) {
        let name = named.instance_id.0.as_str();
        let line = Line::new(host.clone(), name, Vec::new(), self.chaos.clone());
        let evicted = CancellationToken::new();
        let wire = line.wire();
        let busy = Arc::<AtomicBool>::default();
        let worker = Worker { line, evicted: evicted.clone(), busy: busy.clone() };
        self.machines.workers().insert(named.instance_id.clone(), worker);
        let (engine, work) = Engine::channel(1);
        host.spawn("engine", self.clone().classify(work, busy, host.clone(), name.to_owned()));
        let edges = app::Edges {
            requests: World::queue(&self.requests, &wire),
            dead: World::queue(&self.dead, &wire),
            responses: World::queue(&self.responses, &wire),
            terminate_requests: World::queue(&self.terminate_requests, &wire),
            notices: World::queue(&self.notices, &wire),
            input: World::bucket(&self.input, &wire),
            output: World::bucket(&self.output, &wire),
            engine,
            host: host.clone(),
        };
        let identity = app::Identity { app_tier_id: named.app_tier_id, instance_id: named.instance_id.clone() };
        let settings = app::Settings {
            identity,
            sessions: 1,
            model: Model { name: "sleep".into(), sha256: String::new(), engine: String::new() },
            job_deadline: self.settings.job_deadline,
            pause: self.settings.pause,
            visibility: self.settings.visibility,
            heartbeat: self.settings.visibility / 3,
            request_ttl: self.settings.retention.request_ttl,
            label_objects: false,
            report_every: self.settings.report_every,
            started: Instant::now(),
            evicted,
        };
        host.spawn("app", app::run(edges, settings));
    }
}
