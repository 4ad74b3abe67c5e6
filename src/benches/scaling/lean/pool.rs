//! The instances: their stages, who is idle, and who is ended first.

use super::super::peers::victims::{Pod, Stage, deletion_order};
use bellows::sim::Lived;
use bellows_core::pool::{AppTierId, InstanceId, Named};
use bellows_core::time::Timestamp;
use std::collections::{BTreeSet, VecDeque};

const NANOS: u64 = 1_000_000;

#[derive(Debug)]
struct Instance {
    stage: Stage,
    /// Milliseconds.
    launched: u64,
    ready: u64,
    idle_since: u64,
    /// The message in hand, and since when.
    work: Option<(u64, u64)>,
    ending: bool,
    uid: u64,
}

#[derive(Debug)]
pub struct Pool {
    seed: u64,
    instances: Vec<Instance>,
    lives: Vec<Lived>,
    /// Those that were not asked to end.
    serving: BTreeSet<usize>,
    idle: VecDeque<usize>,
    alive: usize,
    most: usize,
    interrupted: u64,
    ended_idle: u64,
}

impl Pool {
    pub fn new(seed: u64) -> Pool {
        let (serving, idle) = (BTreeSet::new(), VecDeque::new());
        let (instances, lives, interrupted, ended_idle) = (Vec::new(), Vec::new(), 0, 0);
        Pool { seed, instances, lives, serving, idle, alive: 0, most: 0, interrupted, ended_idle }
    }

    /// A further instance: the number of its launch, from 0.
    pub fn launched(&mut self, now: u64, moment: Timestamp) -> usize {
        let id = self.instances.len();
        let uid = mix(self.seed ^ mix(id as u64));
        let stage = Stage::Pending;
        self.instances.push(Instance { stage, launched: now, ready: 0, idle_since: 0, work: None, ending: false, uid });
        let named = Named { app_tier_id: AppTierId(id as u32 + 1), instance_id: InstanceId(id.to_string()) };
        self.lives.push(Lived { named, launched: moment, running: None, terminated: None });
        self.serving.insert(id);
        self.alive += 1;
        self.most = self.most.max(self.alive);
        id
    }

    pub fn running(&mut self, id: usize, moment: Timestamp) {
        // a pod that nobody wants any more before its node runs costs nothing
        if !self.instances[id].ending {
            self.instances[id].stage = Stage::Starting;
            self.lives[id].running = Some(moment);
        }
    }

    /// Whether it can take work from now on.
    pub fn ready(&mut self, id: usize, now: u64) -> bool {
        let instance = &mut self.instances[id];
        if !instance.ending {
            (instance.stage, instance.ready) = (Stage::Ready, now);
        }
        !instance.ending
    }

    /// It has nothing to do, and is the last to be idle, or as if it were the first.
    pub fn rest(&mut self, id: usize, now: u64, first: bool) {
        self.instances[id].idle_since = now;
        if first {
            self.idle.push_front(id);
        } else {
            self.idle.push_back(id);
        }
    }

    /// Who takes the next message: whoever has waited longest, or who finished last.
    pub fn next_idle(&mut self, last_finished: bool) -> Option<usize> {
        if last_finished { self.idle.pop_back() } else { self.idle.pop_front() }
    }

    pub fn begin(&mut self, id: usize, message: u64, now: u64) {
        self.instances[id].work = Some((message, now));
    }

    /// What it had in hand, and since when; none: nothing.
    pub fn finish(&mut self, id: usize) -> Option<(u64, u64)> {
        self.instances[id].work.take()
    }

    pub fn is_ending(&self, id: usize) -> bool {
        self.instances[id].ending
    }

    pub fn has_idled_since(&self, id: usize, since: u64) -> bool {
        let instance = &self.instances[id];
        !instance.ending && instance.work.is_none() && instance.idle_since == since
    }

    /// Asks an instance to end: whether it is at work.
    pub fn end(&mut self, id: usize) -> bool {
        self.instances[id].ending = true;
        self.serving.remove(&id);
        self.idle.retain(|&other| other != id);
        self.instances[id].work.is_some()
    }

    /// An idle one ends of itself.
    pub fn end_idle(&mut self, id: usize) -> bool {
        self.ended_idle += 1;
        !self.end(id)
    }

    pub fn gone(&mut self, id: usize, moment: Timestamp) {
        self.lives[id].terminated = Some(moment);
        self.alive -= 1;
    }

    /// Those to be ended, in order: as a ReplicaSet does it, or at random.
    pub fn victims(&self, count: u32, by_rank: bool, now: u64) -> Vec<usize> {
        if count == 0 {
            return Vec::new();
        }
        let mut order: Vec<usize> = self.serving.iter().copied().collect();
        if by_rank {
            order.sort_by_key(|&id| deletion_order(&self.pod(id, now)));
        } else {
            order.sort_by_key(|&id| mix(self.instances[id].uid ^ now));
        }
        order.truncate(count as usize);
        order
    }

    fn pod(&self, id: usize, now: u64) -> Pod {
        let Instance { stage, launched, ready, uid, .. } = self.instances[id];
        Pod { stage, ready_for: (now - ready) * NANOS, age: (now - launched) * NANOS, uid }
    }

    pub fn serving(&self) -> u32 {
        self.serving.len() as u32
    }

    /// Pending, starting and ready ones.
    pub fn stages(&self) -> (u32, u32, u32) {
        let count = |stage| self.serving.iter().filter(|&&id| self.instances[id].stage == stage).count() as u32;
        (count(Stage::Pending), count(Stage::Starting), count(Stage::Ready))
    }

    pub fn alive(&self) -> usize {
        self.alive
    }

    pub fn most(&self) -> u32 {
        self.most as u32
    }

    pub fn count_interrupted(&mut self) {
        self.interrupted += 1;
    }

    pub fn interrupted(&self) -> u64 {
        self.interrupted
    }

    pub fn ended_idle(&self) -> u64 {
        self.ended_idle
    }

    pub fn into_lives(self) -> Vec<Lived> {
        self.lives
    }
}

/// Numbers that look random (the finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
