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
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The app-tier processes that run, by instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Machines {
    hosts: Arc<Mutex<BTreeMap<InstanceId, Host>>>,
    /// What reaches each of them from outside its edges.
    workers: Arc<Mutex<BTreeMap<InstanceId, Worker>>>,
    /// So many of the next launches never become ready.
    pub(super) duds: Arc<AtomicU32>,
}

/// An app-tier process as those see it who disturb it.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) line: Arc<Line>,
    pub(super) evicted: CancellationToken,
}

impl Machines {
    /// One that has started; none: it boots, or never will.
    pub(super) fn worker(&self, id: &InstanceId) -> Option<Worker> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
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
            world.fleet.become_(id, State::ShuttingDown);
        }
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
        let workers = self.machines.workers.lock().unwrap_or_else(PoisonError::into_inner);
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
                    self.machines.kill(&id);
                    let (world, ending) = (self.clone(), self.settings.ending);
                    self.host.spawn("ending", async move {
                        sleep(ending).await;
                        world.fleet.become_(&id, State::Terminated);
                    });
                }
                Order::Release => self.machines.orphan(&self),
            }
        }
    }

    async fn run_machine(self, named: Named) {
        let host = self.new_host(&named.instance_id.0);
        self.machines.hosts().insert(named.instance_id.clone(), host.clone());
        sleep(self.boot_of(&named)).await;
        if !host.is_killed() && !host.stop.is_cancelled() {
            self.fleet.become_(&named.instance_id, State::Running);
            if !self.machines.is_dud() && !self.is_never_ready(&named) {
                self.start_worker(&named, &host);
            }
            host.ended().await;
        }
        // a process is gone with its exit; a machine powers itself off
        host.kill();
        self.machines.hosts().remove(&named.instance_id);
        if self.settings.kind == Kind::Machines {
            self.fleet.become_(&named.instance_id, State::ShuttingDown);
            sleep(self.settings.ending).await;
        }
        self.fleet.become_(&named.instance_id, State::Terminated);
    }

    fn start_worker(&self, named: &Named, host: &Host) {
        let name = named.instance_id.0.as_str();
        let line = Line::new(host.clone(), name, Vec::new(), self.chaos.clone());
        let evicted = CancellationToken::new();
        let wire = line.wire();
        let worker = Worker { line, evicted: evicted.clone() };
        let mut workers = self.machines.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.insert(named.instance_id.clone(), worker);
        let (engine, work) = Engine::channel(1);
        host.spawn("engine", self.clone().classify(work, host.clone(), name.to_owned()));
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
