//! Machines, and what the fleet says of them: late, and sometimes not at all.

use super::{AT, Dice, Duration};
use crate::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, State};
use crate::time::Timestamp;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
    token: LaunchToken,
    /// Since when it has been in which state.
    states: Vec<(Duration, State)>,
    ready_at: Duration,
    /// Its parent is gone: it finishes and ends, and counts as ending.
    pub orphan: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fleet {
    machines: Vec<Machine>,
    launches: BTreeMap<LaunchToken, Vec<Named>>,
    boot: u64,
    pub launched: usize,
    /// How long an ending machine takes, and how long the dead are listed.
    ending: u64,
    listed_dead: u64,
}

impl Machine {
    fn state(&self) -> State {
        self.states.last().unwrap().1
    }

    fn become_(&mut self, state: State, now: Duration) {
        if self.state() < state {
            self.states.push((now, state));
        }
    }
}

impl Fleet {
    pub fn new(boot: u64) -> Fleet {
        Fleet { boot, ending: 8, listed_dead: 3600, ..Fleet::default() }
    }

    /// Processes: quick to end, and told to be dead once.
    pub fn local(boot: u64) -> Fleet {
        Fleet { ending: 1, listed_dead: 1, ..Fleet::new(boot) }
    }

    /// The parent of all that run is gone.
    pub fn orphan_all(&mut self) {
        for machine in &mut self.machines {
            machine.orphan = true;
        }
    }

    pub fn is_orphan(&self, instance_id: &InstanceId) -> bool {
        self.live().any(|machine| machine.instance_id == *instance_id && machine.orphan)
    }

    pub fn live(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| machine.state() != State::Terminated)
    }

    /// A launch: one a token, however often it is called. At most `capacity` machines.
    pub fn launch(&mut self, token: LaunchToken, ids: &[AppTierId], capacity: usize, now: Duration) -> Vec<Named> {
        if let Some(done) = self.launches.get(&token) {
            return done.clone();
        }
        if capacity == 0 {
            return Vec::new();
        }
        let mut named = Vec::new();
        for app_tier_id in ids.iter().take(capacity).copied() {
            self.launched += 1;
            let instance_id = InstanceId(format!("i-{}", self.launched));
            named.push(Named { app_tier_id, instance_id: instance_id.clone() });
            let (states, ready_at) = (vec![(now, State::Pending)], now + AT(self.boot));
            self.machines.push(Machine { app_tier_id, instance_id, token, states, ready_at, orphan: false });
        }
        self.launches.insert(token, named.clone());
        named
    }

    /// The list as it was `lag` ago; machines terminated an hour before are not in it.
    pub fn list(&self, now: Duration, lag: Duration) -> Vec<Instance> {
        let seen = now.saturating_sub(lag);
        let shown = self.machines.iter().filter_map(|machine| {
            let (since, state) = *machine.states.iter().rev().find(|(at, _)| *at <= seen)?;
            (state != State::Terminated || seen < since + AT(self.listed_dead)).then(|| Instance {
                app_tier_id: machine.app_tier_id,
                instance_id: machine.instance_id.clone(),
                state: if machine.orphan { state.max(State::ShuttingDown) } else { state },
                launched_at: Timestamp(0),
                token: Some(machine.token),
            })
        });
        shown.collect()
    }

    /// A machine begins to end.
    pub fn end(&mut self, instance_id: &InstanceId, now: Duration) {
        if let Some(machine) = self.machines.iter_mut().find(|machine| machine.instance_id == *instance_id) {
            machine.become_(State::ShuttingDown, now);
        }
    }

    pub fn is_up(&self, instance_id: &InstanceId) -> bool {
        self.live().any(|machine| machine.instance_id == *instance_id && machine.state() == State::Running)
    }

    /// Time passes; machines whose worker is ready now.
    pub fn step(&mut self, now: Duration) -> Vec<Named> {
        let mut ready = Vec::new();
        for machine in &mut self.machines {
            let (since, ending) = (machine.states.last().unwrap().0, AT(self.ending));
            match machine.state() {
                State::Pending if now >= machine.ready_at => {
                    machine.become_(State::Running, now);
                    let (app_tier_id, instance_id) = (machine.app_tier_id, machine.instance_id.clone());
                    ready.push(Named { app_tier_id, instance_id });
                }
                State::ShuttingDown if now >= since + ending => machine.become_(State::Terminated, now),
                _ => {}
            }
        }
        ready
    }

    /// A running machine, chosen by the dice.
    pub fn victim(&self, dice: &mut Dice) -> Option<InstanceId> {
        let up: Vec<&Machine> = self.live().filter(|machine| machine.state() == State::Running).collect();
        if up.is_empty() { None } else { Some(up[dice.below(up.len() as u64) as usize].instance_id.clone()) }
    }
}
