//! What holds for every reference.

use super::*;

/// A crude pool: what is wanted is pending for 15 s and starts for 25 s, and each instance answers a request in 2 s.
/// Returns the most that was wanted, and what was wanted in the end.
fn run(policy: &mut dyn Policy, burst: u64, seconds: u64) -> (u32, u32) {
    let (mut waiting, mut most, mut last) = (burst, 0, 0);
    let (mut launched, mut idle_since, mut ended_idle): (Vec<u64>, u64, u64) = (Vec::new(), 0, 0);
    for now in 0..seconds {
        let stage = |from: u64, to: u64| launched.iter().filter(|&&at| (from..to).contains(&(now - at))).count() as u32;
        let (pending, starting, ready) = (stage(0, 15), stage(15, 40), stage(40, u64::MAX));
        let in_flight = waiting.min(u64::from(ready));
        let visible = waiting - in_flight;
        let sight = Sight { visible, in_flight, concurrency: waiting as f64, pending, starting, ready, ended_idle };
        if now.is_multiple_of(policy.period_seconds()) {
            let wish = policy.tick(now, &sight);
            (most, last) = (most.max(wish.wanted), wish.wanted);
            let kept = wish.wanted as usize;
            match wish.ending {
                Ending::Idle { after_seconds } if now >= idle_since + after_seconds => {
                    ended_idle += launched.len() as u64;
                    launched.clear();
                }
                Ending::Idle { .. } => launched.resize(launched.len().max(kept), now),
                _ => launched.resize(kept, now),
            }
        }
        if now.is_multiple_of(2) {
            waiting -= in_flight;
        }
        idle_since = if waiting > 0 { now } else { idle_since };
    }
    (most, last)
}

#[test]
fn each_stays_at_zero_without_work() {
    for mut row in rows(20, 0, 2.0) {
        assert_eq!(run(row.policy.as_mut(), 0, 3600), (0, 0), "{}", row.name);
    }
}

#[test]
fn each_answers_a_burst_within_its_maximum_and_goes_back_to_zero() {
    for mut row in rows(20, 0, 2.0) {
        let (most, last) = run(row.policy.as_mut(), 150, 4 * 3600);
        assert_eq!(last, 0, "{}", row.name);
        assert!((2..=20).contains(&most), "{}: {most}", row.name);
    }
}

#[test]
fn a_fixed_pool_is_full_until_the_last_request_has_arrived_and_is_answered() {
    let mut fixed = fixed::Fixed::new(20, 100);
    let sight = |concurrency| Sight { concurrency, ..Sight::default() };
    assert_eq!([0, 99].map(|now| fixed.tick(now, &sight(0.0)).wanted), [20, 20]);
    assert_eq!([sight(1.0), sight(0.0)].map(|sight| fixed.tick(100, &sight).wanted), [20, 0]);
}
