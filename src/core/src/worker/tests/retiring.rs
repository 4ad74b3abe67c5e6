use super::*;
use std::collections::BTreeSet;

/// A worker that holds a terminate request and has nothing else in hand, judged and about to confirm.
fn confirming() -> Worker {
    let mut worker = Worker::new(1);
    assert_eq!(worker.on(Event::Asked(Verdict::Retire)), [Effect::JudgeAgain]);
    assert_eq!(worker.on(Event::JudgedAgain(Verdict::Retire)), [Effect::Confirm]);
    worker
}

#[test]
fn retires_in_the_order_of_the_protocol() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false)]);
    polled(&mut worker, &[(2, true)]);
    assert!(worker.looks(), "also while busy");
    assert_eq!(worker.on(Event::Asked(Verdict::Retire)), []);
    assert!(worker.holds_request() && !worker.looks());
    assert_eq!(worker.on(done(1)), [Effect::Start(2)]);
    assert_eq!(worker.ask(), None, "it receives no more");
    assert_eq!(worker.on(done(2)), [Effect::JudgeAgain]);
    assert_eq!(worker.on(Event::JudgedAgain(Verdict::Retire)), [Effect::Confirm]);
    assert_eq!(worker.ask(), None);
    assert_eq!(worker.on(Event::Confirmed { sent: true }), [Effect::DeleteRequest]);
    assert_eq!(worker.on(Event::RequestDeleted), [Effect::End(End::Retired)]);
}

#[test]
fn does_not_confirm_while_a_receive_may_bring_something() {
    let mut worker = Worker::new(1);
    worker.ask();
    assert_eq!(worker.on(Event::Asked(Verdict::Retire)), []);
    assert!(worker.must_end_poll());
    assert_eq!(worker.on(bring(&[(1, false)])), [Effect::Start(1)]);
    assert_eq!(worker.on(done(1)), [Effect::JudgeAgain]);
}

#[test]
fn a_void_request_is_deleted_and_a_paused_one_given_back() {
    for (verdict, effect) in [(Verdict::Discard, Effect::DeleteRequest), (Verdict::GiveBack, Effect::GiveRequestBack)] {
        let mut worker = Worker::new(1);
        assert_eq!(worker.on(Event::Asked(verdict)), [effect]);
        assert!(!worker.holds_request() && worker.ask().is_some(), "it goes on working");
        worker.on(bring(&[]));
        worker.on(Event::Asked(Verdict::Retire));
        assert_eq!(worker.on(Event::JudgedAgain(verdict)), [effect], "also after everything is done");
        assert!(!worker.holds_request() && worker.ask().is_some());
    }
}

#[test]
fn a_lost_request_retires_nobody_before_the_confirmation() {
    let mut worker = Worker::new(1);
    worker.on(Event::Asked(Verdict::Retire));
    assert_eq!(worker.on(Event::RequestLost), []);
    assert!(worker.ask().is_some());
    assert_eq!(worker.on(Event::JudgedAgain(Verdict::Retire)), [], "an answer that comes too late is no answer");

    let mut worker = confirming();
    assert_eq!(worker.on(Event::RequestLost), []);
    assert_eq!(worker.ask(), None, "the controller may have heard: there is no way back");
}

#[test]
fn a_confirmation_is_tried_again_and_given_up_in_the_end() {
    let mut worker = confirming();
    for _ in 1..MOST_CONFIRMS {
        assert_eq!(worker.on(Event::Confirmed { sent: false }), [Effect::Confirm]);
    }
    assert_eq!(worker.on(Event::Confirmed { sent: false }), [Effect::DeleteRequest]);
    assert_eq!(worker.on(Event::RequestDeleted), [Effect::End(End::Retired)]);
}

#[test]
fn a_stop_gives_the_request_back_unless_it_is_confirmed() {
    let mut worker = Worker::new(1);
    polled(&mut worker, &[(1, false)]);
    worker.on(Event::Asked(Verdict::Retire));
    assert_eq!(worker.on(Event::Stop), [Effect::GiveRequestBack]);
    assert_eq!(worker.on(done(1)), [Effect::End(End::Drained)]);

    let mut worker = confirming();
    assert_eq!(worker.on(Event::Stop), []);
    worker.on(Event::Confirmed { sent: true });
    assert_eq!(worker.on(Event::RequestDeleted), [Effect::End(End::Retired)]);
}

#[test]
fn an_overdue_job_gives_the_request_back() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false), (2, false)]);
    worker.on(Event::Asked(Verdict::Retire));
    assert_eq!(worker.on(Event::Overdue { job: 1 }), [Effect::GiveRequestBack, Effect::GiveBack(2)]);
    assert_eq!(worker.on(done(2)), [Effect::End(End::Stuck)]);
}

#[test]
fn a_request_that_comes_after_a_stop_is_given_back() {
    let mut worker = Worker::new(1);
    polled(&mut worker, &[(1, false)]);
    worker.on(Event::Stop);
    assert_eq!(worker.on(Event::Asked(Verdict::Retire)), [Effect::GiveRequestBack]);
    assert_eq!(worker.on(Event::Asked(Verdict::Discard)), [Effect::DeleteRequest]);
}

/// The shell and the world around one worker, at random.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a step that may or may not be due, in any combination")]
struct World {
    /// Started jobs, and whether they were delivered before.
    running: Vec<(JobId, bool)>,
    /// Given back before they were started: their tasks have not said yet that they are over.
    stopping: Vec<JobId>,
    redelivered: std::collections::BTreeMap<JobId, bool>,
    /// Received and not over: the invariant of retirement is about these.
    undeleted: BTreeSet<JobId>,
    asked: Option<usize>,
    next: JobId,
    judging: bool,
    confirming: bool,
    deleting: bool,
    confirmed: bool,
    holds: bool,
    end: Option<End>,
}

impl World {
    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start(job) => self.running.push((job, self.redelivered[&job])),
                // the job's task stops and reports itself over later
                Effect::GiveBack(job) => {
                    if !self.running.iter().any(|(running, _)| *running == job) {
                        self.stopping.push(job);
                    }
                }
                Effect::JudgeAgain => self.judging = true,
                Effect::Confirm => {
                    assert!(self.undeleted.is_empty() && self.asked.is_none(), "confirmed with work in hand");
                    self.confirming = true;
                    self.confirmed = true;
                }
                Effect::DeleteRequest => {
                    self.deleting = self.holds;
                    self.holds = self.holds && self.confirmed;
                }
                Effect::GiveRequestBack => self.holds = false,
                Effect::End(end) => {
                    assert!(self.undeleted.is_empty() && self.asked.is_none(), "ended with work in hand");
                    self.end = Some(end);
                }
            }
        }
    }

    fn step(&mut self, worker: &mut Worker, kind: u8, flag: bool) {
        let verdict = if flag { Verdict::Retire } else { Verdict::GiveBack };
        let effects = match kind {
            0 | 1 => match self.asked.take() {
                None => {
                    assert!(!self.confirmed || worker.ask().is_none(), "receives after its confirmation");
                    self.asked = worker.ask();
                    Vec::new()
                }
                Some(asked) => {
                    let brought: Vec<(JobId, bool)> = (0..asked as u64)
                        .map(|n| (self.next + n, flag && n % 2 == 0))
                        .filter(|(job, _)| flag || job % 3 == 0)
                        .collect();
                    self.next += asked as u64;
                    self.redelivered.extend(brought.iter().copied());
                    self.undeleted.extend(brought.iter().map(|(job, _)| *job));
                    worker.on(bring(&brought))
                }
            },
            2 | 3 => match self.running.pop().map(|(job, _)| job).or_else(|| self.stopping.pop()) {
                Some(job) => {
                    self.undeleted.remove(&job);
                    worker.on(done(job))
                }
                None => Vec::new(),
            },
            4 if worker.looks() => {
                self.holds = flag;
                worker.on(Event::Asked(verdict))
            }
            5 if self.judging => {
                self.judging = false;
                worker.on(Event::JudgedAgain(verdict))
            }
            6 if self.confirming => {
                self.confirming = false;
                worker.on(Event::Confirmed { sent: flag })
            }
            7 if self.deleting => {
                self.deleting = false;
                worker.on(Event::RequestDeleted)
            }
            8 => worker.on(Event::RequestLost),
            9 if flag && self.next > 60 => worker.on(Event::Stop),
            10 if flag && self.next > 40 => worker.on(Event::Abandoned),
            11 if flag && self.next > 40 => worker.on(Event::Evicted),
            _ => Vec::new(),
        };
        self.apply(effects);
    }
}

proptest! {
    /// Whatever happens in whatever order: never more than two messages a slot, a redelivered one alone, no
    /// confirmation and no end with a message in hand, and a stopped worker whose jobs end does end.
    #[test]
    fn invariants(slots in 1usize..4, steps in proptest::collection::vec((0u8..12, any::<bool>()), 1..300)) {
        let (mut worker, mut world) = (Worker::new(slots), World::default());
        for (kind, flag) in steps {
            world.step(&mut worker, kind, flag);
            prop_assert!(world.running.len() <= slots * 2);
            prop_assert!(world.running.len() <= 1 || world.running.iter().all(|(_, redelivered)| !redelivered));
            if world.end.is_some() { return Ok(()); }
        }
        let effects = worker.on(Event::Stop);
        world.apply(effects);
        for _ in 0..400 {
            if world.end.is_some() { break; }
            let kinds = [if world.asked.is_some() { 0 } else { 2 }, 5, 6, 7];
            for kind in kinds { world.step(&mut worker, kind, true); }
        }
        prop_assert!(world.end.is_some(), "{:?}", worker);
        prop_assert_eq!(worker.in_hand(), 0);
    }
}
