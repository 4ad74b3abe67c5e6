//! What was given up is answered, counted and kept, however much it is.

use crate::support::daemon::Options;
use crate::support::eventually;
use crate::support::raw::get;
use bellows::edge::host::{Clock, Entropy};
use bellows::edge::queue::{self, Queue};
use bellows_core::incoming;
use bellows_core::message::{self, Parsed, Request, VERSION};
use bellows_core::time::Timestamp;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_heap_of_dead_letters_is_answered_in_one_round() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("queues")).unwrap();
    let dead = queue::Settings {
        name: "dead_letter_queue".into(),
        visibility: Duration::from_secs(30),
        retention: Duration::from_hours(24),
        dead_letters: None,
    };
    let store = queue::local::Store::open(dir.path().join("queues/request.db"), Clock::System).unwrap();
    let dead = Queue::Local(store.queue(dead, false).unwrap());
    let mut last = None;
    for n in 0..45 {
        let request_id = Entropy::System.request_id();
        let request = Request {
            v: VERSION,
            request_id,
            filename: format!("{n}.png"),
            key: String::new(),
            reply_to: "response_queue".into(),
            submitted_at: Timestamp(0),
        };
        dead.send(message::encode(&request).unwrap()).await.unwrap();
        last = Some(request_id);
    }
    // what S3 tells is a request like any other, but nobody waits for its answer
    let event = r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"in"},
        "object":{"key":"incoming/x.png","sequencer":"1"}}}]}"#;
    let Parsed::Ok(of_s3) = incoming::requests(event, Timestamp(0)) else { panic!("{event}") };
    dead.send(event.into()).await.unwrap();
    // the next tick is far away
    let daemon = Options::new(dir.path()).set("pool.tick=10m").start();
    let expected = [
        ("bellows_dead_letters_total", 46.0),
        ("bellows_queue_deleted_total{queue=\"dead_letter_queue\"}", 46.0),
        ("bellows_queue_sent_total{queue=\"response_queue\"}", 45.0),
        ("bellows_jobs_total{outcome=\"dead_lettered\"}", 45.0),
    ];
    for (series, n) in expected {
        eventually(&format!("{series} is {n}"), Duration::from_secs(20), || daemon.metric(series) == Some(n));
    }
    for id in [last.unwrap(), of_s3[0].request_id] {
        let answer = get(&daemon.url, &format!("/results/{id}")).json();
        assert_eq!(answer["error"], "dead-lettered", "{answer}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("output/dead")).unwrap().count(), 46);
}
