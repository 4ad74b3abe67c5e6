//! The protocol between controller and workers, in virtual time.

use super::simulated::{HEALS, KINDS, SECOND, Watched, settings, virtually};
use bellows::controller::Retention;
use bellows::edge;
use bellows::edge::bucket::{Bucket, Etag};
use bellows::edge::queue::Queue;
use bellows::edge::wire::Leg;
use bellows::sim::{Fault, Kind};
use bellows_core::control::Pause;
use bellows_core::key::{self, RequestId};
use bellows_core::message::{self, Confirm, Epoch, Nonce, Notice, VERSION};
use bellows_core::pool::{AppTierId, InstanceId, Named};
use bellows_core::scale::Hold;
use bellows_core::time::Timestamp;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

#[test]
fn from_nothing_to_ten_and_back() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(60).await;
            let took = w.comes_to_rest(HEALS).await;
            assert_eq!((w.most, w.seen.len(), w.actions("launch")), (10, 10, 10), "{kind:?}: {:#?}", w.why());
            assert!(took < Duration::from_mins(2), "{kind:?}: {took:?}");
        });
    }
}

#[test]
fn more_work_takes_back_as_many_requests_as_it_needs_and_then_launches() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(6).await;
            let asked = async |w: &Watched| w.actions("request") == 6;
            w.until("all six are asked to go", SECOND * 60, asked).await;
            let before = w.world.live().len();
            w.upload(4).await;
            w.until("the requests are taken back", SECOND * 3, async |w| w.actions("cancel") > 0).await;
            w.pass(SECOND).await;
            let live = w.world.live().len() as u64;
            assert_eq!((before, live), (6, 6), "{kind:?}: {:#?}", w.why());
            assert_eq!((w.actions("cancel"), w.actions("launch")), (4, 6), "{kind:?}: {:#?}", w.why());
            w.comes_to_rest(HEALS).await;
        });
    }
}

#[test]
fn a_request_that_could_not_be_deleted_was_not_taken_back() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Machines), Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(6).await;
        w.until("all six are asked to go", SECOND * 60, async |w| w.actions("request") == 6).await;
        w.controller.fail("queue.delete", edge::Kind::Throttled);
        w.upload(4).await;
        w.pass(SECOND * 2).await;
        // the six may go all the same: four others come in their place
        assert_eq!((w.actions("cancel"), w.actions("launch")), (0, 10), "{:#?}", w.why());
        w.controller.heal();
        w.comes_to_rest(HEALS).await;
    });
}

#[test]
fn what_workers_hold_already_is_launched_anew() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Processes), Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(6).await;
        w.until("all six are asked to go", SECOND * 60, async |w| w.actions("request") == 6).await;
        w.upload(10).await;
        w.pass(SECOND * 2).await;
        assert_eq!((w.actions("cancel"), w.actions("launch")), (6, 10), "{:#?}", w.why());
        w.comes_to_rest(HEALS).await;
        assert_eq!(w.most, 10);
    });
}

#[test]
fn a_successor_finds_the_workers_of_its_predecessor() {
    // a process is orphaned and finishes; a machine works on, and is not launched a second time
    for (kind, seen) in [(Kind::Processes, 16), (Kind::Machines, 8)] {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(8).await;
            w.until("eight run", SECOND * 20, async |w| w.world.live().len() == 8).await;
            w.pass(SECOND * 4).await;
            w.controller.kill();
            w.upload(8).await;
            w.comes_to_rest(HEALS).await;
            assert_eq!((w.starts, w.seen.len()), (2, seen), "{kind:?}: {:#?}", w.why());
        });
    }
}

#[test]
fn a_hung_worker_is_replaced_and_its_image_answered() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(12).await;
            w.pass(SECOND * 4).await;
            let victim = w.world.live()[0].instance_id.clone();
            assert!(w.world.hang_worker(&victim));
            let took = w.comes_to_rest(HEALS).await;
            // six reports missed, the end, and whatever was asked to go in vain meanwhile
            assert!(took < Duration::from_mins(3), "{kind:?}: {took:?}");
            let told = w.why().iter().any(|line| line.contains(&victim.0) && line.contains("stopped reporting"));
            assert!(told, "{kind:?}: {:#?}", w.why());
        });
    }
}

#[test]
fn a_killed_worker_is_replaced_while_there_is_work() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(40).await;
            w.pass(SECOND * 6).await;
            let victim = w.world.live()[0].instance_id.clone();
            assert!(w.world.kill_worker(&victim));
            w.comes_to_rest(HEALS).await;
            assert_eq!((w.most, w.seen.len()), (10, 11), "{kind:?}: {:#?}", w.why());
        });
    }
}

#[test]
fn a_controller_that_stops_lets_its_processes_finish_and_leaves_machines_alone() {
    for (kind, left) in [(Kind::Processes, 0), (Kind::Machines, 4)] {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(4).await;
            w.pass(SECOND * 4).await;
            assert_eq!(w.unanswered().await, 4, "{kind:?}: all are in hand");
            w.controller.stop();
            w.pass(SECOND * 10).await;
            assert_eq!((w.unanswered().await, w.world.live().len()), (0, left), "{kind:?}");
        });
    }
}

#[test]
fn one_that_never_becomes_ready_is_replaced() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.world.next_are_duds(3);
            w.pass(SECOND * 2).await;
            w.upload(3).await;
            let took = w.comes_to_rest(HEALS).await;
            assert_eq!(w.actions("launch"), 6, "{kind:?}: {:#?}", w.why());
            assert!(took > Duration::from_mins(5) && took < Duration::from_mins(7), "{kind:?}: {took:?}");
        });
    }
}

#[test]
fn launches_that_fail_wait_longer_each_time_and_lose_no_id() {
    virtually(async {
        let mut w = Watched::new(settings(Kind::Processes), Vec::new());
        w.pass(SECOND * 2).await;
        w.controller.fail("fleet.launch", edge::Kind::Denied);
        w.upload(10).await;
        w.pass(Duration::from_mins(2)).await;
        let failed = w.metric("bellows_launch_failures_total{code=\"spawn\"}");
        assert!((6..=12).contains(&failed), "{failed} failures in two minutes");
        assert_eq!(w.actions("launch"), 0);
        w.controller.heal();
        w.comes_to_rest(HEALS).await;
        assert_eq!((w.most, w.seen.len()), (10, 10), "{:#?}", w.why());
    });
}

#[test]
fn nothing_is_launched_that_is_not_written_down() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.controller.fail("bucket.compare_and_swap", edge::Kind::Full);
            w.upload(10).await;
            w.pass(SECOND * 30).await;
            assert_eq!(w.seen.len(), 0, "{kind:?}: {:#?}", w.why());
            w.controller.heal();
            w.comes_to_rest(HEALS).await;
            assert_eq!((w.starts, w.seen.len()), (1, 10), "{kind:?}: {:#?}", w.why());
        });
    }
}

#[test]
fn a_launch_that_timed_out_is_not_launched_a_second_time() {
    virtually(async {
        // the answer is lost, with the effect; lists do not show it for a while
        let calls = {
            let mut w = Watched::new(settings(Kind::Machines), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(10).await;
            w.pass(SECOND * 2).await;
            (0..w.controller.points()).map(|point| w.controller.point(point).unwrap()).collect::<Vec<_>>()
        };
        let answer = calls.iter().position(|call| *call == ("fleet.launch", Leg::Back)).unwrap() as u64;
        let mut w = Watched::new(settings(Kind::Machines), vec![(answer, Fault::Fail(edge::Kind::Timeout))]);
        w.pass(SECOND * 2).await;
        w.upload(10).await;
        w.comes_to_rest(HEALS).await;
        assert_eq!((w.most, w.seen.len()), (10, 10), "{:#?}", w.why());
    });
}

#[test]
fn an_unread_list_is_no_empty_list() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(40).await;
            w.pass(SECOND * 2).await;
            w.controller.fail("fleet.list", edge::Kind::Unavailable);
            w.pass(Duration::from_mins(5)).await;
            // nobody was launched twice, and nobody was asked to go
            assert_eq!((w.seen.len(), w.world.live().len(), w.actions("request")), (10, 10, 0), "{kind:?}");
            assert_eq!(w.unanswered().await, 0);
            w.controller.heal();
            w.comes_to_rest(HEALS).await;
        });
    }
}

/// `bellows pause` and `bellows resume`.
async fn set_pause(w: &Watched, pause: Option<Pause>) {
    let output = Bucket::Memory(w.world.output.clone());
    let object = output.get(key::CONTROL).await.unwrap().unwrap();
    let control = bellows_core::control::Control::parse(&object.bytes).unwrap().with_pause(pause);
    output.compare_and_swap(key::CONTROL, Some(&Etag(object.etag.0)), control.to_bytes().into()).await.unwrap();
}

#[test]
fn a_pause_stops_growing_and_shrinking_alike() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(2).await;
            w.pass(SECOND * 3).await;
            set_pause(&w, Some(Pause { since: Timestamp(1), by: "a person".into() })).await;
            w.pass(SECOND * 2).await;
            w.upload(8).await;
            w.pass(Duration::from_mins(10)).await;
            // the two that were there have done it all, and are there still
            assert_eq!(
                (w.unanswered().await, w.seen.len(), w.world.live().len()),
                (0, 2, 2),
                "{kind:?}: {:#?}",
                w.why()
            );
            assert_eq!(w.actions("request"), 0);
            set_pause(&w, None).await;
            w.comes_to_rest(HEALS).await;
            let words = w.why().join("\n");
            assert!(words.contains("paused by a person") && words.contains("resumed"), "{words}");
        });
    }
}

#[test]
fn a_dry_run_decides_and_does_nothing() {
    virtually(async {
        let mut w = Watched::new(bellows::sim::Settings { dry_run: true, ..settings(Kind::Machines) }, Vec::new());
        w.pass(SECOND * 2).await;
        w.upload(8).await;
        w.pass(Duration::from_mins(2)).await;
        assert_eq!((w.seen.len(), w.unanswered().await), (0, 8));
        let words = w.why().join("\n");
        assert!(words.contains("would have launched 8 instances") && words.contains("dry run"), "{words}");
    });
}

/// Says that this instance has stopped.
async fn confirm(w: &Watched, named: &Named, nonce: u128, epoch: Epoch) {
    let Named { app_tier_id, instance_id } = named.clone();
    let nonce = Nonce(Uuid::from_u128(nonce));
    let notice = Notice::Confirm(Confirm { v: VERSION, nonce, epoch, app_tier_id, instance_id });
    Queue::Memory(w.world.notices.clone()).send(message::encode(&notice).unwrap()).await.unwrap();
}

#[test]
fn whatever_confirms_is_ended_and_a_stranger_is_not() {
    for kind in KINDS {
        virtually(async {
            let mut w = Watched::new(settings(kind), Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(30).await;
            w.pass(SECOND * 6).await;
            let live = w.world.live();
            assert_eq!(live.len(), 10);
            // forged, twice, of an older epoch; of one that is not ours; of one of ours under another's id
            confirm(&w, &live[0], 1, Epoch(1)).await;
            confirm(&w, &live[0], 1, Epoch(1)).await;
            confirm(&w, &live[1], 2, Epoch(0)).await;
            let stranger = Named { app_tier_id: AppTierId(3), instance_id: InstanceId("3-stranger".into()) };
            confirm(&w, &stranger, 3, Epoch(1)).await;
            confirm(&w, &Named { app_tier_id: live[3].app_tier_id, ..live[2].clone() }, 4, Epoch(1)).await;
            Queue::Memory(w.world.notices.clone()).send("farewell".into()).await.unwrap();
            w.pass(SECOND * 3).await;
            let left = w.world.live();
            assert!(!left.contains(&live[0]) && !left.contains(&live[1]), "{kind:?}: {left:?}");
            assert!(live[2..].iter().all(|named| left.contains(named)), "{kind:?}: {left:?}");
            w.comes_to_rest(HEALS).await;
        });
    }
}

#[test]
fn under_steady_load_the_pool_shrinks_to_what_carries_it() {
    for kind in KINDS {
        virtually(async {
            let mut settings = settings(kind);
            // two of eight carry five images a second
            (settings.service, settings.pause) = (SECOND * 3 / 10, SECOND / 20);
            settings.policy.hold = Hold::Fixed(SECOND * 10);
            settings.policy.rule = bellows_core::scale::Rule::Backlog;
            settings.policy.max = 8;
            settings.policy.latency_target = SECOND * 5;
            let mut w = Watched::new(settings, Vec::new());
            w.pass(SECOND * 2).await;
            w.upload(400).await;
            w.until("eight run", SECOND * 30, async |w| w.world.live().len() == 8).await;
            w.until("the burst is over", SECOND * 120, async |w| w.unanswered().await == 0).await;
            let mut shrunk = None;
            for second in 0..240 {
                for _ in 0..5 {
                    w.upload(1).await;
                    w.pass(SECOND / 5).await;
                }
                let live = w.world.live().len();
                if live <= 3 && shrunk.is_none() {
                    shrunk = Some(second);
                }
                assert!(shrunk.is_none() || (2..=4).contains(&live), "{kind:?}, {second} s: {live}\n{:#?}", w.why());
            }
            let shrunk = shrunk.expect("it shrinks");
            println!("{kind:?}: shrunk after {shrunk} s, {} instances in all", w.seen.len());
            assert!(shrunk <= 10 + 30, "{kind:?}: after {shrunk} s");
            w.comes_to_rest(HEALS).await;
        });
    }
}

#[test]
fn what_nobody_answered_in_time_is_answered_expired_and_old_objects_go() {
    virtually(async {
        let mut settings = settings(Kind::Processes);
        // slow rounds: only hours matter here
        settings.tick = SECOND * 30;
        settings.retention = Retention {
            request_ttl: Duration::from_hours(2),
            objects: Some((Duration::from_hours(5), Duration::from_hours(8))),
        };
        let mut w = Watched::new(settings, Vec::new());
        let input = Bucket::Memory(w.world.input.clone());
        let output = Bucket::Memory(w.world.output.clone());
        let id = RequestId(Uuid::from_u128(77));
        let key = key::input(id, "lost.png");
        // its message is gone, and this one is no upload of ours
        for key in [key.as_str(), "incoming/theirs.jpg"] {
            input.put(key, b"image"[..].into()).await.unwrap();
        }
        let result = async || output.get(&key::result(id)).await.unwrap();
        sleep(Duration::from_mins(115)).await;
        assert!(result().await.is_none());
        sleep(Duration::from_mins(70)).await;
        let answer = String::from_utf8(result().await.unwrap().bytes.to_vec()).unwrap();
        assert!(answer.contains("expired") && answer.contains("lost.png"), "{answer}");
        assert_eq!(output.list("results/", None, 10).await.unwrap().len(), 1, "a stranger's input is left alone");
        sleep(Duration::from_hours(4)).await;
        assert!(input.list("", None, 10).await.unwrap().is_empty(), "inputs are gone after five hours");
        sleep(Duration::from_hours(5)).await;
        let left: Vec<String> = output.list("", None, 10).await.unwrap().into_iter().map(|meta| meta.key).collect();
        assert_eq!(left, [key::CONTROL], "results are gone after eight hours, the control object stays");
        w.pass(SECOND).await;
    });
}

/// Ten uploads an hour for a month, each with what it leaves behind: the folders grow until the oldest are let go, and no
/// further.
#[test]
fn a_month_of_uploads_keeps_no_more_than_it_is_told() {
    virtually(async {
        let mut settings = settings(Kind::Processes);
        settings.tick = SECOND * 600;
        let day = Duration::from_hours(24);
        settings.retention = Retention { request_ttl: Duration::from_hours(2), objects: Some((day * 3, day * 6)) };
        let w = Watched::new(settings, Vec::new());
        let input = Bucket::Memory(w.world.input.clone());
        let output = Bucket::Memory(w.world.output.clone());
        let (mut most, mut least) = ((0, 0), (usize::MAX, usize::MAX));
        for hour in 0..30 * 24_u128 {
            for n in 0..10 {
                let id = RequestId(Uuid::from_u128(hour * 10 + n + 1));
                input.put(&key::input(id, "a.png"), b"image"[..].into()).await.unwrap();
                output.put(&key::result(id), b"{}"[..].into()).await.unwrap();
            }
            sleep(Duration::from_hours(1)).await;
            let kept =
                (input.list("", None, 9999).await.unwrap().len(), output.list("", None, 9999).await.unwrap().len());
            if hour > 7 * 24 {
                most = (most.0.max(kept.0), most.1.max(kept.1));
                least = (least.0.min(kept.0), least.1.min(kept.1));
            }
        }
        // what comes of age waits for the next sweep; the control object stays
        assert!(most.0 <= (72 + 2) * 10 && most.1 <= (144 + 2) * 10 + 1, "{most:?}");
        assert!(least.0 >= 71 * 10 && least.1 >= 143 * 10, "{least:?}");
    });
}
