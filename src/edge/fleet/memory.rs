//! A fleet in memory, for the simulator and for tests. What its machines do is the world's affair: it is told of launches
//! and ends through a channel, and says how machines fare.

use super::Api;
use crate::edge::host::{Clock, Entropy};
use crate::edge::nature::{Event, Natural, Odd};
use crate::edge::wire::Wire;
use crate::edge::{Error, Kind, Result};
use bellows_core::control::{Intent, Spec};
use bellows_core::message::Epoch;
use bellows_core::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, Place, Refusals, State};
use bellows_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// What the world is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Launch(Named),
    Terminate(InstanceId),
    /// The process that launched these ends, and they live by it.
    Release,
}

/// Events that wait for the world: more than a round of the controller makes.
const ORDERS: usize = 4096;

/// How a fleet behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Machines live by their parent, as processes do; else they go on without it.
    pub processes: bool,
    /// How long a machine that has ended is still listed.
    pub lists_dead_for: Duration,
    /// How old a machine is before a list shows it.
    pub lists_after: Duration,
    /// So many places, two types in each zone, of which each may be full; 0: there is but one.
    pub places: usize,
}

/// Cheap to clone; all clones see the same machines.
#[derive(Clone, Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    /// What this process knows of full places.
    refusals: Arc<Mutex<Refusals>>,
    pub(super) wire: Wire,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    entropy: Entropy,
    natural: Natural,
    settings: Settings,
    machines: Mutex<BTreeMap<InstanceId, Machine>>,
    orders: mpsc::Sender<Order>,
    changed: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct Machine {
    app_tier_id: AppTierId,
    token: LaunchToken,
    state: State,
    launched_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Fleet {
    /// A fleet without machines, and what it asks of the world.
    pub fn new(clock: Clock, entropy: Entropy, settings: Settings) -> (Fleet, mpsc::Receiver<Order>) {
        Fleet::within(clock, entropy, settings, Natural::default())
    }

    /// A fleet in a simulated world.
    pub fn within(
        clock: Clock,
        entropy: Entropy,
        settings: Settings,
        natural: Natural,
    ) -> (Fleet, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let (machines, changed) = (Mutex::default(), Arc::default());
        let shared = Arc::new(Shared { clock, entropy, natural, settings, machines, orders, changed });
        (Fleet { shared, refusals: Arc::default(), wire: Wire::default() }, receiver)
    }

    /// The same fleet as another process reaches it.
    #[must_use]
    pub fn over(&self, wire: Wire) -> Fleet {
        Fleet { shared: Arc::clone(&self.shared), refusals: Arc::default(), wire }
    }

    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Machine>> {
        self.shared.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine is in this state now. States go forward only.
    pub fn become_(&self, id: &InstanceId, state: State) {
        if let Some(machine) = self.machines().get_mut(id)
            && machine.state < state
        {
            machine.state = state;
            if state == State::Terminated {
                machine.ended_at = Some(self.shared.clock.now());
                self.shared.natural.saw(self.wire.who(), Event::Ended { instance: id });
            }
        }
        self.shared.changed.notify_one();
    }

    /// Machines that somebody pays for.
    pub fn live(&self) -> Vec<Named> {
        let machines = self.machines();
        let live = machines.iter().filter(|(_, machine)| machine.state != State::Terminated);
        live.map(|(id, machine)| Named { app_tier_id: machine.app_tier_id, instance_id: id.clone() }).collect()
    }

    /// Where launches may go, best first.
    fn places(&self) -> Vec<Place> {
        let place =
            |n| Place { instance_type: format!("type-{}", n / 2), subnet: format!("zone-{}", n % 2), spot: false };
        (0..self.shared.settings.places).map(place).collect()
    }

    fn refusals(&self) -> (MutexGuard<'_, Refusals>, Duration) {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        (refusals, self.shared.clock.now().since(Timestamp(0)))
    }

    fn launch_one(&self, id: AppTierId, token: LaunchToken, place: &str) -> Result<Named> {
        let Shared { clock, entropy, orders, .. } = &*self.shared;
        let named = Named { app_tier_id: id, instance_id: InstanceId(format!("{}-{}", id.0, entropy.uuid().simple())) };
        orders
            .try_send(Order::Launch(named.clone()))
            .map_err(|e| Error::new(Kind::Throttled, "fleet.launch", e.to_string()))?;
        let (state, launched_at) = (State::Pending, clock.now());
        let machine = Machine { app_tier_id: id, token, state, launched_at, ended_at: None };
        self.machines().insert(named.instance_id.clone(), machine);
        self.shared.natural.saw(self.wire.who(), Event::Launched { named: &named, place });
        Ok(named)
    }
}

fn no_capacity(operation: &'static str) -> Error {
    let refused = Error::new(Kind::Full, operation, "no capacity there");
    Error { code: Some("InsufficientInstanceCapacity".into()), ..refused }
}

impl Api for Fleet {
    /// The best place that has not refused of late, as on AWS.
    async fn plan(&self, _ids: &[AppTierId], _epoch: Epoch) -> Result<Spec> {
        let places = self.places();
        if places.is_empty() {
            return Ok(Spec::default());
        }
        let (refusals, now) = self.refusals();
        let Place { instance_type, subnet, spot } =
            refusals.first_usable(&places, now).cloned().ok_or_else(|| no_capacity("fleet.plan"))?;
        Ok(Spec { instance_type, subnet, spot, ..Spec::default() })
    }

    async fn launch(&self, intent: &Intent) -> Result<Vec<Named>> {
        let launched: Vec<Named> = {
            let machines = self.machines();
            let of_launch = machines.iter().filter(|(_, machine)| machine.token == intent.token);
            of_launch.map(|(id, m)| Named { app_tier_id: m.app_tier_id, instance_id: id.clone() }).collect()
        };
        if !launched.is_empty() {
            return Ok(launched);
        }
        let (natural, who) = (&self.shared.natural, self.wire.who());
        let Spec { instance_type, subnet, spot, .. } = intent.spec.clone();
        let place = if subnet.is_empty() { String::new() } else { format!("{instance_type} in {subnet}") };
        if natural.odd(Odd::NoCapacity, if place.is_empty() { who } else { &place }).is_some() {
            natural.saw(who, Event::NotLaunched { place: &place, token: intent.token });
            let (mut refusals, now) = self.refusals();
            refusals.refused(Place { instance_type, subnet, spot }, now);
            return Err(no_capacity("fleet.launch"));
        }
        let most = intent.ids.len();
        let some = natural.odd(Odd::PartialLaunch, who).map_or(most, |draw| 1 + draw as usize % most.max(1));
        intent.ids.iter().take(some).map(|id| self.launch_one(*id, intent.token, &place)).collect()
    }

    async fn list(&self) -> Result<Vec<Instance>> {
        let now = self.shared.clock.now();
        let mut machines = self.machines();
        let keep = self.shared.settings.lists_dead_for;
        machines.retain(|_, machine| machine.ended_at.is_none_or(|at| now.since(at) <= keep));
        let hidden = self.shared.settings.lists_after;
        let shown = machines.iter().filter(|(_, machine)| now.since(machine.launched_at) >= hidden);
        let listed = shown.map(|(instance_id, machine)| Instance {
            app_tier_id: machine.app_tier_id,
            instance_id: instance_id.clone(),
            state: machine.state,
            launched_at: machine.launched_at,
            token: Some(machine.token),
        });
        let listed: Vec<Instance> = listed.collect();
        self.shared.natural.saw(self.wire.who(), Event::Listed { instances: &listed });
        Ok(listed)
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Result<()> {
        for id in ids {
            self.shared.natural.saw(self.wire.who(), Event::Terminated { instance: id });
            self.become_(id, State::ShuttingDown);
            let _ = self.shared.orders.try_send(Order::Terminate(id.clone()));
        }
        Ok(())
    }

    async fn release(&self, limit: Duration) {
        if !self.shared.settings.processes {
            return;
        }
        let _ = self.shared.orders.try_send(Order::Release);
        let gone = async {
            while !self.live().is_empty() {
                self.shared.changed.notified().await;
            }
        };
        let _ = tokio::time::timeout(limit, gone).await;
    }
}
