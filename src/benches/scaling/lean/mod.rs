//! A small world for the references: the same requests, services, boots, counters and bill as `bellows simulate` draws
//! for the same plan and seed, without the roles of the daemon. An instance is a worker that takes one message at a
//! time; a `Policy` is asked at its ticks, and what it wishes is done. All times are whole milliseconds, as the virtual
//! clock's are.
//!
//! In the references' favour: a ReplicaSet counts no pod that is ending, so that these may go beyond the maximum for a
//! moment (`most` in the tables); what capacity errors refused is launched the moment they end.

mod pool;
mod queue;

use super::peers::{Ending, Policy, Sight, Wish};
use bellows::sim::{BEGIN, Outcome, Plan, Trace, later};
use bellows_core::time::Timestamp;
use hdrhistogram::Histogram;
use pool::Pool;
use queue::Queue;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// As `sim::run` has them: after the last arrival, when what is not answered is lost; and the longest latency that is
/// told from longer ones, in milliseconds.
const PATIENCE_MS: u64 = 4 * 3600 * 1000;
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// What happens to instances (by the number of their launch) and to messages; what comes first at one moment is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Running(usize),
    Ready(usize),
    Done(usize),
    Killed(usize),
    /// The visibility of a message has run out.
    Back(u64),
    /// It has had no work since then.
    Idle(usize, u64),
    Gone(usize),
    /// Launches are not refused any more.
    Capacity,
    Tick,
}

/// Whole milliseconds, as tokio's clock rounds them: up.
fn millis(span: Duration) -> u64 {
    span.as_micros().div_ceil(1000) as u64
}

struct Run<'a> {
    plan: &'a Plan,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    queue: Queue,
    pool: Pool,
    wish: Wish,
    /// When each unanswered request came, by its number.
    open: BTreeMap<u64, u64>,
    requests: u64,
    ticks: u64,
    misses: u64,
    latencies: Histogram<u64>,
    /// Milliseconds of unanswered requests since the last tick, up to a moment.
    waited: u64,
    waited_until: u64,
    ticked: u64,
}

/// Runs a reference over a trace, and on until nothing is left.
///
/// # Panics
/// Where a histogram up to a day cannot be made.
pub fn run(plan: &Plan, trace: &Trace, name: &str, policy: &mut dyn Policy) -> Outcome {
    let seed = plan.settings.seed;
    let mut run = Run::new(plan);
    let later = later(seed);
    let mut arrivals = trace.arrivals(seed).map(|at| millis(later + at)).peekable();
    let (mut last, mut rested) = (0, false);
    while let Some(Reverse((due, _))) = run.events.peek() {
        if let Some(at) = arrivals.next_if(|at| at <= due) {
            last = at;
            run.at(at);
            run.arrive();
            continue;
        }
        if arrivals.peek().is_none() {
            rested = run.open.is_empty() && run.pool.alive() == 0;
            if rested || *due > last + PATIENCE_MS {
                break;
            }
        }
        let Some(Reverse((due, event))) = run.events.pop() else { break };
        run.at(due);
        run.on(event, policy);
    }
    run.outcome(trace, name, rested)
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Run<'a> {
        let settings = &plan.settings;
        let latencies = Histogram::new_with_bounds(1, LONGEST_MS, 3).unwrap();
        let mut events = BinaryHeap::from([Reverse((0, Event::Tick))]);
        if let Some((_, until)) = plan.chance.refused {
            events.push(Reverse((millis(until), Event::Capacity)));
        }
        Run {
            plan,
            now: 0,
            events,
            queue: Queue::new(settings.seed, plan.chance.counters),
            pool: Pool::new(settings.seed),
            wish: Wish { wanted: 0, ending: Ending::Random { grace_seconds: 0 } },
            open: BTreeMap::new(),
            requests: 0,
            ticks: 0,
            misses: 0,
            latencies,
            waited: 0,
            waited_until: 0,
            ticked: 0,
        }
    }

    fn at(&mut self, now: u64) {
        self.waited += self.open.len() as u64 * (now - self.waited_until);
        (self.now, self.waited_until) = (now, now);
    }

    fn after(&mut self, span: Duration, event: Event) {
        self.events.push(Reverse((self.now + millis(span), event)));
    }

    fn moment(&self) -> Timestamp {
        BEGIN.plus(Duration::from_millis(self.now))
    }

    fn arrive(&mut self) {
        self.requests += 1;
        self.open.insert(self.requests, self.now);
        self.queue.send(self.now, self.requests);
        self.serve();
    }

    fn on(&mut self, event: Event, policy: &mut dyn Policy) {
        match event {
            Event::Running(id) => self.pool.running(id, self.moment()),
            Event::Ready(id) if self.pool.ready(id, self.now) => self.rest(id, true),
            Event::Ready(_) => {}
            Event::Done(id) => self.done(id),
            Event::Killed(id) => self.kill(id),
            Event::Back(message) => {
                self.queue.come_back(self.now, message);
                self.serve();
            }
            Event::Idle(id, since) => {
                let idle = matches!(self.wish.ending, Ending::Idle { .. }) && self.pool.has_idled_since(id, since);
                if idle && self.pool.end_idle(id) {
                    self.after(self.plan.settings.ending, Event::Gone(id));
                }
            }
            Event::Gone(id) => self.pool.gone(id, self.moment()),
            Event::Capacity if matches!(self.wish.ending, Ending::Idle { .. }) => {}
            Event::Capacity => self.launch(),
            Event::Tick => self.tick(policy),
        }
    }

    fn tick(&mut self, policy: &mut dyn Policy) {
        let span = self.now - self.ticked;
        let concurrency = if span == 0 { self.open.len() as f64 } else { self.waited as f64 / span as f64 };
        (self.waited, self.ticked) = (0, self.now);
        let (visible, in_flight) = self.queue.counters(self.now);
        let (pending, starting, ready) = self.pool.stages();
        let ended_idle = self.pool.ended_idle();
        let sight = Sight { visible, in_flight, concurrency, pending, starting, ready, ended_idle };
        self.wish = policy.tick(self.now / 1000, &sight);
        self.ticks += 1;
        self.launch();
        self.end();
        self.after(Duration::from_secs(policy.period_seconds()), Event::Tick);
    }

    fn launch(&mut self) {
        let refused = |(from, until)| (millis(from)..millis(until)).contains(&self.now);
        if self.plan.chance.refused.is_some_and(refused) {
            return;
        }
        let settings = &self.plan.settings;
        for _ in self.pool.serving()..self.wish.wanted {
            let id = self.pool.launched(self.now, self.moment());
            let (unbilled, rest) = self.plan.chance.boot(settings.boot, settings.seed, id as u64);
            let running = self.now + millis(unbilled);
            self.events.push(Reverse((running, Event::Running(id))));
            self.events.push(Reverse((running + millis(rest), Event::Ready(id))));
        }
    }

    /// Ends what is too much, if the policy ends anything.
    fn end(&mut self) {
        let (Ending::Pods { grace_seconds } | Ending::Random { grace_seconds }) = self.wish.ending else { return };
        let by_rank = matches!(self.wish.ending, Ending::Pods { .. });
        let count = self.pool.serving().saturating_sub(self.wish.wanted);
        for id in self.pool.victims(count, by_rank, self.now) {
            if self.pool.end(id) {
                self.after(Duration::from_secs(grace_seconds), Event::Killed(id));
            } else {
                self.after(self.plan.settings.ending, Event::Gone(id));
            }
        }
    }

    /// Gives messages to those who are idle.
    fn serve(&mut self) {
        // of idle agents of Buildkite's the one that finished last is given the next job
        let last_finished = matches!(self.wish.ending, Ending::Idle { .. });
        while self.queue.has_visible()
            && let Some(id) = self.pool.next_idle(last_finished)
            && let Some(message) = self.queue.take(self.now)
        {
            self.pool.begin(id, message, self.now);
            let settings = &self.plan.settings;
            let service = self.plan.chance.service(settings.service, settings.seed, message);
            // the pause is a sleep of its own
            let busy = millis(service) + millis(settings.pause);
            self.events.push(Reverse((self.now + busy, Event::Done(id))));
        }
    }

    /// An instance has nothing to do from now on.
    fn rest(&mut self, id: usize, fresh: bool) {
        let by_finish = matches!(self.wish.ending, Ending::Idle { .. });
        self.pool.rest(id, self.now, fresh && by_finish);
        if let Ending::Idle { after_seconds } = self.wish.ending {
            self.after(Duration::from_secs(after_seconds), Event::Idle(id, self.now));
        }
        self.serve();
    }

    fn done(&mut self, id: usize) {
        let Some((message, _)) = self.pool.finish(id) else { return }; // it was killed
        self.queue.delete(self.now);
        if let Some(came) = self.open.remove(&message) {
            let latency = self.now - came;
            self.misses += u64::from(latency > millis(self.plan.deadline));
            self.latencies.saturating_record(latency.max(1));
        }
        if self.pool.is_ending(id) {
            self.after(self.plan.settings.ending, Event::Gone(id));
        } else {
            self.rest(id, false);
        }
    }

    /// The grace is over. What it had in hand comes back when the visibility that it extended last runs out.
    fn kill(&mut self, id: usize) {
        let Some((message, since)) = self.pool.finish(id) else { return }; // it was done in time
        self.pool.count_interrupted();
        let heartbeat = millis(self.plan.settings.visibility / 3).max(1);
        let extended = since + (self.now - since) / heartbeat * heartbeat;
        self.events.push(Reverse((extended + millis(self.plan.settings.visibility), Event::Back(message))));
        self.after(self.plan.settings.ending, Event::Gone(id));
    }

    fn outcome(self, trace: &Trace, name: &str, rested: bool) -> Outcome {
        let (now, most, interrupted) = (self.moment(), self.pool.most(), self.pool.interrupted());
        let lives = self.pool.into_lives();
        let billed: Duration = lives.iter().map(|life| life.billed(&self.plan.chance, now)).sum();
        let lost = self.open.len() as u64;
        Outcome {
            policy: name.to_owned(),
            trace: trace.name.clone(),
            seed: self.plan.settings.seed,
            requests: self.requests,
            lost,
            interrupted,
            most,
            rested,
            lives,
            began: BEGIN,
            instance_hours: billed.as_secs_f64() / 3600.0,
            latencies: self.latencies,
            misses: self.misses + lost,
            decisions: self.ticks,
            span: Duration::from_millis(self.now),
            looks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
