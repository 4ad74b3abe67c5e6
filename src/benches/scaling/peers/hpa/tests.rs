//! Examples from kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal_test.go (the tables of
//! TestConvertDesiredReplicasWithRules and TestScalingWithRules' successors), and from the documentation's page
//! "Horizontal Pod Autoscaling".

use super::*;

const WIDE: Rules = Rules { stabilisation_seconds: 0, limits: &[Limit::Pods { value: 10_000, period_seconds: 15 }] };

/// What `behavior.scaleUp` is where only the other direction is given.
const UP: Rules = Rules {
    stabilisation_seconds: 0,
    limits: &[Limit::Pods { value: 4, period_seconds: 15 }, Limit::Percent { value: 100, period_seconds: 15 }],
};

/// A sync at 1000 s of a controller that has seen `changes` in the seconds before, with as many pods as were asked for.
fn after(changes: &[(u64, i64)], behaviour: Behaviour, max: u32, set: u32, wanted: u32) -> u32 {
    let mut hpa = Hpa::new(max, Some(behaviour));
    hpa.changes = changes.iter().map(|&(ago, by)| (1000 - ago, by)).collect();
    hpa.recommendations.push_back((0, set));
    hpa.sync(1000, set, set, f64::from(wanted), 1.0)
}

fn up(limits: &'static [Limit]) -> Behaviour {
    Behaviour { up: Rules { stabilisation_seconds: 0, limits }, down: DOWN }
}

fn down(limits: &'static [Limit]) -> Behaviour {
    Behaviour { up: WIDE, down: Rules { stabilisation_seconds: 300, limits } }
}

/// "Algorithm details": current 200m of wanted 100m doubles the pods, 50m halves them, and within a tenth nothing
/// happens.
#[test]
fn the_ratio_of_metric_and_target_decides_outside_the_tolerance() {
    assert_eq!(recommend(3, 600.0, 100.0), 6);
    assert_eq!(recommend(4, 200.0, 100.0), 2);
    assert_eq!(recommend(10, 1099.0, 100.0), 10);
    assert_eq!(recommend(10, 901.0, 100.0), 10);
    assert_eq!(recommend(10, 1101.0, 100.0), 12);
    assert_eq!(recommend(10, 899.0, 100.0), 9);
    assert_eq!(recommend(0, 0.0, 5.0), 0); // no pods yet and nothing to do
    assert_eq!(recommend(0, 7.0, 5.0), 2);
}

/// The older rule, which is KEDA's unless a behaviour is given: twice as many or 4, not below 1, not above the maximum.
#[test]
fn without_a_behaviour_it_at_most_doubles_or_goes_to_four() {
    let next = |max, set, wanted| {
        let mut hpa = Hpa::new(max, None);
        hpa.sync(0, set, set, f64::from(wanted), 1.0)
    };
    assert_eq!(next(8, 5, 7), 7); // within range
    assert_eq!(next(8, 3, 15), 6); // no more than twice as many
    assert_eq!(next(10, 8, 12), 10); // the maximum
    assert_eq!(next(20, 1, 20), 4);
    assert_eq!(next(20, 0, 20), 0); // at zero it is switched off
}

#[test]
fn without_a_behaviour_five_minutes_maximum_is_kept() {
    let mut hpa = Hpa::new(20, None);
    assert_eq!(hpa.sync(0, 4, 4, 8.0, 1.0), 8);
    for now in (15..=300).step_by(15) {
        assert_eq!(hpa.sync(now, 8, 8, 2.0, 1.0), 8, "at {now} s");
    }
    assert_eq!(hpa.sync(315, 8, 8, 2.0, 1.0), 2);
}

#[test]
fn limits_upwards() {
    assert_eq!(after(&[], up(&[Limit::Pods { value: 30, period_seconds: 60 }]), 1000, 10, 50), 40);
    assert_eq!(after(&[], up(&[Limit::Percent { value: 200, period_seconds: 60 }]), 1000, 10, 50), 30);
    // Rounded up, or a tenth of five pods would never be one more.
    assert_eq!(after(&[], up(&[Limit::Percent { value: 10, period_seconds: 60 }]), 1000, 5, 50), 6);
    let recent = [(5, 1), (45, 5), (85, 9)];
    let within_two_minutes = |limits| after(&recent, up(limits), 1000, 100, 500);
    assert_eq!(within_two_minutes(&[Limit::Pods { value: 150, period_seconds: 120 }]), 235);
    assert_eq!(within_two_minutes(&[Limit::Percent { value: 200, period_seconds: 120 }]), 255);
    assert_eq!(within_two_minutes(&[Limit::Pods { value: 5, period_seconds: 120 }]), 100);
    let capped = after(&recent, up(&[Limit::Pods { value: 300, period_seconds: 60 }]), 200, 100, 500);
    assert_eq!(capped, 200);
    // Both directions count: 6 - 4 + 2 pods at the period's start, and 300 % more.
    let both = up(&[Limit::Percent { value: 300, period_seconds: 300 }]);
    assert_eq!(after(&[(60, 4), (60, -2)], both, 1000, 6, 24), 16);
}

#[test]
fn limits_downwards() {
    let next = |changes: &[(u64, i64)], limits, set, wanted| after(changes, down(limits), 1000, set, wanted);
    // Of two limits the wider holds; 1 is the least.
    let wide = &[Limit::Pods { value: 20, period_seconds: 60 }, Limit::Percent { value: 1, period_seconds: 60 }];
    assert_eq!(next(&[], wide, 100, 2), 80);
    assert_eq!(next(&[], &[Limit::Pods { value: 5, period_seconds: 60 }], 10, 2), 5);
    assert_eq!(next(&[], &[Limit::Pods { value: 100, period_seconds: 60 }], 10, 0), 1);
    let half = &[Limit::Percent { value: 50, period_seconds: 120 }];
    assert_eq!(next(&[(5, -2), (45, -4), (85, -6)], half, 100, 0), 56);
    let tenth = &[Limit::Percent { value: 10, period_seconds: 120 }];
    assert_eq!(next(&[(5, -10), (45, -10), (85, -10)], tenth, 100, 0), 100);
}

/// "Scaling policies" of the documentation: 4 pods or 10 % a minute take 80 pods to 72, then to 64 (7.2 is rounded up
/// to 8), and below 40 pods the 4 are more than the 10 %.
#[test]
fn four_pods_or_a_tenth_a_minute() {
    const RULES: Rules = Rules {
        stabilisation_seconds: 0,
        limits: &[Limit::Pods { value: 4, period_seconds: 60 }, Limit::Percent { value: 10, period_seconds: 60 }],
    };
    let mut hpa = Hpa::new(100, Some(Behaviour { up: WIDE, down: RULES }));
    let (mut set, mut course) = (80, Vec::new());
    for minute in 1..=9 {
        set = hpa.sync(60 * minute, set, set, 10.0, 1.0);
        course.push(set);
    }
    assert_eq!(course, [72, 64, 57, 51, 45, 40, 36, 32, 28]);
}

/// Documentation, "Stabilization window": with 300 s downwards the largest recommendation of five minutes is used.
#[test]
fn the_window_of_a_behaviour_is_open_at_its_far_end() {
    let mut hpa = Hpa::new(20, Some(Behaviour { up: UP, down: DOWN }));
    assert_eq!(hpa.sync(0, 4, 4, 8.0, 1.0), 8);
    assert_eq!(hpa.sync(285, 8, 8, 2.0, 1.0), 8);
    assert_eq!(hpa.sync(300, 8, 8, 2.0, 1.0), 2);
}

/// The default behaviour upwards: 4 pods or twice as many every 15 s, without a delay.
#[test]
fn the_default_behaviour_adds_four_or_doubles() {
    let mut hpa = Hpa::new(40, Some(Behaviour { up: UP, down: DOWN }));
    let (mut set, mut course) = (1, Vec::new());
    for sync in 1..=4 {
        set = hpa.sync(15 * sync, set, set, 40.0, 1.0);
        course.push(set);
    }
    assert_eq!(course, [5, 10, 20, 40]);
}
