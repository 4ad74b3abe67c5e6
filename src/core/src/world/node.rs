//! One app instance: the shell around [`Worker`] as the app tier has it.

use super::{AT, Duration, World};
use crate::message::{Confirm, Endings, Nonce, Notice, Report, VERSION, WorkerState};
use crate::pool::Named;
use crate::retire::{Looks, Verdict, judge};
use crate::worker::{Delivered, Effect, End, Event, JobId, Worker};
use std::collections::BTreeMap;

const VISIBILITY: Duration = Duration::from_secs(30);

pub(super) struct Node {
    name: Named,
    worker: Worker,
    looks: Looks,
    /// When each job will be done.
    jobs: BTreeMap<JobId, Duration>,
    poll_ends: Option<(usize, Duration)>,
    next: JobId,
    done: u64,
    busy_ms: u64,
    report_at: Duration,
    /// The terminate request in hand, by its place in the queue.
    holds: Option<u64>,
    stopped: bool,
    pub gone: bool,
}

impl Node {
    pub fn new(name: Named, now: Duration) -> Node {
        Node {
            name,
            worker: Worker::new(1),
            looks: Looks::new(AT(5), now),
            jobs: BTreeMap::new(),
            poll_ends: None,
            next: 0,
            done: 0,
            busy_ms: 0,
            report_at: now,
            holds: None,
            stopped: false,
            gone: false,
        }
    }

    pub fn step(&mut self, world: &mut World) {
        if !world.fleet.is_up(&self.name.instance_id) {
            return self.die(world);
        }
        if world.fleet.is_orphan(&self.name.instance_id) && !std::mem::replace(&mut self.stopped, true) {
            let effects = self.worker.on(Event::Stop);
            self.apply(effects, world);
        }
        self.finish(world);
        self.poll(world);
        self.look(world);
        if self.holds.is_some() {
            self.extend(world);
        }
        if world.now >= self.report_at && !self.gone {
            self.report_at = world.now + AT(5);
            world.notify(Notice::Report(Report {
                v: VERSION,
                app_tier_id: self.name.app_tier_id,
                instance_id: self.name.instance_id.clone(),
                state: WorkerState::Ready,
                slots: 1,
                jobs: self.done,
                busy_ms: self.busy_ms,
                idle_ms: 0,
                boot_ms: 0,
                in_hand: self.worker.in_hand() as u32,
                endings: Endings::default(),
            }));
        }
    }

    /// The machine is going away, whatever it does: its messages come back by visibility.
    fn die(&mut self, world: &mut World) {
        for _ in 0..self.worker.in_hand() {
            world.requests.push(world.now + VISIBILITY);
        }
        self.gone = true;
    }

    fn finish(&mut self, world: &mut World) {
        let over: Vec<JobId> = self.jobs.iter().filter(|(_, at)| **at <= world.now).map(|(job, _)| *job).collect();
        for job in over {
            self.jobs.remove(&job);
            self.done += 1;
            self.busy_ms += world.service * 1000;
            world.answered += 1;
            let service = AT(world.service);
            let effects = self.worker.on(Event::Finished { job, service, elsewhere: Duration::ZERO });
            self.apply(effects, world);
        }
    }

    fn poll(&mut self, world: &mut World) {
        if self.poll_ends.is_none()
            && let Some(asked) = self.worker.ask()
        {
            self.poll_ends = Some((asked, world.now + AT(20)));
        }
        let Some((asked, ends)) = self.poll_ends else { return };
        let mut brought = Vec::new();
        while brought.len() < asked
            && let Some(place) = world.requests.iter().position(|visible| *visible <= world.now)
        {
            world.requests.swap_remove(place);
            self.next += 1;
            brought.push(Delivered { job: self.next, redelivered: false });
        }
        if brought.is_empty() && world.now < ends && !self.worker.must_end_poll() {
            return;
        }
        self.poll_ends = None;
        if brought.is_empty() {
            self.looks.empty_receive(world.now);
        }
        let effects = self.worker.on(Event::Polled(brought));
        self.apply(effects, world);
    }

    fn look(&mut self, world: &mut World) {
        if self.gone || !self.worker.looks() || world.now < self.looks.due() {
            return;
        }
        self.looks.looked(world.now);
        let visible = world.asked.iter().find(|(_, asked)| asked.hidden_until <= world.now);
        let Some(place) = visible.map(|(place, _)| *place) else { return };
        self.holds = Some(place);
        self.extend(world);
        let verdict = self.judge(world);
        let effects = self.worker.on(Event::Asked(verdict));
        self.apply(effects, world);
    }

    fn extend(&mut self, world: &mut World) {
        if let Some(asked) = self.holds.and_then(|place| world.asked.get_mut(&place)) {
            asked.hidden_until = world.now + VISIBILITY;
        }
    }

    fn judge(&mut self, world: &mut World) -> Verdict {
        let Some(asked) = self.holds.and_then(|place| world.asked.get(&place)) else { return Verdict::GiveBack };
        let control = if world.dice.falls(world.faults.reads) { None } else { world.control() };
        judge(&asked.request, control.as_ref())
    }

    fn nonce(&self, world: &World) -> Option<(Nonce, crate::message::Epoch)> {
        let asked = world.asked.get(&self.holds?)?;
        Some((asked.request.nonce, asked.request.epoch))
    }

    fn apply(&mut self, effects: Vec<Effect>, world: &mut World) {
        for effect in effects {
            let next = match effect {
                Effect::Start(job) => {
                    self.jobs.insert(job, world.now + AT(world.service));
                    continue;
                }
                Effect::GiveBack(_) => continue,
                Effect::JudgeAgain => Event::JudgedAgain(self.judge(world)),
                Effect::Confirm => {
                    assert_eq!((self.worker.in_hand(), self.jobs.len()), (0, 0), "confirms with work in hand");
                    let sent = !world.dice.falls(world.faults.notices);
                    if sent && let Some((nonce, epoch)) = self.nonce(world) {
                        let Named { app_tier_id, instance_id } = self.name.clone();
                        world.notify(Notice::Confirm(Confirm { v: VERSION, nonce, epoch, app_tier_id, instance_id }));
                    }
                    Event::Confirmed { sent }
                }
                Effect::DeleteRequest => {
                    // a machine may die between its confirmation and this
                    if !world.dice.falls(world.faults.deaths)
                        && let Some(place) = self.holds.take()
                    {
                        world.asked.remove(&place);
                    }
                    Event::RequestDeleted
                }
                Effect::GiveRequestBack => {
                    if let Some(asked) = self.holds.take().and_then(|place| world.asked.get_mut(&place)) {
                        asked.hidden_until = world.now;
                    }
                    continue;
                }
                Effect::End(end) => {
                    assert_eq!(end, if self.stopped && end == End::Drained { End::Drained } else { End::Retired });
                    world.fleet.end(&self.name.instance_id, world.now);
                    self.gone = true;
                    continue;
                }
            };
            let effects = self.worker.on(next);
            self.apply(effects, world);
        }
    }
}

impl Node {
    pub fn in_hand(&self) -> u64 {
        self.worker.in_hand() as u64
    }

    pub fn is(&self, instance_id: &crate::pool::InstanceId) -> bool {
        self.name.instance_id == *instance_id
    }
}
