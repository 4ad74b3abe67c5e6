//! Machines that live by themselves, as EC2's do: what can come between a launch and its answer, and who leads them.

use super::simulated::{HEALS, SECOND, Watched, settings, virtually};
use bellows::edge;
use bellows::edge::wire::Leg;
use bellows::sim::{Chance, Fault, Kind, Late, World};
use bellows_core::pool::AppTierId;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

/// The `nth` call of this name in a run with these faults: the point of one of its halves.
async fn point(nth: usize, name: &'static str, leg: Leg, faults: Vec<(u64, Fault)>) -> u64 {
    let mut w = Watched::new(settings(Kind::Machines), faults);
    w.pass(SECOND * 2).await;
    w.upload(10).await;
    w.pass(SECOND * 4).await;
    (0..w.controller.points()).filter(|point| w.controller.point(*point) == Some((name, leg))).nth(nth).unwrap()
}

#[test]
fn a_repetition_that_is_not_let_in_says_nothing_of_the_launch_before() {
    for refusal in [edge::Kind::Throttled, edge::Kind::Unavailable, edge::Kind::Denied, edge::Kind::Invalid] {
        virtually(async {
            // it happened, and its answer is lost; lists do not show it for a while; the repetition is refused
            let lost = (point(0, "fleet.launch", Leg::Back, Vec::new()).await, Fault::Fail(edge::Kind::Timeout));
            let again = point(1, "fleet.launch", Leg::There, vec![lost]).await;
            let mut w = Watched::new(settings(Kind::Machines), vec![lost, (again, Fault::Fail(refusal))]);
            w.pass(SECOND * 2).await;
            w.upload(10).await;
            w.comes_to_rest(HEALS).await;
            assert_eq!((w.most, w.seen.len()), (10, 10), "{refusal:?}: {:#?}", w.why());
        });
    }
}

/// The age of the oldest request is what people are alarmed by.
#[test]
fn a_counter_that_is_late_does_not_make_what_waits_young() {
    virtually(async {
        let mut settings = settings(Kind::Machines);
        settings.policy.counter_lag = SECOND * 60;
        let counters = Late { lag: SECOND * 10, share: 0.2, old: SECOND * 60, seed: 1 };
        let world = World::with(settings, Chance { counters, ..Chance::default() }).unwrap();
        world.next_are_duds(u32::MAX);
        let controller = world.start_controller("first", Vec::new());
        sleep(SECOND * 90).await;
        let id = world.upload(1).await.unwrap();
        controller.status.entering(id, None).accepted();
        sleep(SECOND * 120).await;
        let age = controller.status.oldest_age();
        assert!((SECOND * 120..SECOND * 121).contains(&age), "{age:?}");
    });
}

#[test]
fn a_machine_that_is_taken_away_gives_its_work_back_at_once_and_is_replaced() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Machines), Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(80).await;
        w.pass(SECOND * 6).await;
        for named in w.world.live().into_iter().take(5) {
            assert!(w.world.evict_worker(&named.instance_id));
        }
        let answered = w.until("all are answered", SECOND * 60, async |w| w.unanswered().await == 0).await;
        // 60 that wait take the five that stay 24 s; five new ones help when a list (after 20 s) shows who is gone. A lease
        // would run out after 30 s
        assert!(answered < SECOND * 25, "{answered:?}: {:#?}", w.why());
        w.comes_to_rest(HEALS).await;
        assert!(w.seen.len() > 10, "{:#?}", w.why());
    });
}

#[test]
fn machines_whose_queues_are_gone_end_by_themselves() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Machines), Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(10).await;
        w.until("ten run", SECOND * 20, async |w| w.world.live().len() == 10).await;
        w.until("all are answered", SECOND * 60, async |w| w.unanswered().await == 0).await;
        // terraform destroy: the web tier goes first
        w.controller.kill();
        let workers: Vec<_> = w.world.live();
        for named in &workers {
            assert!(w.world.fail_worker(&named.instance_id, "queue.receive", edge::Kind::NotFound));
        }
        sleep(SECOND * 50).await;
        assert_eq!(w.world.live().len(), workers.len(), "not for a moment's absence");
        sleep(SECOND * 40).await;
        assert_eq!(w.world.live(), []);
    });
}

#[test]
fn machines_that_nobody_leads_end_by_themselves() {
    virtually(async {
        let mut settings = settings(Kind::Machines);
        settings.policy.min = 3;
        let mut w = Watched::new(settings, Vec::new());
        w.until("three run", Duration::from_mins(1), async |w| {
            w.metric("bellows_leader") == 1 && w.world.live().len() == 3
        })
        .await;
        w.pass(Duration::from_mins(30)).await;
        assert_eq!(w.world.live().len(), 3, "idleness alone ends nobody");
        w.controller.kill();
        sleep(Duration::from_mins(13)).await;
        assert_eq!(w.world.live().len(), 3);
        sleep(Duration::from_mins(5)).await;
        assert_eq!(w.world.live(), []);
    });
}

#[test]
fn of_two_controllers_one_leads_and_nothing_is_launched_twice() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Machines), Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(10).await;
        w.until("ten run", SECOND * 20, async |w| w.world.live().len() == 10).await;
        // the Auto Scaling group has started another one, and the first one hangs without knowing
        let second = w.world.start_controller("second", Vec::new());
        w.pass(SECOND * 90).await;
        assert_eq!(w.world.control().await.unwrap().owner, "first", "who renews is not challenged");
        w.controller.fail("bucket.compare_and_swap", edge::Kind::Unavailable);
        w.upload(10).await;
        w.pass(Duration::from_mins(3)).await;
        let control = w.world.control().await.unwrap();
        assert_eq!((control.owner.as_str(), control.epoch.0), ("second", 2));
        // the first one is back, and finds the epoch of the other
        w.controller.heal();
        w.upload(10).await;
        w.pass(SECOND * 30).await;
        assert_eq!(w.world.control().await.unwrap().owner, "second");
        w.comes_to_rest(HEALS).await;
        let ids: BTreeSet<AppTierId> = w.seen.iter().map(|named| named.app_tier_id).collect();
        assert!(w.most <= 10 && ids.len() <= 10, "{:?}", w.seen);
        drop(second);
    });
}
