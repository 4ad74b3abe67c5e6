//! Every call of the controller fails, or is its last: the pool heals.

use super::simulated::{HEALS, KINDS, SECOND, Watched, settings, virtually};
use bellows::edge;
use bellows::edge::wire::Leg;
use bellows::sim::{Fault, Kind, Point};

/// Work comes, more comes while workers are asked to go, and then none.
async fn story(w: &mut Watched) {
    w.pass(SECOND * 2).await;
    w.upload(4).await;
    w.pass(SECOND * 7).await;
    w.upload(6).await;
    w.comes_to_rest(HEALS).await;
}

/// The calls of a run without faults.
fn calls(kind: Kind) -> Vec<(&'static str, Leg)> {
    virtually(async {
        let mut w = Watched::new(settings(kind), Vec::new());
        story(&mut w).await;
        (0..w.controller.points()).map(|point| w.controller.point(point).unwrap()).collect()
    })
}

/// Tells the story with a fault at each point, and says at which one it did not end well.
fn at_every_point(kind: Kind, fault: Fault, check: impl Fn(&Watched)) {
    let mut before = "";
    for (point, (operation, leg)) in calls(kind).into_iter().enumerate() {
        // several depths are read in a row, and nothing comes of it in between
        if std::mem::replace(&mut before, operation) == operation && operation == "queue.depth" {
            continue;
        }
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            virtually(async {
                let mut w = Watched::new(settings(kind), vec![(point as Point, fault)]);
                story(&mut w).await;
                check(&w);
            });
        }));
        assert!(told.is_ok(), "{kind:?}, {fault:?} at point {point}, {operation} {leg:?}");
    }
}

#[test]
fn killed_at_any_call_its_successor_heals_the_pool_of_processes() {
    at_every_point(Kind::Processes, Fault::Crash, |w| assert_eq!(w.starts, 2));
}

#[test]
fn killed_at_any_call_its_successor_heals_the_pool_of_machines() {
    at_every_point(Kind::Machines, Fault::Crash, |w| assert_eq!(w.starts, 2));
}

#[test]
fn any_call_may_fail_with_or_without_its_effect() {
    for (kind, error) in KINDS.into_iter().zip([edge::Kind::Throttled, edge::Kind::Timeout]) {
        at_every_point(kind, Fault::Fail(error), |w| assert_eq!(w.starts, 1));
    }
}
