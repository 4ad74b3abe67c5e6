//! Random worlds: what must hold holds after every second, and when all is quiet everything comes to rest.

use super::*;
use proptest::prelude::*;

/// Longest quiet until rest: requests out expire (20 s + 30 s), instances boot, retire and end, an unlisted id waits
/// out its grace, a late confirmation is heard, a lease runs out.
const REST: u64 = 60 * 60;

fn faults() -> impl Strategy<Value = Faults> {
    let rate = |most: u64| prop_oneof![Just(0), 0..most];
    (rate(300), rate(500), rate(300), rate(300), rate(500), rate(30), rate(8), rate(8), 0u64..=30).prop_map(
        |(reads, answers, writes, notices, capacity, deaths, crashes, cuts, lag)| Faults {
            reads,
            answers,
            writes,
            notices,
            capacity,
            deaths,
            crashes,
            cuts,
            lag,
        },
    )
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![Just(Rule::PerRequest), Just(Rule::Backlog), Just(Rule::Deadline)]
}

/// Loads the world at random for some minutes, then leaves it in peace.
fn live_through(world: &mut World, minutes: u64) {
    for _ in 0..minutes * 6 {
        let burst = if world.dice.falls(200) { world.dice.below(40) } else { world.dice.below(3) };
        world.submit(burst);
        if world.dice.falls(world.faults.deaths * 10)
            && let Some(victim) = world.fleet.victim(&mut world.dice)
        {
            world.fleet.end(&victim, world.now);
        }
        world.run(10);
    }
    world.faults = Faults { lag: world.faults.lag, ..Faults::default() };
    world.controllers.iter_mut().for_each(Controller::reconnect);
    for _ in 0..REST {
        if world.is_at_rest() {
            return;
        }
        world.step();
    }
}

/// A world costs more than most cases: a quarter of the usual number (PROPTEST_CASES raises it).
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_fault_breaks_an_invariant_and_quiet_is_rest(
        seed: u64, faults in faults(), rule in rules(), hold in 0u64..120, max in 1u32..25, minutes in 1u64..20,
    ) {
        let mut world = World::new(seed, rule, hold, max, faults);
        live_through(&mut world, minutes);
        prop_assert!(world.is_at_rest(), "live {}, requests {}, asked {}, intents {:?}",
            world.fleet.live().count(), world.requests.len(), world.asked.len(), world.control().map(|c| c.intents));
        prop_assert!(world.answered >= world.submitted, "{} of {}", world.answered, world.submitted);
    }

    #[test]
    fn nor_does_any_on_one_machine(
        seed: u64, faults in faults(), rule in rules(), hold in 0u64..30, max in 1u32..9, minutes in 1u64..20,
    ) {
        let mut world = World::on_one_machine(seed, rule, hold, max, faults);
        live_through(&mut world, minutes);
        prop_assert!(world.is_at_rest(), "live {}, requests {}, asked {}, intents {:?}",
            world.fleet.live().count(), world.requests.len(), world.asked.len(), world.control().map(|c| c.intents));
        prop_assert!(world.answered >= world.submitted, "{} of {}", world.answered, world.submitted);
    }
}
