//! What really is, as no process knows it, and what must never be: the invariants of the pool and of requests (docs/
//! ARCHITECTURE.md), checked at every effect.

mod pool;
mod requests;
mod retiring;

pub use requests::label;

use super::chaos::Tally;
use super::world::BEGIN;
use crate::edge::nature::Event;
use crate::edge::wire::Leg;
use bellows_core::control::Control;
use bellows_core::key;
use bellows_core::key::RequestId;
use bellows_core::message::{Epoch, Nonce, TerminateRequest};
use bellows_core::pool::{AppTierId, InstanceId, LaunchToken};
use std::collections::{BTreeMap, BTreeSet};

/// What the world's processes were told, as far as invariants speak of it.
#[derive(Clone, Debug)]
pub struct Limits {
    pub max: u32,
    pub dry_run: bool,
    /// All in milliseconds.
    pub report_every: u64,
    pub job_deadline: u64,
    pub visibility: u64,
    pub tick: u64,
}

/// The world as it is.
#[derive(Debug)]
pub struct Truth {
    pub(super) limits: Limits,
    pub tally: Tally,
    /// What must not have happened, and did: the first of it.
    pub violation: Option<String>,
    messages: BTreeMap<u64, Message>,
    uploads: BTreeMap<RequestId, Upload>,
    /// Accepted and not answered.
    pub open: u64,
    pub accepted: u64,
    instances: BTreeMap<InstanceId, Instance>,
    pub live: u32,
    pub most_live: u32,
    pub launched: u64,
    used: BTreeSet<AppTierId>,
    control: Option<Known>,
    /// When each launch was first written down.
    planned: BTreeMap<LaunchToken, u64>,
    processes: BTreeMap<String, Process>,
    /// When a worker last met a terminate request with work in hand.
    pub asked_busy_at: Option<u64>,
    /// Since when nothing more goes wrong.
    pub calm_at: Option<u64>,
}

#[derive(Debug)]
struct Message {
    queue: Name,
    about: About,
    lease: Option<Lease>,
    sent_at: u64,
    /// It was deleted and comes again.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Request,
    Dead,
    Response,
    TerminateRequest,
    Notices,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq)]
enum About {
    Request(RequestId),
    Terminate(TerminateRequest),
    Confirm,
    Other,
}

#[derive(Clone, Debug)]
struct Lease {
    who: String,
    until: u64,
    since: u64,
    /// The receive came back to whom it was leased.
    known: bool,
}

#[derive(Debug, Default)]
struct Upload {
    file: String,
    accepted: bool,
    answered: bool,
}

#[derive(Debug)]
struct Instance {
    id: AppTierId,
    launched_at: u64,
    ended_at: Option<u64>,
    reported_at: Option<u64>,
    confirmed: bool,
    /// Told or known to go for reasons of its own: a spot notice, a kill, a hang.
    doomed: bool,
}

/// The control object as it was written last.
#[derive(Clone, Debug)]
struct Known {
    epoch: Epoch,
    paused: bool,
    /// What a newer program left in it.
    rest: BTreeMap<String, serde_json::Value>,
    /// Ids of launches that are written down and not settled.
    intended: BTreeSet<AppTierId>,
    /// Instances of launches that are still written down: no list has told of them yet.
    unlisted: BTreeSet<InstanceId>,
}

/// What one process knows and did.
#[derive(Clone, Debug, Default)]
struct Process {
    /// The control object when it was last read, and when.
    read: Option<(u64, Known)>,
    read_before: Option<(u64, Known)>,
    /// That was the last object that it read.
    got_control: bool,
    received: Vec<u64>,
    deleted_at: u64,
    /// A call to give a message back, or to keep it, failed.
    lost_touch_at: Option<u64>,
    counted_at: u64,
    /// How long its calls took since then, all together.
    slowed: u64,
    /// Refused launches of late, and by place the last one.
    refusals: Vec<u64>,
    refused_at: BTreeMap<String, (u64, LaunchToken)>,
    /// Terminate requests of the present epoch that it deleted, and those of them that were valid for sure.
    cancelled: u64,
    cancelled_valid: u64,
    /// Deletes and such whose outcome it does not know.
    unsure: u64,
    confirmed: BTreeSet<Nonce>,
}

impl Truth {
    pub fn new(limits: Limits) -> Truth {
        Truth {
            limits,
            tally: Tally::new(),
            violation: None,
            messages: BTreeMap::new(),
            uploads: BTreeMap::new(),
            open: 0,
            accepted: 0,
            instances: BTreeMap::new(),
            live: 0,
            most_live: 0,
            launched: 0,
            used: BTreeSet::new(),
            control: None,
            planned: BTreeMap::new(),
            processes: BTreeMap::new(),
            asked_busy_at: None,
            calm_at: None,
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The first violation counts.
    pub fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn process(&mut self, who: &str) -> &mut Process {
        if !self.processes.contains_key(who) {
            self.processes.insert(who.to_owned(), Process::default());
        }
        // it is there
        self.processes.entry(who.to_owned()).or_default()
    }

    /// Messages in all queues.
    pub fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Messages left, for people.
    pub fn left(&self) -> String {
        let left: Vec<String> =
            self.messages.values().take(5).map(|m| format!("{:?} {:?}", m.queue, m.about)).collect();
        let unanswered = self.uploads.iter().filter(|(_, upload)| upload.accepted && !upload.answered);
        let unanswered: Vec<String> = unanswered.map(|(id, _)| id.to_string()).collect();
        format!("unanswered {unanswered:?}, {} instances, messages {left:?}", self.live)
    }

    /// Something took effect.
    pub fn saw(&mut self, at: u64, who: &str, event: &Event<'_>) {
        match *event {
            Event::Sent { queue, message, late, body } => {
                let message_sent = self.sent(at, who, queue, body, late);
                self.messages.insert(message, message_sent);
            }
            Event::Received { message, receives, until, .. } => {
                self.received(at, who, message, receives, until.saturating_sub(BEGIN.0));
            }
            Event::Extended { message, until, .. } => {
                let until = until.saturating_sub(BEGIN.0);
                // whoever works on it keeps it for the whole visibility time again; all else gives it back
                let kept = until == at + self.limits.visibility;
                if let Some(message) = self.messages.get_mut(&message) {
                    message.lease = message.lease.take().filter(|_| kept);
                    message.lease.iter_mut().for_each(|lease| lease.until = until);
                }
            }
            Event::Deleted { message, comes_again, .. } => self.deleted(at, who, message, comes_again),
            Event::Buried { message, .. } => {
                self.count("dead letter");
                if let Some(message) = self.messages.get_mut(&message) {
                    (message.queue, message.lease) = (Name::Dead, None);
                }
            }
            Event::Put { bucket: "input", key, .. } => self.stored(key),
            Event::Put { key: key::CONTROL, bytes, .. } => self.control_written(at, who, bytes),
            Event::Put { key, bytes, existed, .. } => self.answered(key, bytes, existed),
            Event::Got { key: key::CONTROL, .. } => {
                let known = self.control.clone();
                let process = self.process(who);
                process.read_before = std::mem::replace(&mut process.read, known.map(|known| (at, known)));
                process.got_control = true;
            }
            Event::Launched { named, place } => self.launched(at, who, named, place),
            Event::NotLaunched { place, token } => self.not_launched(at, who, place, token),
            Event::Terminated { instance } => self.terminated(at, who, instance),
            Event::Ended { instance } => self.ended(at, instance),
            Event::Got { .. } => self.process(who).got_control = false,
            Event::Listed { .. } => {}
        }
    }

    /// What a process was told of a call is lost; `dies`: the process with it.
    pub fn reply_lost(&mut self, who: &str, operation: &str, dies: bool) {
        match operation {
            "queue.receive" => {
                let received = std::mem::take(&mut self.process(who).received);
                if !received.is_empty() {
                    self.count(if dies { "lease to a dead poll" } else { "lease to a poll that timed out" });
                }
                for message in received {
                    if let Some(lease) = self.messages.get_mut(&message).and_then(|message| message.lease.as_mut()) {
                        lease.known = false;
                    }
                }
            }
            "bucket.get" => {
                let process = self.process(who);
                if process.got_control {
                    process.read = process.read_before.take();
                }
            }
            "fleet.launch" if !dies => self.count("launch that timed out but happened"),
            "queue.delete" | "queue.extend" => self.process(who).unsure += 1,
            "bucket.compare_and_swap" => self.count("control object written with unknown outcome"),
            _ => {}
        }
        if dies {
            self.count("crash between effect and reply");
        }
    }

    /// Half a call went well.
    pub fn passed(&mut self, at: u64, who: &str, operation: &str, leg: Leg) {
        if operation == "queue.depth" && leg == Leg::Back {
            let process = self.process(who);
            (process.counted_at, process.slowed) = (at, 0);
        }
    }

    /// A call takes so many milliseconds longer.
    pub fn slowed(&mut self, who: &str, by: u64) {
        if by > 0 {
            self.process(who).slowed += by;
        }
    }

    /// A call failed without effect.
    pub fn refused(&mut self, at: u64, who: &str, operation: &str) {
        match operation {
            "queue.extend" | "queue.delete" => self.process(who).lost_touch_at = Some(at),
            "queue.depth" if at > self.process(who).counted_at + 30_000 && self.live > 0 => {
                self.count("counters unread for 30 s with instances");
            }
            _ => {}
        }
    }

    fn control_written(&mut self, at: u64, who: &str, bytes: &[u8]) {
        let Ok(control) = Control::parse(bytes) else {
            return self.violated(format!("at {at} {who} wrote a control object that does not read"));
        };
        if let Some(before) = &self.control
            && control.epoch < before.epoch
        {
            let (before, now) = (before.epoch.0, control.epoch.0);
            self.violated(format!("invariant 8: at {at} {who} set the epoch back from {before} to {now}"));
        }
        // who is not known wrote it from outside
        let outsider = !who.starts_with("web");
        if outsider && !control.rest.is_empty() {
            self.count("control object of a newer program");
        }
        if !outsider && self.control.as_ref().is_some_and(|before| before.rest != control.rest) {
            self.violated(format!("newer fields: at {at} {who} did not keep what a newer program wrote"));
        }
        if !outsider && control.pause.is_none() && self.control.as_ref().is_some_and(|before| before.paused) {
            self.violated(format!("invariant 14: at {at} {who} lifted a pause"));
        }
        if self.control.as_ref().is_some_and(|before| before.epoch < control.epoch) && self.live > 0 {
            self.count("new leader with instances live");
        }
        for intent in control.intents_unsettled() {
            self.planned.entry(intent.token).or_insert(at);
        }
        let intended = control.intents_unsettled().flat_map(|intent| intent.ids.clone()).collect();
        let named = control.intents.iter().flat_map(|intent| &intent.instances);
        let unlisted = named.map(|named| named.instance_id.clone()).collect();
        let known =
            Known { epoch: control.epoch, paused: control.pause.is_some(), rest: control.rest, intended, unlisted };
        self.control = Some(known.clone());
        self.process(who).read = Some((at, known));
    }

    /// Whether acting on the pool is forbidden as far as this process can know.
    fn forbidden(&self, who: &str) -> Option<&'static str> {
        if self.limits.dry_run {
            return Some("in a dry run");
        }
        let read = self.processes.get(who)?.read.as_ref()?;
        read.1.paused.then_some("while it knew of a pause")
    }
}
