//! The world is the same one: a pool of a fixed size fares in it as in `bellows simulate`.

use super::super::peers::fixed::Fixed;
use super::super::world::planned;
use super::*;
use bellows::sim::{self, Bin};

fn plan(flags: &[&str], trace: &Trace) -> Plan {
    let flags: Vec<String> = flags.iter().chain(&["--seeds", "3"]).map(|&flag| flag.to_owned()).collect();
    planned(&flags, trace).unwrap().remove(2)
}

fn trace(bins: &[(f64, f64, u64)]) -> Trace {
    let bin = |&(start, width, requests): &(f64, f64, u64)| Bin { start, width, requests };
    Trace { name: "test".into(), bins: bins.iter().map(bin).collect() }
}

/// Wants what it was told to, from one second to the next.
struct Script(Ending, Vec<(u64, u32)>);

impl Policy for Script {
    fn period_seconds(&self) -> u64 {
        1
    }

    fn tick(&mut self, now_seconds: u64, _: &Sight) -> Wish {
        let wanted = self.1.iter().rev().find(|(from, _)| *from <= now_seconds).map_or(0, |(_, wanted)| *wanted);
        Wish { wanted, ending: self.0 }
    }
}

fn seconds(outcome: &Outcome, quantile: f64) -> f64 {
    outcome.latencies.value_at_quantile(quantile) as f64 / 1000.0
}

/// Nine tenths busy, after a burst that meets booting instances: each answer at the same moment, and the bill the
/// same but for the seconds in which a real pool notices that it may go.
#[test]
fn a_pool_of_a_fixed_size_fares_as_in_the_roles_of_the_daemon() {
    let trace = trace(&[(180.0, 0.0, 80), (300.0, 1200.0, 2600)]);
    let fixed = ["--set", "pool.max_instances=5", "--set", "pool.min_instances=5"];
    let world = [&fixed[..], &["--boot-cv", "0.3", "--policy", "backlog"]].concat();
    let plan = plan(&world, &trace);
    let ours = sim::run(&plan, &trace, &|_| {}).unwrap();
    let end = (later(plan.settings.seed) + trace.span()).as_secs();
    let lean = run(&plan, &trace, "fixed", &mut Fixed::new(5, end));
    assert_eq!((ours.requests, ours.lost, lean.requests, lean.lost), (2680, 0, 2680, 0));
    assert!(seconds(&lean, 0.5) > 2.0 && seconds(&lean, 0.99) > 10.0, "it never waited");
    let born = |outcome: &Outcome| {
        let boots = outcome.lives.iter().map(|life| life.running.unwrap().since(life.launched));
        boots.collect::<Vec<_>>()
    };
    assert_eq!(born(&ours), born(&lean));
    let quantiles =
        |outcome: &Outcome| (1..=200_u32).map(|n| seconds(outcome, f64::from(n) / 200.0)).collect::<Vec<_>>();
    for (ours, lean) in quantiles(&ours).into_iter().zip(quantiles(&lean)) {
        assert!((ours - lean).abs() < 0.005, "{ours} and {lean}"); // two that finish within one millisecond
    }
    // a leader looks around before it launches; at the end each has its own moment
    let looking = 5.0 * ours.lives[0].launched.since(BEGIN).as_secs_f64();
    let apart = (ours.instance_hours * 3600.0 + looking - lean.instance_hours * 3600.0).abs();
    assert!(apart < 5.0 * 6.0, "{} and {}", ours.instance_hours, lean.instance_hours);
}

/// Without instances both queues only fill: each read of each counter sees the same moment of the past.
#[test]
fn counters_are_as_late_as_in_the_roles_of_the_daemon() {
    let trace = trace(&[(0.0, 300.0, 2000)]);
    let plan = plan(&["--counter-lag", "20s"], &trace);
    let mut queue = Queue::new(plan.settings.seed, plan.chance.counters);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let differ: usize = runtime.block_on(async {
        let world = sim::World::with(plan.settings.clone(), plan.chance).unwrap();
        let mut arrivals = (1_u64..).zip(trace.arrivals(plan.settings.seed).map(millis)).peekable();
        let (mut differ, mut sent) = (0, 0);
        for now in 1..400_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            while let Some((number, _)) = arrivals.next_if(|(_, at)| *at <= now) {
                world.submit(number.into()).await.unwrap();
                queue.send(now, number);
                sent = number;
            }
            if now % 1000 == 0 {
                let counted = world.counted().await.unwrap();
                assert_eq!((counted.visible, counted.in_flight), queue.counters(now), "at {now}");
                differ += usize::from(counted.visible != sent);
            }
        }
        differ
    });
    assert!(differ > 250, "the counters were hardly ever late: {differ}");
}

/// One is killed at its work: it counts, and its message comes back when the visibility that it extended runs out.
#[test]
fn who_is_killed_at_work_is_interrupted_and_its_work_comes_back() {
    let trace = trace(&[(0.0, 0.0, 1)]);
    let plan = plan(&["--service", "25s", "--service-cv", "0", "--boot-unbilled", "5s", "--boot", "5s"], &trace);
    let came = 10_u64.max(later(3).as_secs());
    let killed = |grace_seconds| {
        let ending = Ending::Random { grace_seconds };
        run(&plan, &trace, "script", &mut Script(ending, vec![(0, 1), (came + 12, 0), (came + 13, 1), (came + 200, 0)]))
    };
    let kind = killed(30);
    assert_eq!((kind.interrupted, kind.lost, kind.lives.len(), kind.rested), (0, 0, 2, true));
    assert!(seconds(&kind, 1.0) < 65.1, "{}", seconds(&kind, 1.0));
    let rude = killed(0);
    assert_eq!((rude.interrupted, rude.lost, rude.lives.len(), rude.rested), (1, 0, 2, true));
    // extended 10 s after it was taken, visible again 30 s after that, and 25 s of work
    let apart = seconds(&rude, 1.0) - seconds(&kind, 1.0);
    assert!((39.9..40.1).contains(&apart), "{apart}");
    let ends: Vec<bool> = rude.lives.iter().map(|life| life.terminated.is_some()).collect();
    assert_eq!(ends, [true, true]);
}

/// The last one to finish takes the next job, so that the other is idle for long enough; in turns neither ever is.
#[test]
fn idle_agents_end_of_themselves() {
    let trace = trace(&[(60.0, 600.0, 200)]);
    let plan = plan(&["--service", "500ms"], &trace);
    let idle = Ending::Idle { after_seconds: 30 };
    let lonely = run(&plan, &trace, "script", &mut Script(idle, vec![(0, 2), (40, 0)]));
    let ended: Vec<_> = lonely.lives.iter().filter_map(|life| life.terminated).collect();
    let apart = ended[0].0.abs_diff(ended[1].0);
    assert!(apart > 300_000, "{apart}");
    let asked = run(&plan, &trace, "script", &mut Script(Ending::Pods { grace_seconds: 30 }, vec![(0, 2), (800, 0)]));
    let ended: Vec<_> = asked.lives.iter().filter_map(|life| life.terminated).collect();
    assert_eq!(ended[0], ended[1]);
    assert_eq!((lonely.lost, lonely.interrupted, asked.lost, asked.interrupted), (0, 0, 0, 0));
}

/// A minute at least, nothing for one that never ran, and seconds from running to its end.
#[test]
fn the_bill_is_that_of_the_simulation() {
    let trace = trace(&[(0.0, 0.0, 1)]);
    let plan = plan(&["--service-cv", "0"], &trace);
    let pods = |course| run(&plan, &trace, "script", &mut Script(Ending::Pods { grace_seconds: 30 }, course));
    let billed =
        |course| pods(course).lives.iter().map(|life| life.billed(&plan.chance, life.launched).as_secs()).sum();
    let (never_ran, short, long): (u64, u64, u64) = (
        billed(vec![(100, 1), (110, 0), (200, 1), (230, 0), (300, 1), (700, 0)]),
        billed(vec![(100, 1), (130, 0), (200, 1), (700, 0)]),
        billed(vec![(100, 1), (700, 0)]),
    );
    assert_eq!((never_ran, short, long), (60 + 387, 60 + 487, 587));
}

#[test]
fn what_is_refused_is_launched_when_there_is_capacity() {
    let trace = trace(&[(0.0, 0.0, 20)]);
    let mut plan = plan(&[], &trace);
    plan.chance.refused = Some((Duration::ZERO, Duration::from_secs(305)));
    let script = Script(Ending::Pods { grace_seconds: 30 }, vec![(0, 3), (500, 0)]);
    let lean = run(&plan, &trace, "script", &mut { script });
    let first = lean.lives[0].launched.since(BEGIN).as_secs();
    assert_eq!((first, lean.lives.len(), lean.lost), (305, 3, 0));
    let ours = sim::run(&plan, &trace, &|_| {}).unwrap();
    let first = ours.lives.iter().map(|life| life.launched.since(BEGIN).as_secs()).min().unwrap();
    assert!((305..370).contains(&first), "{first}");
    assert_eq!((ours.lost, ours.interrupted, ours.rested), (0, 0, true));
}
