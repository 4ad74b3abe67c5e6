//! One app-tier process: which messages it takes, which it works on at once, when it retires, and when it ends.
//!
//! `on(Event) -> Effects`; the shell around it receives, runs jobs, sends and reports what happened. Invariants: a
//! message that was delivered before (its receiver may have crashed on it) is worked on alone, so that it takes no
//! neighbour with it; a worker confirms its retirement only with nothing in hand, no receive under way, and never
//! receives again after that.

#[cfg(test)]
mod tests;

use crate::retire::Verdict;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Names one delivery inside a process.
pub type JobId = u64;

/// One message that a receive brought. `redelivered`: it has been received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub job: JobId,
    pub redelivered: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The receive that [`Worker::ask`] allowed is over, with all it brought; nothing where it failed. Its messages
    /// are ours.
    Polled(Vec<Delivered>),
    /// A job is over: how long it was in the engine (with the configured pause), and how long everywhere else.
    Finished { job: JobId, service: Duration, elsewhere: Duration },
    /// A job passed its deadline; its thread cannot be cancelled.
    Overdue { job: JobId },
    /// Finish what is in hand and end.
    Stop,
    /// A terminate request was taken and judged ([`crate::retire::judge`]).
    Asked(Verdict),
    /// The request in hand was judged again, as [`Effect::JudgeAgain`] asked.
    JudgedAgain(Verdict),
    /// The request in hand could not be extended: somebody else may have it by now.
    RequestLost,
    /// The confirmation was sent, or sending it failed or is not known to have succeeded.
    Confirmed { sent: bool },
    /// The deletion of the request in hand was tried, as [`Effect::DeleteRequest`] asked.
    RequestDeleted,
    /// Nobody leads the pool any more ([`crate::retire::Unrenewed`]), or its queue is gone. An instance with work in hand
    /// stays.
    Abandoned,
    /// This machine is to be taken away, in less time than a message may wait for: what is worked on is finished, all else
    /// is given back at once.
    Evicted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Start(JobId),
    /// Give the message back; somebody else shall have it.
    GiveBack(JobId),
    /// Read the control object and judge the terminate request in hand once more.
    JudgeAgain,
    /// Send the confirmation (after a failure: a moment later).
    Confirm,
    /// Delete the terminate request in hand; one that was just taken counts as in hand.
    DeleteRequest,
    /// Give the terminate request back at once.
    GiveRequestBack,
    /// Nothing is left to do here.
    End(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Drained,
    Stuck,
    /// Not needed any more: the instance is to go, too.
    Retired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// A terminate request is in hand; no more is received.
    Retiring(Stage),
    Draining,
    /// Nobody leads: as draining, and the instance goes.
    Leaving,
    /// The machine is taken away: as leaving, and nothing more is begun.
    Evicted,
    /// Ending because of an overdue job: only what is past the engine is waited for.
    Stuck,
}

/// How far a retirement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Finishing,
    Judging,
    /// From here on there is no way back: the controller may have heard.
    Confirming {
        failures: u32,
    },
    Deleting,
}

/// State of one worker. `slots` is the number of engine sessions.
#[derive(Clone, Debug)]
pub struct Worker {
    slots: usize,
    phase: Phase,
    /// How many messages the receive under way asks for.
    polling: Option<usize>,
    /// Jobs started, and whether each was delivered before.
    running: BTreeMap<JobId, bool>,
    /// Redelivered messages that wait until they can be worked on alone.
    held: VecDeque<JobId>,
    /// Averages of what jobs took, engine and elsewhere, in seconds.
    service: f64,
    elsewhere: f64,
}

/// Weight of the newest job in the averages.
const NEWEST: f64 = 0.1;
/// More messages than sessions are held where a job spends more than this share of its engine time elsewhere
/// (fetching, storing, answering): otherwise the sessions would stand idle meanwhile.
const PREFETCH_ABOVE: f64 = 0.1;
/// Most messages held for one session: what a crash delays until its leases run out.
pub const MOST_A_SLOT: usize = 4;
/// A confirmation that cannot be sent so often is given up: the instance goes all the same, and is missed in the list.
const MOST_CONFIRMS: u32 = 10;

impl Worker {
    pub fn new(slots: usize) -> Worker {
        Worker {
            slots: slots.max(1),
            phase: Phase::Serving,
            polling: None,
            running: BTreeMap::new(),
            held: VecDeque::new(),
            service: 0.0,
            elsewhere: 0.0,
        }
    }

    /// Allows a receive of so many messages; none: not now, or one is under way. It must be told as
    /// [`Event::Polled`] when it is over.
    pub fn ask(&mut self) -> Option<usize> {
        let room = self.room();
        if self.polling.is_some() || room == 0 {
            return None;
        }
        self.polling = Some(room);
        self.polling
    }

    /// Whether the receive under way asks for more than there is room for: end it early.
    pub fn must_end_poll(&self) -> bool {
        self.polling.is_some_and(|asked| self.room() < asked)
    }

    /// How many more messages there is room for.
    fn room(&self) -> usize {
        let alone = !self.held.is_empty() || self.running.values().any(|redelivered| *redelivered);
        if alone || self.phase != Phase::Serving {
            return 0;
        }
        self.capacity().saturating_sub(self.running.len())
    }

    /// How many messages in hand keep every session busy: of each job's whole time only `service` is spent in one
    /// (Little's law). A message more a session where that pays at all, at most [`MOST_A_SLOT`].
    fn capacity(&self) -> usize {
        if self.elsewhere <= self.service * PREFETCH_ABOVE {
            return self.slots;
        }
        let a_slot = (1.0 + self.elsewhere / self.service).ceil() as usize;
        self.slots.saturating_mul(a_slot.clamp(2, MOST_A_SLOT))
    }

    /// Messages in hand.
    pub fn in_hand(&self) -> usize {
        self.running.len() + self.held.len()
    }

    /// Whether to look for a terminate request when it is time to.
    pub fn looks(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Whether a terminate request is in hand, whose lease must be extended meanwhile.
    pub fn holds_request(&self) -> bool {
        matches!(self.phase, Phase::Retiring(_))
    }

    /// Whether nothing is in hand and no receive can bring anything.
    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.held.is_empty() && self.polling.is_none()
    }

    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Polled(delivered) => {
                self.polling = None;
                let mut effects: Vec<Effect> = delivered.into_iter().filter_map(|d| self.received(d)).collect();
                effects.extend(self.next());
                effects
            }
            Event::Finished { job, service, elsewhere } => {
                self.measure(service, elsewhere);
                self.running.remove(&job);
                self.held.retain(|held| *held != job);
                self.next()
            }
            Event::Overdue { job } => self.overdue(job),
            Event::Stop => self.stop(Phase::Draining),
            Event::Abandoned if self.phase == Phase::Serving && self.in_hand() == 0 => self.stop(Phase::Leaving),
            Event::Abandoned => Vec::new(),
            Event::Evicted => self.evicted(),
            Event::Asked(_) | Event::JudgedAgain(_) | Event::RequestLost => self.judged(&event),
            Event::Confirmed { .. } | Event::RequestDeleted => self.left(&event),
        }
    }

    fn received(&mut self, delivered: Delivered) -> Option<Effect> {
        let Delivered { job, redelivered } = delivered;
        if matches!(self.phase, Phase::Stuck | Phase::Evicted) {
            self.running.insert(job, redelivered);
            return Some(Effect::GiveBack(job));
        }
        if redelivered {
            self.held.push_back(job);
            return None;
        }
        self.running.insert(job, false);
        Some(Effect::Start(job))
    }

    fn overdue(&mut self, job: JobId) -> Vec<Effect> {
        self.running.remove(&job);
        let mut effects = Vec::new();
        if self.holds_request() {
            effects.push(Effect::GiveRequestBack);
        }
        self.phase = Phase::Stuck;
        // they are waited for as the running ones are, until they are reported over
        for held in self.held.drain(..) {
            self.running.insert(held, true);
        }
        effects.extend(self.running.keys().map(|job| Effect::GiveBack(*job)));
        effects.extend(self.next());
        effects
    }

    /// Every way to an end but a process that is stuck already is cut short.
    fn evicted(&mut self) -> Vec<Effect> {
        if self.phase == Phase::Stuck {
            return Vec::new();
        }
        let waiting: Vec<JobId> = self.held.drain(..).collect();
        // waited for as the running ones are, until they are reported over
        self.running.extend(waiting.iter().map(|job| (*job, true)));
        let mut effects: Vec<Effect> = waiting.into_iter().map(Effect::GiveBack).collect();
        effects.extend(self.stop(Phase::Evicted));
        effects
    }

    fn stop(&mut self, into: Phase) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.phase {
            Phase::Retiring(Stage::Finishing | Stage::Judging) => {
                effects.push(Effect::GiveRequestBack);
                self.phase = into;
            }
            Phase::Serving | Phase::Leaving => self.phase = into,
            Phase::Draining if into == Phase::Evicted => self.phase = into,
            // on its last steps, which take no time, or on its way already
            Phase::Retiring(_) | Phase::Draining | Phase::Evicted | Phase::Stuck => {}
        }
        effects.extend(self.next());
        effects
    }

    /// What a judgement of a terminate request, the first or the second, or the loss of the request leads to.
    fn judged(&mut self, event: &Event) -> Vec<Effect> {
        match (event, self.phase) {
            (Event::Asked(Verdict::Discard), _) => vec![Effect::DeleteRequest],
            (Event::Asked(Verdict::Retire), Phase::Serving) => {
                self.phase = Phase::Retiring(Stage::Finishing);
                self.next()
            }
            (Event::Asked(_), _) => vec![Effect::GiveRequestBack],
            (Event::JudgedAgain(verdict), Phase::Retiring(Stage::Judging)) => match verdict {
                Verdict::Retire => {
                    self.phase = Phase::Retiring(Stage::Confirming { failures: 0 });
                    vec![Effect::Confirm]
                }
                Verdict::Discard => self.serve_again(Some(Effect::DeleteRequest)),
                Verdict::GiveBack => self.serve_again(Some(Effect::GiveRequestBack)),
            },
            (Event::RequestLost, Phase::Retiring(Stage::Finishing | Stage::Judging)) => self.serve_again(None),
            _ => Vec::new(),
        }
    }

    fn serve_again(&mut self, with_the_request: Option<Effect>) -> Vec<Effect> {
        self.phase = Phase::Serving;
        with_the_request.into_iter().collect()
    }

    /// The last steps of a retirement.
    fn left(&mut self, event: &Event) -> Vec<Effect> {
        match (event, self.phase) {
            (Event::Confirmed { sent: false }, Phase::Retiring(Stage::Confirming { failures }))
                if failures + 1 < MOST_CONFIRMS =>
            {
                self.phase = Phase::Retiring(Stage::Confirming { failures: failures + 1 });
                vec![Effect::Confirm]
            }
            (Event::Confirmed { .. }, Phase::Retiring(Stage::Confirming { .. })) => {
                self.phase = Phase::Retiring(Stage::Deleting);
                vec![Effect::DeleteRequest]
            }
            // where the deletion failed the request retires one instance too many, and a launch heals that
            (Event::RequestDeleted, Phase::Retiring(Stage::Deleting)) => vec![Effect::End(End::Retired)],
            _ => Vec::new(),
        }
    }

    /// Starts what waited to be alone; goes a step further where nothing is left.
    fn next(&mut self) -> Vec<Effect> {
        if self.running.is_empty()
            && let Some(job) = self.held.pop_front()
        {
            self.running.insert(job, true);
            return vec![Effect::Start(job)];
        }
        if !self.is_empty() {
            return Vec::new();
        }
        match self.phase {
            Phase::Retiring(Stage::Finishing) => {
                self.phase = Phase::Retiring(Stage::Judging);
                vec![Effect::JudgeAgain]
            }
            Phase::Serving | Phase::Retiring(_) => Vec::new(),
            Phase::Draining => vec![Effect::End(End::Drained)],
            Phase::Leaving | Phase::Evicted => vec![Effect::End(End::Retired)],
            Phase::Stuck => vec![Effect::End(End::Stuck)],
        }
    }

    fn measure(&mut self, service: Duration, elsewhere: Duration) {
        let mix = |old: f64, new: Duration| {
            if old == 0.0 { new.as_secs_f64() } else { old + NEWEST * (new.as_secs_f64() - old) }
        };
        self.service = mix(self.service, service);
        self.elsewhere = mix(self.elsewhere, elsewhere);
    }
}
