//! Shapes of load without faults: no thrash, no loss, no longer than it must.

use super::*;

/// A load for each second, without faults.
fn under(rule: Rule, hold: u64, seconds: u64, load: impl Fn(u64) -> u64) -> World {
    let mut world = World::new(7, rule, hold, 20, Faults::default());
    for second in 0..seconds {
        world.submit(load(second));
        world.step();
    }
    world
}

/// Lets the world run dry; how long that takes.
fn until_rest(world: &mut World) -> u64 {
    for second in 0..4000 {
        if world.is_at_rest() {
            return second;
        }
        world.step();
    }
    panic!("it never comes to rest");
}

fn peak(world: &World) -> u32 {
    world.sizes.iter().copied().max().unwrap_or(0)
}

#[test]
fn a_burst_of_150_goes_to_twenty_and_back_to_nothing() {
    // the original's own test: per request, no hold
    let mut world = under(Rule::PerRequest, 0, 1, |_| 150);
    let rest = until_rest(&mut world);
    assert_eq!((world.answered, peak(&world), world.fleet.launched), (150, 20, 20));
    assert!(rest < 110, "{rest} s");
}

#[test]
fn a_single_burst_launches_nobody_twice() {
    // a sketch of the deadline rule launched 46 times where 20 suffice
    for rule in [Rule::Backlog, Rule::Deadline] {
        let mut world = under(rule, 120, 1, |_| 150);
        until_rest(&mut world);
        assert!(world.answered == 150 && world.fleet.launched <= 20, "{rule:?} {}", world.fleet.launched);
    }
}

#[test]
fn a_trickle_keeps_one_and_then_none() {
    for rule in [Rule::PerRequest, Rule::Backlog, Rule::Deadline] {
        let mut world = under(rule, 30, 600, |second| u64::from(second % 20 == 0));
        assert!((1..=2).contains(&world.fleet.launched), "{rule:?} {}", world.fleet.launched);
        assert!(until_rest(&mut world) < 700);
    }
}

#[test]
fn square_waves_at_the_boot_and_the_hold_do_not_thrash() {
    for rule in [Rule::PerRequest, Rule::Backlog, Rule::Deadline] {
        for period in [25, 50, 100, 118] {
            let hour = under(rule, 120, 3600, |second| if second % period < period / 2 { 4 } else { 0 });
            assert!(hour.fleet.launched <= 30, "{rule:?} at {period} s: {} launches", hour.fleet.launched);
        }
    }
}

#[test]
fn launches_are_bounded_by_the_hold_where_waves_are_longer() {
    for rule in [Rule::PerRequest, Rule::Backlog] {
        for period in [300, 600] {
            let hour = under(rule, 120, 3600, |second| if second % period < 60 { 4 } else { 0 });
            let waves = 3600 / period;
            assert!(hour.fleet.launched as u64 <= waves * 21, "{rule:?} at {period} s: {}", hour.fleet.launched);
        }
    }
}

#[test]
fn a_steady_load_shrinks_to_what_carries_it_and_stays_there() {
    // a burst brings many, then one image a second at two seconds each
    for (rule, few) in [(Rule::Backlog, 2..=3), (Rule::Deadline, 2..=4)] {
        let mut world = under(rule, 10, 400, |second| if second == 0 { 150 } else { 1 });
        assert!(few.contains(world.sizes.last().unwrap()), "{rule:?} {:?}", world.sizes);
        let (launched, settled) = (world.fleet.launched, world.sizes.len());
        for _ in 0..1200 {
            world.submit(1);
            world.step();
        }
        assert!(world.fleet.launched <= launched + 2, "{rule:?}: {launched}, then {}", world.fleet.launched);
        assert!(world.sizes[settled..].iter().all(|size| (2..=4).contains(size)), "{:?}", &world.sizes[settled..]);
        assert!(world.submitted - world.answered < 20, "it keeps up");
    }
}

#[test]
fn more_uploads_while_requests_are_out_cancel_before_they_launch() {
    let mut world = under(Rule::PerRequest, 0, 1, |_| 150);
    // until the first are asked to go, and nobody has taken a request yet
    while world.asked.len() < 5 {
        world.step();
        assert!(world.sizes.len() < 100, "nobody is asked to go");
    }
    let (out, launched) = (world.asked.len(), world.fleet.launched);
    world.submit(17);
    world.step();
    let taken_back = out - world.asked.len();
    assert!(taken_back >= 10, "{taken_back} of {out}");
    assert_eq!(world.fleet.launched - launched, 17 - taken_back, "the rest is launched");
    until_rest(&mut world);
    assert_eq!(world.answered, 167);
}
