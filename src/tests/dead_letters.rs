//! What was given up is answered, counted and kept, however much it is.

use crate::support::daemon::Options;
use crate::support::eventually;
use crate::support::raw::get;
use bellows::edge::host::{Clock, Entropy};
use bellows::edge::queue::{self, Queue};
use bellows_core::message::{self, Request, VERSION};
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
    // the next tick is far away
    let daemon = Options::new(dir.path()).set("pool.tick=10m").start();
    let expected = [
        ("bellows_dead_letters_total", 45.0),
        ("bellows_queue_deleted_total{queue=\"dead_letter_queue\"}", 45.0),
        ("bellows_queue_sent_total{queue=\"response_queue\"}", 45.0),
        ("bellows_jobs_total{outcome=\"dead_lettered\"}", 45.0),
    ];
    for (series, n) in expected {
        eventually(&format!("{series} is {n}"), Duration::from_secs(20), || daemon.metric(series) == Some(n));
    }
    let answer = get(&daemon.url, &format!("/results/{}", last.unwrap())).json();
    assert_eq!(answer["error"], "dead-lettered", "{answer}");
    assert_eq!(std::fs::read_dir(dir.path().join("output/dead")).unwrap().count(), 45);
}
