//! The original's rule, vectors V1 to V5, without a hold.

use super::*;

/// `active` instances that nobody asked to go, and `pending` that were asked.
fn vector(visible: u64, in_flight: u64, active: u32, pending: u32) -> Decision {
    let observation = Observation { outstanding: pending, ..seen(visible, in_flight, active + pending) };
    decide(&observation, &policy(Rule::PerRequest, 0))
}

fn acts(cancel: u32, launch: u32, request: u32) -> Actions {
    Actions { cancel, launch, request }
}

#[test]
fn v1_a_burst_launches_all() {
    let decision = vector(110, 0, 0, 0);
    assert_eq!((decision.act, decision.clamp), (acts(0, 20, 0), Some(Clamp::Max)));
    assert_eq!(decision.launch_after(0), (1..=20).map(AppTierId).collect::<Vec<_>>());
}

#[test]
fn v2_fewer_requests_than_instances_ask_the_rest_to_go() {
    assert_eq!(vector(8, 10, 20, 0).act, acts(0, 0, 2));
}

#[test]
fn v3_exactly_what_is_wanted_is_cancelled() {
    let decision = vector(13, 0, 10, 5);
    assert_eq!(decision.act, acts(3, 0, 0));
    assert!(decision.launch_after(3).is_empty());
    assert_eq!(decision.launch_after(1).len(), 2, "two were held by workers: two are launched in their place");
}

#[test]
fn v4_all_are_cancelled_and_the_rest_launched() {
    let decision = vector(17, 0, 10, 5);
    assert_eq!(decision.act, acts(5, 2, 0));
    assert_eq!(decision.launch_after(5), [AppTierId(16), AppTierId(17)]);
    assert_eq!(decision.launch_after(3).len(), 4);
    assert_eq!(decision.launch_after(0).len(), 5, "five ids are left below the maximum");
}

#[test]
fn v5_nothing_to_do_scales_to_zero() {
    assert_eq!(vector(0, 0, 1, 0).act, acts(0, 0, 1));
}
