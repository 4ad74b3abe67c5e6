//! The deadline rule, term by term: its constants are measured, and a slip in one of them shows in no other test.

use super::*;
use crate::scale::deadline::{self, History};

/// Images of a second each that wait, and no arrivals.
fn waiting(demand: u64, ready: u32) -> Observation {
    Observation { service: Duration::from_secs(1), ..seen(demand, 0, ready) }
}

fn at(second: u64, observation: Observation) -> Observation {
    Observation { now: Duration::from_secs(second), ..observation }
}

fn arriving(slow: u64, fast: u64, observation: Observation) -> Observation {
    Observation { arrivals: Arrivals { fast, slow, ..Arrivals::default() }, ..observation }
}

/// What is needed now, and what is kept.
fn needs(observation: &Observation, history: &mut History) -> (u64, u64) {
    let visible = observation.counters.unwrap_or_default().0.visible;
    let need = deadline::need(visible, observation, &policy(Rule::Deadline, 0), history);
    (need.now, need.keep)
}

fn needed(observation: &Observation) -> u64 {
    needs(observation, &mut History::default()).0
}

fn kept(observation: &Observation, history: &mut History) -> u64 {
    needs(observation, history).1
}

#[test]
fn the_rate_is_staffed_with_its_square_root() {
    let slow = |count| arriving(count, 0, seen(0, 0, 20));
    assert_eq!(needed(&slow(240)), 5, "2 a second at 2 s: 4 + 0.33 * 2 = 4.66");
    assert_eq!(needed(&Observation { slots: 2, ..slow(240) }), 3, "2 + 0.33 * 1.41");
    assert_eq!(needed(&slow(2)), 1);
    assert_eq!(needed(&slow(1)), 0, "one arrival is no rate");
}

#[test]
fn requests_that_come_together_are_staffed_for() {
    let mut history = History::default();
    let steady = |look: u64, fast| at(5 * look, arriving(2400, fast, seen(0, 0, 60)));
    // 20 a second at 2 s: 40 + 0.33 * 6.3; 300 of them in 15 s
    let alone = (0..200).map(|look| needs(&steady(look, 300), &mut history).0).max();
    assert_eq!(alone, Some(43));
    let together = (200..500).map(|look| needs(&steady(look, 300 - 27 + 54 * (look % 2)), &mut history).0).max();
    assert_eq!(
        together,
        Some(44),
        "40 + 0.33 * (40 * 2.3)^0.5: 27 more or 27 less are a variance of 2.43 means, and 2.3 are believed"
    );
    assert_eq!(needs(&steady(1000, 300), &mut history).0, 44, "one calm look does not undo it");
    let calm = (1001..1300).map(|look| needs(&steady(look, 300), &mut history).0).last();
    assert_eq!(calm, Some(43));
}

#[test]
fn a_surge_is_believed_by_what_is_surely_there() {
    let fast = |count| Observation { service: Duration::from_secs(10), ..arriving(0, count, seen(0, 0, 20)) };
    assert_eq!(needed(&fast(100)), 58, "(100 - 1.7 * 10) / 15 a second at 10 s: 55.3 + 0.33 * 7.44");
    assert_eq!(needed(&fast(1)), 0, "1 - 1.7 * 1 is none");
}

#[test]
fn rates_are_looked_at_every_five_seconds() {
    let (mut history, at) = (History::default(), |second, slow| at(second, arriving(slow, 0, seen(0, 0, 20))));
    assert_eq!(needs(&at(7, 0), &mut history).0, 0);
    assert_eq!(needs(&at(11, 240), &mut history).0, 0);
    assert_eq!(needs(&at(12, 240), &mut history).0, 5);
}

#[test]
fn a_backlog_is_drained_within_the_target() {
    assert_eq!(needed(&waiting(300, 0)), 20, "300 s of work in 15 s");
    assert_eq!(needed(&waiting(301, 0)), 21);
    assert_eq!(needed(&waiting(1, 0)), 1, "zero is left at once");
    // 5 a second at 3 s in two slots: 7.5 instances for the arrivals, 300 s of their work in a boot of 40 s, and 90 s
    // of work wait
    let wide = Observation { service: Duration::from_secs(3), slots: 2, ..arriving(600, 0, seen(60, 0, 0)) };
    assert_eq!(needed(&wide), 26, "390 s of work in 15 s");
}

#[test]
fn what_is_there_does_its_part_of_the_backlog_while_a_launch_boots() {
    assert_eq!(needed(&waiting(43, 1)), 1, "3 s left after a boot of 40 s are worth no launch");
    assert_eq!(needed(&waiting(44, 1)), 2);
    let booting = |demand, age| {
        let mut observation = waiting(demand, 0);
        observation.live.booting = 1;
        Observation { booting_for: vec![Duration::from_secs(age)], ..observation }
    };
    assert_eq!((needed(&booting(3, 0)), needed(&booting(4, 0))), (1, 2));
    assert_eq!((needed(&booting(13, 10)), needed(&booting(14, 10))), (1, 2), "it works 10 s of the 40");
    assert_eq!((needed(&booting(43, 90)), needed(&booting(44, 90))), (1, 2), "never more than all of them");
}

#[test]
fn no_more_are_launched_than_images_are_left() {
    // 100 s of work, 80 of them done by two in a boot of 40 s: 4 images of 5 s
    let observation = Observation { service: Duration::from_secs(5), ..seen(20, 0, 2) };
    let hurried = Policy { latency_target: Duration::from_secs(1), ..policy(Rule::Deadline, 0) };
    assert_eq!(deadline::need(20, &observation, &hurried, &mut History::default()).now, 6);
}

#[test]
fn what_drains_the_queue_is_kept_and_never_launched() {
    let wide = Observation { service: Duration::from_secs(3), slots: 2, ..arriving(600, 0, seen(60, 0, 20)) };
    // 7.5 for the arrivals, 90 s of work in 15 s, less a half
    assert_eq!(needs(&wide, &mut History::default()), (9, 13));
}

/// The second at which what was needed in second 0 is let go. The rates are looked at again in second 5.
fn let_go(needing: Observation, boot: u64) -> Option<u64> {
    let (boot, mut history) = (Duration::from_secs(boot), History::default());
    assert!(kept(&Observation { boot, ..needing }, &mut history) > 0);
    (5..1000).find(|second| kept(&Observation { boot, ..at(*second, seen(0, 0, 20)) }, &mut history) == 0)
}

#[test]
fn rates_and_backlogs_are_kept_by_the_measured_boot() {
    let rate = arriving(240, 0, seen(0, 0, 20));
    assert_eq!(let_go(rate.clone(), 10), Some(32), "at least so long");
    assert_eq!(let_go(rate, 100), Some(80), "0.8 of a boot");
    let backlog = waiting(300, 0);
    assert_eq!(let_go(backlog.clone(), 10), Some(50), "at least so long");
    assert_eq!(let_go(backlog, 100), Some(125), "1.25 of a boot");
}

/// After bursts at seconds, each of as much work as so many instances do within the target (less the second that an image
/// takes itself): what is kept in the second `then`, when so many came within the last two minutes.
fn kept_after(bursts: &[(u64, u64)], then: u64, slow: u64) -> u64 {
    let mut history = History::default();
    for (second, instances) in bursts {
        let mut burst = at(*second, waiting(14 * instances, 0));
        burst.arrivals.recent = 14 * instances;
        assert_eq!(needs(&burst, &mut history).0, *instances);
    }
    kept(&at(then, arriving(slow, 0, waiting(0, 20))), &mut history)
}

#[test]
fn six_busy_slots_of_the_last_twenty_hold_the_pool() {
    let six: Vec<(u64, u64)> = (0..6).map(|slot| (30 * slot, 9 - slot)).collect();
    assert_eq!(kept_after(&six, 240, 0), 4, "what the least of six needed");
    assert_eq!(kept_after(&six[1..], 240, 0), 0, "five bursts teach nothing");
    assert_eq!(kept_after(&six, 599, 0), 4);
    assert_eq!(kept_after(&six, 600, 0), 0, "the first is too long ago");
    let mut one: Vec<(u64, u64)> = (0..6).map(|burst| (burst * 5, 9)).collect();
    assert_eq!(kept_after(&one, 240, 0), 0, "six bursts within half a minute are one");
    one.push((29, 1));
    one.extend((1..6).map(|slot| (30 * slot, 9)));
    assert_eq!(kept_after(&one, 240, 0), 9, "of a slot the largest counts");
}

#[test]
fn what_half_of_the_last_half_hour_needed_holds_the_pool_while_requests_come() {
    let now = 30 * 59 + 29;
    let long_ago: Vec<(u64, u64)> = (0..31).map(|slot| (30 * slot, 4)).collect();
    assert_eq!(kept_after(&long_ago, now, 2), 4, "thirty-one of sixty, and nothing for a quarter of an hour");
    assert_eq!(kept_after(&long_ago[1..], now, 2), 1, "thirty are no half");
    assert_eq!(kept_after(&long_ago, now + 1, 2), 1, "the first is too long ago");
    assert_eq!(kept_after(&long_ago, now, 1), 0, "whoever they were for is gone");
}

#[test]
fn what_waits_for_capacity_is_no_burst_that_comes_back() {
    let mut history = History::default();
    for slot in 0..20 {
        let stuck = at(30 * slot, waiting(280, 0));
        assert_eq!(needs(&stuck, &mut history).0, 19, "280 s of work in 15 s");
    }
    assert_eq!(kept(&at(660, waiting(0, 19)), &mut history), 1, "the one that any work needs");
}
