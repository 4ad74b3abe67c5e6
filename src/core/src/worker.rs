//! One app-tier process: which messages it takes, which it works on at once, and when it ends.
//!
//! `on(Event) -> Effects`; the shell around it receives, runs jobs and reports what happened. Invariant: a message
//! that was delivered before (its receiver may have crashed on it) is worked on alone, so that it takes no neighbour
//! with it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Names one delivery inside a process.
pub type JobId = u64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A message is ours. `redelivered`: it has been received before.
    Received { job: JobId, redelivered: bool },
    /// A job is over: how long it was in the engine (with the configured pause), and how long everywhere else.
    Finished { job: JobId, service: Duration, elsewhere: Duration },
    /// A job passed its deadline; its thread cannot be cancelled.
    Overdue { job: JobId },
    /// Finish what is in hand and end.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Start(JobId),
    /// Give the message back; somebody else shall have it.
    GiveBack(JobId),
    /// Nothing is left to do here.
    End(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Drained,
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    /// Ending because of an overdue job: only what is past the engine is waited for.
    Stuck,
}

/// State of one worker. `slots` is the number of engine sessions.
#[derive(Clone, Debug)]
pub struct Worker {
    slots: usize,
    phase: Phase,
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
/// A second message a session is held where a job spends more than this share of its engine time elsewhere (fetching,
/// storing, answering): otherwise the session would stand idle meanwhile.
const PREFETCH_ABOVE: f64 = 0.1;

impl Worker {
    pub fn new(slots: usize) -> Worker {
        Worker {
            slots: slots.max(1),
            phase: Phase::Serving,
            running: BTreeMap::new(),
            held: VecDeque::new(),
            service: 0.0,
            elsewhere: 0.0,
        }
    }

    /// How many more messages to ask for now.
    pub fn room(&self) -> usize {
        let alone = !self.held.is_empty() || self.running.values().any(|redelivered| *redelivered);
        if alone || self.phase != Phase::Serving {
            return 0;
        }
        let capacity = if self.prefetches() { self.slots * 2 } else { self.slots };
        capacity.saturating_sub(self.running.len())
    }

    fn prefetches(&self) -> bool {
        self.elsewhere > self.service * PREFETCH_ABOVE
    }

    /// Messages in hand.
    pub fn in_hand(&self) -> usize {
        self.running.len() + self.held.len()
    }

    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Received { job, redelivered } => self.received(job, redelivered),
            Event::Finished { job, service, elsewhere } => {
                self.measure(service, elsewhere);
                self.running.remove(&job);
                self.held.retain(|held| *held != job);
                self.next()
            }
            Event::Overdue { job } => {
                self.running.remove(&job);
                self.phase = Phase::Stuck;
                let mut effects: Vec<Effect> = self.held.drain(..).map(Effect::GiveBack).collect();
                effects.extend(self.running.keys().map(|job| Effect::GiveBack(*job)));
                effects.extend(self.next());
                effects
            }
            Event::Stop => {
                if self.phase == Phase::Serving {
                    self.phase = Phase::Draining;
                }
                self.next()
            }
        }
    }

    fn received(&mut self, job: JobId, redelivered: bool) -> Vec<Effect> {
        if self.phase == Phase::Stuck {
            self.running.insert(job, redelivered);
            return vec![Effect::GiveBack(job)];
        }
        if redelivered {
            self.held.push_back(job);
            return self.next();
        }
        self.running.insert(job, false);
        vec![Effect::Start(job)]
    }

    fn next(&mut self) -> Vec<Effect> {
        if self.running.is_empty() {
            if let Some(job) = self.held.pop_front() {
                self.running.insert(job, true);
                return vec![Effect::Start(job)];
            }
            match self.phase {
                Phase::Serving => {}
                Phase::Draining => return vec![Effect::End(End::Drained)],
                Phase::Stuck => return vec![Effect::End(End::Stuck)],
            }
        }
        Vec::new()
    }

    fn measure(&mut self, service: Duration, elsewhere: Duration) {
        let mix = |old: f64, new: Duration| {
            if old == 0.0 { new.as_secs_f64() } else { old + NEWEST * (new.as_secs_f64() - old) }
        };
        self.service = mix(self.service, service);
        self.elsewhere = mix(self.elsewhere, elsewhere);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn finished(job: JobId, service: Duration, elsewhere: Duration) -> Event {
        Event::Finished { job, service, elsewhere }
    }

    #[test]
    fn a_redelivered_message_is_worked_on_alone() {
        let mut worker = Worker::new(2);
        assert_eq!(worker.on(Event::Received { job: 1, redelivered: false }), [Effect::Start(1)]);
        assert_eq!(worker.on(Event::Received { job: 2, redelivered: true }), []);
        assert_eq!(worker.room(), 0, "no neighbour is taken while one waits to be alone");
        assert_eq!(worker.on(finished(1, MS, MS)), [Effect::Start(2)]);
        assert_eq!(worker.room(), 0);
        assert_eq!(worker.on(finished(2, MS, MS)), []);
        assert!(worker.room() > 0);
    }

    #[test]
    fn a_stopped_worker_finishes_and_ends() {
        let mut worker = Worker::new(1);
        worker.on(Event::Received { job: 1, redelivered: false });
        assert_eq!(worker.on(Event::Stop), []);
        assert_eq!(worker.room(), 0);
        // what a poll still brings after the stop is worked on too: its receive count has risen already
        assert_eq!(worker.on(Event::Received { job: 2, redelivered: false }), [Effect::Start(2)]);
        worker.on(finished(1, MS, MS));
        assert_eq!(worker.on(finished(2, MS, MS)), [Effect::End(End::Drained)]);
        assert_eq!(Worker::new(1).on(Event::Stop), [Effect::End(End::Drained)]);
    }

    #[test]
    fn an_overdue_job_gives_the_others_back_and_ends_the_worker() {
        let mut worker = Worker::new(2);
        worker.on(Event::Received { job: 1, redelivered: false });
        worker.on(Event::Received { job: 2, redelivered: false });
        assert_eq!(worker.on(Event::Overdue { job: 1 }), [Effect::GiveBack(2)]);
        assert_eq!(worker.on(Event::Received { job: 3, redelivered: false }), [Effect::GiveBack(3)]);
        worker.on(finished(3, MS, MS));
        assert_eq!(worker.on(finished(2, MS, MS)), [Effect::End(End::Stuck)]);
    }

    #[test]
    fn a_second_message_a_session_is_held_only_where_it_pays() {
        let mut worker = Worker::new(2);
        assert_eq!(worker.room(), 2);
        worker.on(Event::Received { job: 1, redelivered: false });
        worker.on(finished(1, MS * 100, MS * 30));
        assert_eq!(worker.room(), 4);
        for job in 2..60 {
            worker.on(Event::Received { job, redelivered: false });
            worker.on(finished(job, MS * 2000, MS * 3));
        }
        assert_eq!(worker.room(), 2);
    }

    proptest! {
        /// Whatever happens in whatever order: never more than two messages a slot are started, a redelivered one is
        /// alone, and a stopped worker whose jobs end does end.
        #[test]
        fn invariants(slots in 1usize..4, steps in proptest::collection::vec((0u8..6, any::<bool>()), 1..200)) {
            let mut worker = Worker::new(slots);
            let (mut next, mut running): (JobId, Vec<(JobId, bool)>) = (0, Vec::new());
            let apply = |worker: &mut Worker, event: Event, running: &mut Vec<(JobId, bool)>, redelivered: &mut BTreeMap<JobId, bool>| {
                for effect in worker.on(event) {
                    if let Effect::Start(job) = effect {
                        running.push((job, redelivered[&job]));
                    }
                }
            };
            let mut redelivered = BTreeMap::new();
            for (kind, flag) in steps {
                match kind {
                    0..=3 => {
                        for _ in 0..worker.room().min(3) {
                            next += 1;
                            redelivered.insert(next, flag);
                            apply(&mut worker, Event::Received { job: next, redelivered: flag }, &mut running, &mut redelivered);
                        }
                    }
                    4 => if let Some((job, _)) = running.pop() {
                        apply(&mut worker, finished(job, MS, if flag { MS } else { Duration::ZERO }), &mut running, &mut redelivered);
                    },
                    _ => if flag && next > 50 { apply(&mut worker, Event::Stop, &mut running, &mut redelivered); },
                }
                prop_assert!(running.len() <= slots * 2);
                prop_assert!(running.len() == 1 || running.iter().all(|(_, redelivered)| !redelivered));
            }
            let mut ended = worker.on(Event::Stop).contains(&Effect::End(End::Drained));
            while let Some((job, _)) = running.pop() {
                for effect in worker.on(finished(job, MS, MS)) {
                    match effect {
                        Effect::Start(job) => running.push((job, true)),
                        Effect::End(end) => { prop_assert_eq!(end, End::Drained); ended = true; }
                        Effect::GiveBack(_) => prop_assert!(false, "nothing is given back by a drain"),
                    }
                }
            }
            prop_assert!(ended && worker.in_hand() == 0);
        }
    }
}
