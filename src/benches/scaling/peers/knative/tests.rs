//! Examples from knative/serving, pkg/autoscaler/scaling/autoscaler_test.go, whose autoscaler has a target of 10 (or
//! 1) and a rate of 10 either way, and from the documentation of the settings.

use super::*;

/// The autoscaler of those tests: this target, rates of 10, panic at twice, a window of 60 s.
fn autoscaler(target: f64) -> Knative {
    let settings = Settings {
        container_concurrency: target,
        target_utilisation: 1.0,
        max_scale_up_rate: 10.0,
        max_scale_down_rate: 10.0,
        ..DEFAULT
    };
    Knative::new(settings, u32::MAX)
}

#[test]
fn one_decision() {
    // Ready pods, stable and panic mean; TestAutoscalerScale, ...StableMode..., ...RateLimit...
    for (ready, stable, panic, wanted) in [
        (1, 0.0, 0.0, 0),
        (1, 50.0, 50.0, 5),
        (5, 50.0, 50.0, 5),
        (1, 50.0, 100.0, 10),
        (8, 100.0, 100.0, 10),
        (8, 50.0, 50.0, 5),
        (1, 1.0, 0.0, 1),
        (1, 1000.0, 1001.0, 10),
        (10, 1000.0, 1001.0, 100),
        (100, 1.0, 1.0, 10),
        (10, 1.0, 1.0, 1),
    ] {
        assert_eq!(autoscaler(10.0).scale(0, ready, stable, panic), wanted, "{ready} ready, {stable} and {panic}");
    }
}

/// AutoscalerStableMode{Increase,Decrease}WithSmallScale{Up,Down}Rate: at least one step either way.
#[test]
fn small_rates() {
    let mut up = autoscaler(1.0);
    up.settings.max_scale_up_rate = 1.1;
    assert_eq!(up.scale(0, 2, 3.0, 3.1), 3);
    let mut down = autoscaler(10.0);
    down.settings.max_scale_down_rate = 1.1;
    assert_eq!(down.scale(0, 100, 1.0, 1.0), 90);
}

/// TestAutoscalerPanicThenUnPanicScaleDown.
#[test]
fn in_panic_it_only_rises_until_a_stable_window_has_passed() {
    let mut knative = autoscaler(10.0);
    assert_eq!(knative.scale(0, 1, 100.0, 100.0), 10);
    assert_eq!(knative.scale(0, 10, 100.0, 1000.0), 100);
    assert_eq!(knative.scale(30, 10, 1.0, 1.0), 100);
    assert_eq!(knative.scale(61, 10, 1.0, 1.0), 1);
}

/// AutoscalerPanicStableLargerThanPanic and ...LessThanPanic: in panic the larger of the two means counts.
#[test]
fn in_panic_either_mean_may_be_the_larger() {
    for (stable, panic, wanted) in [(50.0, 30.0, 50), (20.0, 30.0, 30)] {
        let mut knative = autoscaler(1.0);
        (knative.panic_since, knative.panic_pods) = (Some(95), 5);
        assert_eq!(knative.scale(100, 5, stable, panic), wanted);
    }
}

/// TestAutoscalerUnpanicAfterSlowIncrease and ...ExtendPanicWindow.
#[test]
fn panic_is_prolonged_only_above_the_threshold() {
    let mut slow = autoscaler(1.0);
    assert_eq!(slow.scale(0, 10, 11.0, 25.0), 25);
    assert_eq!(slow.scale(30, 40, 30.0, 41.0), 41);
    assert_eq!(slow.panic_since, Some(0));
    assert_eq!(slow.scale(62, 55, 50.0, 56.0), 50);
    assert_eq!(slow.panic_since, None);
    let mut surging = autoscaler(1.0);
    assert_eq!(surging.scale(0, 10, 11.0, 25.0), 25);
    assert_eq!(surging.scale(30, 40, 30.0, 80.0), 80);
    assert_eq!(surging.panic_since, Some(30));
}

/// TestAutoscalerScaleDownDelay, simple and gradual.
#[test]
fn the_delay_keeps_the_largest() {
    let mut knative = autoscaler(10.0);
    knative.settings.panic_threshold = 100.0;
    knative.delay = Some(Largest::new(300));
    let mut at = |seconds, load| knative.scale(seconds, 1, load, load);
    assert_eq!([at(2, 40.0), at(300, 0.0), at(302, 0.0)], [4, 4, 0]);
    assert_eq!([at(540, 40.0), at(600, 30.0), at(660, 0.0), at(840, 0.0), at(900, 0.0)], [4, 4, 4, 3, 0]);
}

fn sight(concurrency: f64, ready: u32) -> Sight {
    Sight { concurrency, ready, ..Sight::default() }
}

/// 70 % of one request a pod: the documentation's example of a target of 7 at 10 is 10 pods here for 7 requests.
#[test]
fn the_first_request_wakes_it_within_its_second() {
    let mut knative = Knative::new(DEFAULT, 20);
    assert_eq!(knative.tick(0, &sight(0.0, 0)).wanted, 0);
    assert_eq!(knative.tick(1, &sight(7.0, 0)).wanted, 10);
    assert_eq!(knative.tick(3, &sight(150.0, 0)).wanted, 10); // between two ticks
    assert_eq!(knative.tick(4, &sight(150.0, 0)).wanted, 20);
}

/// Idle, it goes to half of the ready pods a tick once panic is over, is inactive after the stable window and gone 3 s
/// later: with the activator in the path all along the 30 s of grace are over by then.
#[test]
fn it_goes_to_zero_by_halves() {
    let mut knative = Knative::new(DEFAULT, 20);
    let (mut ready, mut course) = (0, Vec::new());
    for now in 0..200 {
        let concurrency = if now < 30 { 5.6 } else { 0.0 };
        let wanted = knative.tick(now, &sight(concurrency, ready)).wanted;
        if course.last().is_none_or(|&(_, last)| last != wanted) {
            course.push((now, wanted));
        }
        ready = if now < 10 { 0 } else { wanted };
    }
    // 5.6 is just eight pods' worth; the last second that is above zero leaves the window of 60 s at 90.
    assert_eq!(course[0], (0, 8));
    let end: Vec<u32> = course.iter().map(|&(_, wanted)| wanted).collect();
    assert_eq!(end, [8, 4, 2, 1, 0]);
    assert!((90..=96).contains(&course[4].0), "{course:?}");
}

/// `scale-to-zero-pod-retention-period`: the last pod stays for so long after the decision.
#[test]
fn the_last_pod_is_retained() {
    let kept = Settings { scale_down_delay_seconds: 120, pod_retention_seconds: 120, ..DEFAULT };
    let mut knative = Knative::new(kept, 20);
    let mut last = 0;
    for now in 0..600 {
        let wanted = knative.tick(now, &sight(if now < 10 { 1.0 } else { 0.0 }, u32::from(now > 5))).wanted;
        last = if wanted > 0 { now } else { last };
    }
    // Idle from 10, out of the window at 70, out of the delay 120 s later, and 120 s of retention.
    assert!((300..=320).contains(&last), "{last}");
}

/// Enough pods for `target-burst-capacity`: the activator leaves the path, and the grace of 30 s counts.
#[test]
fn without_the_activator_in_the_path_the_grace_counts() {
    let mut knative = Knative::new(Settings { target_burst_capacity: 5.0, ..DEFAULT }, 20);
    (knative.desired, knative.condition) = (10, Condition::Active(0));
    knative.route(2, 10, 4.0);
    assert_eq!(knative.proxied_since, None);
    knative.route(4, 10, 6.0);
    assert_eq!(knative.proxied_since, Some(4));
    knative.condition = Condition::Inactive(4);
    (knative.desired, knative.replicas) = (0, 1);
    knative.apply(32, 0, 1);
    assert_eq!(knative.replicas, 1);
    knative.apply(34, 0, 1);
    assert_eq!(knative.replicas, 0);
}
