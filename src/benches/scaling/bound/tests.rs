use super::*;

const WORLD: World = World { max: 20, boot_billed_seconds: 25.0, minimum_bill_seconds: 60.0 };
const GRID: Grid = Grid { slot_seconds: 2.0, units: 1 };

fn within(deadline_seconds: f64) -> Promise {
    Promise { deadline_seconds, late_share: 0.0 }
}

fn burst(requests: usize) -> Vec<(f64, f64)> {
    vec![(0.0, 2.0); requests]
}

fn bound(requests: &[(f64, f64)], promise: Promise) -> f64 {
    instance_seconds(requests, WORLD, promise, GRID).unwrap()
}

fn assert_near(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-6, "{left} is not {right}");
}

#[test]
fn an_instance_is_billed_a_minute_at_least() {
    assert_near(bound(&burst(1), within(2.0)), 60.0);
    assert_near(bound(&burst(10), within(20.0)), 60.0);
    // Twice as fast takes two.
    assert_near(bound(&burst(10), within(10.0)), 120.0);
    assert_near(bound(&[], within(10.0)), 0.0);
}

/// 150 requests of 2 s by one instance: 300 s of work and a boot, of which the slots' rounding gives away 4 s.
#[test]
fn long_work_costs_what_it_takes_and_a_boot() {
    assert_near(bound(&burst(150), within(300.0)), 25.0 - 4.0 + 300.0);
    assert_near(bound(&burst(150), within(150.0)), 2.0 * 21.0 + 300.0);
}

#[test]
fn a_deadline_that_the_pool_cannot_keep_is_said() {
    assert_eq!(instance_seconds(&burst(150), WORLD, within(14.0), GRID), None); // 20 instances take 16 s
    assert!(instance_seconds(&burst(150), WORLD, within(16.0), GRID).is_some());
}

/// Work that returns soon is waited for, work that returns late is not: an idle second costs what a second of a boot
/// does.
#[test]
fn idleness_or_another_boot_whichever_costs_less() {
    let twice = |gap: f64| {
        let mut requests = burst(50);
        requests.extend(burst(50).iter().map(|&(at, work)| (at + 100.0 + gap, work)));
        bound(&requests, within(100.0))
    };
    assert_near(twice(10.0), 21.0 + 210.0);
    assert_near(twice(500.0), 2.0 * (21.0 + 100.0));
}

/// A hundredth may be late: of a burst of 100 that is one, and 99 fit where 100 did not.
#[test]
fn those_that_may_be_late_are_left_out() {
    let promise = Promise { deadline_seconds: 198.0, late_share: 0.01 };
    assert!(bound(&burst(100), within(198.0)) > bound(&burst(99), within(198.0)));
    let late = bound(&burst(100), promise);
    assert!(late <= bound(&burst(99), within(198.0)) + 1e-6);
    assert!(late > bound(&burst(99), within(198.0)) - 2.5, "{late}");
}

/// Which of them are late is not said: it may be the longest.
#[test]
fn the_longest_may_be_late() {
    let mut requests = burst(9);
    requests.push((0.0, 20.0));
    // One instance answers nine in 18 s and the long one after 38 s: it is billed 63 s.
    let late = bound(&requests, Promise { deadline_seconds: 18.0, late_share: 0.1 });
    assert!((59.0..=63.0).contains(&late), "{late}");
}

/// One instance is always as many behind as the deadline allows.
#[test]
fn just_in_time_is_in_time() {
    let mut requests = burst(2);
    requests.extend((1..10).map(|slot| (2.0 * f64::from(slot), 2.0)));
    let one = World { max: 1, ..WORLD };
    assert_near(instance_seconds(&requests, one, within(4.0), GRID).unwrap(), 60.0);
    assert_eq!(instance_seconds(&requests, one, within(2.0), GRID), None);
}

/// Parts of a unit: 1.5 s each are three units for two requests, and neither rounding is against the run.
#[test]
fn requests_need_not_be_whole_units() {
    let requests: Vec<(f64, f64)> = (0..40).map(|number| (1.5 * f64::from(number), 1.5)).collect();
    // One instance answers each as it comes, in 1.5 s.
    let one = World { max: 1, ..WORLD };
    let bound = instance_seconds(&requests, one, within(1.5), GRID).unwrap();
    assert!((60.0..=85.0).contains(&bound), "{bound}");
}

/// Numbers that look random and are the same every time.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self, below: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64 * below
    }
}

/// Runs a plan of spans of use, first come, first served, each request on the instance that can answer it first and
/// whole; an instance that is at work when its span ends finishes. The latencies and what it bills.
fn run(requests: &[(f64, f64)], plan: &[(f64, f64)]) -> Option<(Vec<f64>, f64)> {
    let mut ends: Vec<(f64, f64, f64)> = plan.iter().map(|&(from, to)| (from, from, to)).collect();
    let mut latencies = Vec::new();
    for &(at, work) in requests {
        let free = ends.iter_mut().filter(|(free, _, to)| free.max(at) < *to);
        let (free, ..) = free.min_by(|a, b| a.0.max(at).total_cmp(&b.0.max(at)))?;
        *free = free.max(at) + work;
        latencies.push(*free - at);
    }
    let bill = |&(free, from, to): &(f64, f64, f64)| {
        let used = free.max(to) - from;
        (WORLD.boot_billed_seconds + used).max(WORLD.minimum_bill_seconds)
    };
    Some((latencies, ends.iter().map(bill).sum()))
}

/// The point of a bound: no plan is below it, whatever the plan, the arrivals, the service times and the grid.
#[test]
fn no_plan_is_below_the_bound() {
    let mut random = Lcg(42);
    let (mut runs, mut closest) = (0, f64::INFINITY);
    while runs < 45 {
        let (length, number) = (30.0 + random.next(300.0), 1 + random.next(200.0) as usize);
        let mut requests: Vec<(f64, f64)> =
            (0..number).map(|_| (random.next(length), 0.5 + random.next(3.0))).collect();
        requests.sort_by(|a, b| a.0.total_cmp(&b.0));
        let spans = 1 + random.next(5.0) as usize;
        let mut plan: Vec<(f64, f64)> = (0..spans)
            .map(|_| {
                let from = random.next(length);
                (from, from + random.next(length))
            })
            .collect();
        plan.push((0.0, length + random.next(100.0)));
        let Some((mut latencies, bill)) = run(&requests, &plan) else { continue };
        latencies.sort_by(f64::total_cmp);
        let late_share = [0.0, 0.01, 0.1][runs % 3];
        let late = (late_share * number as f64).floor() as usize;
        let promise = Promise { deadline_seconds: latencies[number - 1 - late], late_share };
        let grid = [GRID, Grid { slot_seconds: 2.0, units: 4 }, Grid { slot_seconds: 5.0, units: 3 }][runs / 3 % 3];
        let bound = instance_seconds(&requests, World { max: 6, ..WORLD }, promise, grid).unwrap();
        assert!(bound <= bill + 1e-6, "{bound} of {bill}: {promise:?}, {grid:?}, {plan:?}");
        closest = closest.min(bill / bound);
        runs += 1;
    }
    assert!(closest < 1.25, "never near: {closest}");
}
