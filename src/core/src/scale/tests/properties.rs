//! What holds of every decision, whatever the numbers.

use super::*;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..50, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0u32..30, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0u64..200_000).prop_map(Duration::from_millis),
        1 => any::<u64>().prop_map(Duration::from_nanos),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
    ]
}

prop_compose! {
    fn counters()(visible in number(), in_flight in number(), delayed in number()) -> Counters {
        Counters { visible, in_flight, delayed }
    }
}

prop_compose! {
    fn live()(states in (small(), small(), small(), small(), small()), known: bool, taken in 0u32..60) -> Live {
        let mut live = Live::default();
        (live.intended, live.booting, live.ready, live.retiring, live.terminating) = states;
        live.known = known;
        live.take(taken);
        live
    }
}

prop_compose! {
    fn observation()(
        now in span(),
        counters in proptest::option::weighted(0.9, (counters(), span())),
        (unanswered, open, fast, recent, slow) in (number(), number(), number(), number(), number()),
        quiet in proptest::option::of(span()),
        live in live(),
        list_age in proptest::option::weighted(0.9, span()),
        list_failed in proptest::bool::weighted(0.1),
        booting_for in proptest::collection::vec(span(), 0..5),
        (outstanding, slots) in (small(), small()),
        (service, boot) in (span(), span()),
        backoff in prop_oneof![3 => Just(Duration::ZERO), 1 => span()],
        idle in prop_oneof![3 => Just(None), 1 => Just(Some(Idle::Paused)), 1 => Just(Some(Idle::DryRun))],
    ) -> Observation {
        let arrivals = Arrivals { fast, recent, slow };
        Observation {
            now, counters, unanswered, open, arrivals, quiet, live, list_age, list_failed, booting_for, outstanding, slots,
            service, boot, backoff, idle, memory: Memory::default(),
        }
    }
}

prop_compose! {
    fn policies()(
        rule in prop_oneof![Just(Rule::PerRequest), Just(Rule::Backlog), Just(Rule::Deadline)],
        min in 0u32..30,
        max in 0u32..50,
        hold in prop_oneof![span().prop_map(Hold::Fixed), span().prop_map(Hold::Boots)],
        latency_target in span(),
        counter_lag in span(),
    ) -> Policy {
        Policy { rule, min, max, hold, latency_target, counter_lag }
    }
}

fn check(observation: &Observation, policy: &Policy, decision: &Decision) {
    let (act, live) = (decision.act, &observation.live);
    let ids = decision.launch_after(0);
    assert!(act.cancel <= observation.outstanding);
    assert!(i64::from(act.request) <= decision.active.max(0));
    assert!(act.request == 0 || (act.cancel, act.launch) == (0, 0));
    assert!(act.launch == 0 || u64::from(live.total()) + u64::from(act.launch) <= u64::from(policy.max));
    assert!(ids.is_empty() || live.total() as usize + ids.len() <= policy.max as usize, "{ids:?}");
    assert!(ids.len() >= act.launch as usize);
    assert_eq!(decision.launch_after(act.cancel).len(), act.launch as usize);
    assert!(ids.iter().all(|id| (1..=policy.max).contains(&id.0) && live.free(policy.max).contains(id)));
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(decision.wanted <= policy.max || decision.clamp == Some(Clamp::Stale) || observation.idle.is_some());
    if observation.idle.is_some() {
        assert!(act.is_none() && ids.is_empty());
    } else {
        assert!(decision.withheld.is_none());
    }
    if observation.list_failed || observation.counters.is_none() || observation.list_age.is_none() {
        assert_eq!((act.request, decision.withheld.request), (0, 0));
    }
    assert!(live.known || act.launch == 0);
}

proptest! {
    /// No input panics, the same inputs give the same bytes, and no decision asks for what must not be.
    #[test]
    fn every_decision_is_sound(observations in proptest::collection::vec(observation(), 1..12), policy in policies()) {
        let mut memory = Memory::default();
        for observation in observations {
            let observation = Observation { memory, ..observation };
            let decision = decide(&observation, &policy);
            check(&observation, &policy, &decision);
            let again = decide(&observation, &policy);
            prop_assert_eq!(&again, &decision);
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&decision).unwrap());
            memory = decision.memory;
        }
    }

    /// More demand, a slower service or a shorter target never need fewer instances.
    #[test]
    fn need_grows_with_what_there_is_to_do(observation in observation(), policy in policies(), more in number()) {
        let need = |observation: &Observation, policy: &Policy| decide(observation, policy).need;
        // the deadline rule counts what boots and what worked before, too
        let rule = if policy.rule == Rule::Deadline { Rule::Backlog } else { policy.rule };
        let policy = Policy { rule, ..policy };
        let counters = observation.counters.unwrap_or_default();
        let grown = Counters { visible: counters.0.visible.saturating_add(more), ..counters.0 };
        let base = Observation { counters: Some(counters), ..observation };
        let busier = Observation { counters: Some((grown, counters.1)), ..base.clone() };
        prop_assert!(need(&busier, &policy) >= need(&base, &policy));
        let slower = Observation { service: base.service.saturating_mul(2), ..base.clone() };
        prop_assert!(need(&slower, &policy) >= need(&base, &policy));
        let hurried = Policy { latency_target: policy.latency_target / 2, ..policy };
        prop_assert!(need(&base, &hurried) >= need(&base, &policy));
        let each = Policy { rule: Rule::PerRequest, ..policy };
        prop_assert!(need(&base, &policy) <= need(&base, &each));
    }

    /// With a hold, the pool never falls below what was needed within it, whatever else is seen.
    #[test]
    fn nothing_needed_within_the_hold_is_let_go(
        demands in proptest::collection::vec((0u64..40, 1u64..8), 1..60), hold in 0u64..40, rule in 0..2usize,
    ) {
        let policy = policy([Rule::PerRequest, Rule::Backlog][rule], hold);
        let (mut memory, mut now, mut past, mut pool) = (Memory::default(), 0, Vec::new(), 0);
        for (demand, pause) in demands {
            now += pause;
            let observation = Observation { now: Duration::from_secs(now), memory, ..seen(demand, 0, pool) };
            let decision = decide(&observation, &policy);
            past.push((now, decision.need.min(20)));
            let kept = past.iter().filter(|(at, _)| now - at < hold).map(|(_, need)| *need).max().unwrap_or(0);
            prop_assert!(u64::from(decision.wanted) >= kept.min(u64::from(pool)));
            prop_assert!(u64::from(decision.wanted) >= decision.need.min(20));
            pool = decision.wanted;
            memory = decision.memory;
        }
    }
}
