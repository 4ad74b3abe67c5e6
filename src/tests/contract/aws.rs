//! What SQS and S3 do now and then: throttle, break off, answer in part, and do what they were told without saying so.

use super::block_on;
use crate::support::emulator::{self, Place};
use bellows::edge::bucket::{self, Bucket, Put};
use bellows::edge::host::Host;
use bellows::edge::queue::{self, Delivery, Queue};
use bellows::edge::{Error, Kind, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const VISIBILITY: Duration = Duration::from_secs(30);
const KEY: &str = "results/x.json";

/// Runs where the emulator is to be had.
fn with(test: impl AsyncFnOnce(Place)) {
    if emulator::is_here() {
        block_on(async { test(Place::new()).await });
    }
}

fn queue(place: &Place) -> Queue {
    Queue::Aws(queue::aws::Queue::open(&place.clients, &place.queue("q"), VISIBILITY, &Host::system()))
}

fn bucket(place: &Place) -> Bucket {
    Bucket::Aws(bucket::aws::Bucket::open(&place.clients, &place.bucket("bucket"), 1 << 20))
}

async fn take(queue: &Queue) -> Vec<Delivery> {
    queue.receive(10, Duration::ZERO, &CancellationToken::new()).await.unwrap()
}

/// All that is in the queue.
async fn bodies(queue: &Queue) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let got = take(queue).await;
        if got.is_empty() {
            return all;
        }
        all.extend(got.into_iter().map(|delivery| delivery.body));
    }
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// What may come in the way of any call, and goes by.
fn passing() -> [Value; 4] {
    [
        json!({ "do": "refuse", "status": 503, "code": "ServiceUnavailable" }),
        json!({ "do": "refuse", "status": 400, "code": "ThrottlingException" }),
        json!({ "do": "drop" }),
        json!({ "do": "lose" }),
    ]
}

#[test]
fn calls_to_a_queue_outlast_what_passes() {
    with(async |place| {
        let queue = queue(&place);
        for fault in passing() {
            place.fault("SendMessageBatch", 2, fault.clone());
            queue.send("m".into()).await.unwrap();
            place.fault("GetQueueAttributes", 2, fault.clone());
            let depth = queue.depth().await.unwrap();
            // who was not heard says it again
            let said = if fault["do"] == "lose" { 3 } else { 1 };
            assert_eq!(depth.visible, said, "{fault}");
            if fault["do"] != "lose" {
                place.fault("ReceiveMessage", 2, fault.clone());
            }
            for delivery in take(&queue).await {
                place.fault("ChangeMessageVisibilityBatch", 1, fault.clone());
                queue.extend(&delivery.receipt, VISIBILITY * 2).await.unwrap();
                place.fault("DeleteMessageBatch", 1, fault.clone());
                queue.delete(&delivery.receipt).await.unwrap();
            }
            assert_eq!(queue.depth().await.unwrap().total(), 0, "{fault}");
        }
        assert_eq!(place.instruct(&json!({}))["faults"], 0, "all of them were met");
    });
}

#[test]
fn calls_to_a_bucket_outlast_what_passes() {
    with(async |place| {
        let bucket = bucket(&place);
        let slow = json!({ "do": "refuse", "status": 503, "code": "SlowDown" });
        for fault in passing().into_iter().chain([slow]) {
            place.fault("PUT", 2, fault.clone());
            bucket.put(KEY, text("one")).await.unwrap();
            place.fault("GET", 2, fault.clone());
            assert_eq!(bucket.get(KEY).await.unwrap().unwrap().bytes, "one");
            place.fault("GET", 2, fault.clone());
            assert_eq!(bucket.list("results/", None, 10).await.unwrap().len(), 1);
            place.fault("DELETE", 2, fault.clone());
            bucket.delete(KEY).await.unwrap();
            assert!(bucket.get(KEY).await.unwrap().is_none());
        }
        assert_eq!(place.instruct(&json!({}))["faults"], 0, "all of them were met");
    });
}

#[test]
fn what_a_batch_does_not_take_goes_again_and_nothing_else() {
    with(async |place| {
        let queue = queue(&place);
        place.fault("SendMessageBatch", 1, json!({ "do": "partial" }));
        let sent = join_all((0..10).map(|n| queue.send(n.to_string()))).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        assert_eq!(place.calls("SendMessageBatch"), 2, "ten at once are one call");
        let got = take(&queue).await;
        assert_eq!(got.iter().map(|d| d.body.clone()).collect::<BTreeSet<_>>().len(), 10);
        assert_eq!(queue.depth().await.unwrap().total(), 10, "each once");

        let lost = json!({ "do": "partial", "code": "ReceiptHandleIsInvalid", "sender_fault": true });
        place.fault("ChangeMessageVisibilityBatch", 1, lost);
        let extended = join_all(got.iter().map(|d| queue.extend(&d.receipt, VISIBILITY))).await;
        let kinds: Vec<_> = extended.iter().map(|outcome| outcome.as_ref().err().map(|e| e.kind)).collect();
        assert_eq!(kinds, [Some(Kind::Expired), None].repeat(5));
        assert_eq!(place.calls("ChangeMessageVisibilityBatch"), 1, "what is lost is not asked for again");

        place.fault("DeleteMessageBatch", 2, json!({ "do": "partial" }));
        let deleted = join_all(got.iter().map(|d| queue.delete(&d.receipt))).await;
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        assert_eq!((place.calls("DeleteMessageBatch"), queue.depth().await.unwrap().total()), (3, 0));
    });
}

#[test]
fn a_write_that_was_not_heard_of_is_not_taken_for_somebody_elses() {
    with(async |place| {
        let bucket = bucket(&place);
        place.fault("PUT", 1, json!({ "do": "lose" }));
        assert_eq!(bucket.put_if_absent(KEY, text("ours")).await.unwrap(), Put::Created);
        place.fault("PUT", 1, json!({ "do": "drop" }));
        assert_eq!(bucket.put_if_absent(KEY, text("second")).await.unwrap(), Put::Exists);
        let there = bucket.get(KEY).await.unwrap().unwrap();
        assert_eq!(there.bytes, "ours");

        place.fault("PUT", 1, json!({ "do": "lose" }));
        let etag = bucket.compare_and_swap(KEY, Some(&there.etag), text("swapped")).await.unwrap();
        let object = bucket.get(KEY).await.unwrap().unwrap();
        assert_eq!((object.bytes, &object.etag), (text("swapped"), &etag));
        place.fault("PUT", 1, json!({ "do": "drop" }));
        let beaten = bucket.compare_and_swap(KEY, Some(&there.etag), text("late")).await;
        assert_eq!(beaten.unwrap_err().kind, Kind::Conflict);
        bucket.delete(KEY).await.unwrap();
        let gone = bucket.compare_and_swap(KEY, Some(&etag), text("late")).await;
        assert_eq!(gone.unwrap_err().kind, Kind::Conflict, "nothing is there");
    });
}

#[test]
fn two_conditional_writes_that_met_are_made_again() {
    with(async |place| {
        let bucket = bucket(&place);
        let met = json!({ "do": "refuse", "status": 409, "code": "ConditionalRequestConflict" });
        place.fault("PUT", 2, met);
        assert_eq!(bucket.put_if_absent(KEY, text("x")).await.unwrap(), Put::Created);
        assert_eq!(place.calls("PUT"), 4, "the bucket, and three tries");
    });
}

#[test]
fn what_does_not_pass_is_told_at_once() {
    with(async |place| {
        let bucket = bucket(&place);
        place.fault("GET", 1, json!({ "do": "refuse", "status": 403, "code": "AccessDenied" }));
        let denied = bucket.get(KEY).await.unwrap_err();
        assert_eq!(denied.kind, Kind::Denied);
        assert!(denied.detail.contains("s3:ListBucket") && denied.detail.contains("AccessDenied"), "{denied}");
        bucket.put(KEY, Bytes::from(vec![0; (1 << 20) + 1])).await.unwrap();
        let large = bucket.get(KEY).await.unwrap_err();
        assert_eq!(large.kind, Kind::Invalid, "{large}");

        let url = place.queue("gone");
        place.sqs("DeleteQueue", &json!({ "QueueUrl": url }));
        let gone = Queue::Aws(queue::aws::Queue::open(&place.clients, &url, VISIBILITY, &Host::system()));
        let not_found = |e: Error| assert_eq!(e.kind, Kind::NotFound, "{e}");
        not_found(gone.send("m".into()).await.unwrap_err());
        not_found(gone.depth().await.unwrap_err());
        not_found(gone.receive(1, Duration::ZERO, &CancellationToken::new()).await.unwrap_err());
    });
}

#[test]
fn nobody_there_is_said_within_the_deadline() {
    block_on(async {
        let clients = emulator::clients("http://127.0.0.1:9");
        let queue = Queue::Aws(queue::aws::Queue::open(&clients, "http://127.0.0.1:9/q", VISIBILITY, &Host::system()));
        let begun = Instant::now();
        assert_eq!(queue.depth().await.unwrap_err().kind, Kind::Unavailable);
        assert!(begun.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn a_receive_that_nobody_waits_for_gives_back_what_it_brings() {
    with(async |place| {
        let queue = queue(&place);
        let never = CancellationToken::new();
        let abandoned = tokio::time::timeout(Duration::from_millis(300), queue.receive(1, VISIBILITY, &never));
        assert!(abandoned.await.is_err());
        queue.send("m".into()).await.unwrap();
        // else this poll and the abandoned one would race for it
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        let got = queue.receive(1, Duration::from_secs(15), &never).await.unwrap();
        assert_eq!(got[0].receive_count, 2, "the abandoned poll had it");
        assert!(begun.elapsed() < Duration::from_secs(5), "well before its lease ran out: {:?}", begun.elapsed());
    });
}

#[test]
fn a_poll_that_shall_stop_ends_soon_and_brings_what_came() {
    with(async |place| {
        let queue = queue(&place);
        let (stop, begun) = (CancellationToken::new(), Instant::now());
        let (got, ()) = tokio::join!(queue.receive(10, Duration::from_secs(20), &stop), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop.cancel();
            queue.send("m".into()).await.unwrap();
        });
        assert_eq!(got.unwrap()[0].receive_count, 1);
        let stop = CancellationToken::new();
        let (got, ()) = tokio::join!(queue.receive(10, Duration::from_secs(20), &stop), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop.cancel();
        });
        assert!(got.unwrap().is_empty());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

#[test]
fn lists_go_on_beyond_a_page_of_the_service() {
    with(async |place| {
        let bucket = bucket(&place);
        for hundred in 0..11 {
            let puts = (0..100).map(async |n| {
                let key = format!("x/{:04}", hundred * 100 + n);
                bucket.put(&key, Bytes::new()).await.unwrap();
            });
            join_all(puts).await;
        }
        assert_eq!(bucket.list("x/", None, 2000).await.unwrap().len(), 1100);
        let listed = bucket.list("x/", Some("x/0049"), 1020).await.unwrap();
        assert_eq!((listed.len(), listed[0].key.as_str(), listed[1019].key.as_str()), (1020, "x/0050", "x/1069"));
    });
}

#[test]
fn no_answer_is_not_waited_for_for_ever() {
    with(async |place| {
        let queue = queue(&place);
        place.fault("GetQueueAttributes", 1, json!({ "do": "delay", "seconds": 25 }));
        let begun = Instant::now();
        assert_eq!(queue.depth().await.unwrap().total(), 0);
        assert!((2..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(bodies(&queue).await.is_empty());
    });
}
