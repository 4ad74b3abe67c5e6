//! A small world for tests: a fleet that is slow, forgetful and loses answers, queues that deliver late and twice,
//! workers, and controllers that crash, are cut off and lead beside one another. Its controller calls the modules in
//! the order in which the real one does.

mod controller;
mod fleet;
mod node;
mod properties;
mod waves;

use crate::control::Control;
use crate::message::{Notice, TerminateRequest};
use crate::scale::{Hold, Policy, Rule};
use crate::time::Timestamp;
use controller::Controller;
use fleet::Fleet;
use node::Node;
use std::collections::BTreeMap;
use std::time::Duration;

const AT: fn(u64) -> Duration = Duration::from_secs;

/// What goes wrong, each in so many of a thousand cases.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// A list, a read of the notices or of the control object fails.
    reads: u64,
    /// The answer to a launch is lost, with or without its effect.
    answers: u64,
    /// The answer to a write of the control object is lost, with or without its effect.
    writes: u64,
    /// A notice is doubled or comes late.
    notices: u64,
    /// A launch is refused for want of capacity.
    capacity: u64,
    /// A worker's machine dies, each second.
    deaths: u64,
    /// The controller dies, each second; or is cut off for two minutes.
    crashes: u64,
    cuts: u64,
    /// The longest a list lags behind, in seconds.
    lag: u64,
}

/// splitmix64: the tests' only randomness, from the seed of the case.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn falls(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// A terminate request in its queue.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: TerminateRequest,
    hidden_until: Duration,
}

struct World {
    now: Duration,
    dice: Dice,
    faults: Faults,
    policy: Policy,
    fleet: Fleet,
    nodes: Vec<Node>,
    controllers: Vec<Controller>,
    /// The control object and the number of its version.
    object: Option<(Vec<u8>, u64)>,
    /// Messages that wait, by when they are visible.
    requests: Vec<Duration>,
    answered: u64,
    submitted: u64,
    asked: BTreeMap<u64, Asked>,
    next_asked: u64,
    notices: Vec<(Duration, Notice)>,
    /// One machine: a lock says who leads, the list is exact, and workers finish when their parent is gone.
    local: bool,
    /// Seconds one image takes.
    service: u64,
    /// Instances over time, each second; instances launched.
    sizes: Vec<u32>,
}

impl World {
    fn new(seed: u64, rule: Rule, hold: u64, max: u32, faults: Faults) -> World {
        let policy = Policy {
            rule,
            min: 0,
            max,
            hold: Hold::Fixed(AT(hold)),
            latency_target: AT(15),
            counter_lag: Duration::ZERO,
        };
        World {
            now: AT(0),
            dice: Dice(seed),
            faults,
            policy,
            fleet: Fleet::new(25),
            nodes: Vec::new(),
            controllers: vec![Controller::new("a"), Controller::new("b")],
            object: None,
            requests: Vec::new(),
            answered: 0,
            submitted: 0,
            asked: BTreeMap::new(),
            next_asked: 0,
            notices: Vec::new(),
            local: false,
            service: 2,
            sizes: Vec::new(),
        }
    }

    /// The same on one machine, where some things cannot go wrong.
    fn on_one_machine(seed: u64, rule: Rule, hold: u64, max: u32, faults: Faults) -> World {
        let faults = Faults { lag: 0, cuts: 0, answers: 0, ..faults };
        let mut world = World::new(seed, rule, hold, max, faults);
        world.local = true;
        world.controllers.truncate(1);
        world.fleet = Fleet::local(1);
        world
    }

    /// The wall clock of everybody here.
    fn wall(&self) -> Timestamp {
        Timestamp(1_000_000).plus(self.now)
    }

    fn submit(&mut self, count: u64) {
        self.submitted += count;
        self.requests.extend((0..count).map(|_| self.now));
    }

    /// The control object as somebody reads it who trusts it.
    fn control(&self) -> Option<Control> {
        self.object.as_ref().map(|(bytes, _)| Control::parse(bytes).unwrap())
    }

    fn etag(&self) -> String {
        self.object.as_ref().map_or(0, |(_, version)| *version).to_string()
    }

    /// Compare-and-swap. `None`: a conflict, or the answer was lost, with or without the effect.
    fn write(&mut self, if_match: Option<&str>, body: Vec<u8>, cut: bool) -> Option<String> {
        let etag = self.etag();
        let fits = if_match.map_or(self.object.is_none(), |expected| self.object.is_some() && expected == etag);
        if cut || !fits || (self.dice.falls(self.faults.writes) && self.dice.falls(500)) {
            return None;
        }
        let version = self.object.as_ref().map_or(1, |(_, version)| version + 1);
        self.object = Some((body, version));
        if self.dice.falls(self.faults.writes) { None } else { Some(version.to_string()) }
    }

    fn notify(&mut self, notice: Notice) {
        if self.dice.falls(self.faults.notices) {
            let late = self.now + AT(self.dice.below(900));
            self.notices.push((late, notice.clone()));
        }
        if self.dice.falls(self.faults.notices) {
            let late = self.now + AT(self.dice.below(60));
            self.notices.push((late, notice));
        } else {
            self.notices.push((self.now, notice));
        }
    }

    /// One second.
    fn step(&mut self) {
        self.now += AT(1);
        for started in self.fleet.step(self.now) {
            self.nodes.push(Node::new(started, self.now));
        }
        let mut nodes = std::mem::take(&mut self.nodes);
        for node in &mut nodes {
            node.step(self);
        }
        nodes.retain(|node| !node.gone);
        self.nodes = nodes;
        let mut controllers = std::mem::take(&mut self.controllers);
        for controller in &mut controllers {
            controller.step(self);
        }
        self.controllers = controllers;
        self.check();
        self.sizes.push(self.fleet.live().count() as u32);
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.step();
        }
    }

    /// What must hold after every step.
    fn check(&self) {
        let live = self.fleet.live().count();
        assert!(live <= self.policy.max as usize, "{live} instances, {} allowed", self.policy.max);
        let mut ids: Vec<u32> = self.fleet.live().map(|i| i.app_tier_id.0).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "an id is on two live instances: {ids:?}");
        assert!(ids.iter().all(|id| (1..=self.policy.max).contains(id)), "{ids:?}");
        let leading = self.controllers.iter().filter(|controller| controller.may_act(self.now)).count();
        assert!(leading <= 1, "two leaders act");
    }

    /// Whether nothing is left: no instances, requests or messages, every id free, nothing written down.
    fn is_at_rest(&self) -> bool {
        self.fleet.live().next().is_none()
            && self.requests.is_empty()
            && self.nodes.is_empty()
            && self.asked.is_empty()
            && self.control().is_some_and(|control| control.intents.is_empty())
    }
}
