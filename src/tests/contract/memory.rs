//! What only the memory backends promise: virtual time, and the same order in every run.

use bellows::edge::host::Clock;
use bellows::edge::queue::{MAX_WAIT, Queue, Settings, memory};
use bellows_core::time::Timestamp;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn queue(visibility: Duration) -> Queue {
    let store = memory::Store::new(Clock::virtual_from(Timestamp(super::TODAY)));
    let (name, retention) = ("q".into(), Duration::from_hours(96));
    Queue::Memory(store.queue(Settings { name, visibility, retention, dead_letters: None }).unwrap())
}

#[tokio::test(start_paused = true)]
async fn waiting_takes_virtual_time_only() {
    let (queue, stop) = (queue(Duration::from_secs(3)), CancellationToken::new());
    let begun = Instant::now();
    assert!(queue.receive(1, MAX_WAIT, &stop).await.unwrap().is_empty());
    assert_eq!(begun.elapsed(), MAX_WAIT);
    queue.send_delayed("m".into(), Duration::from_secs(5)).await.unwrap();
    let first = queue.receive(1, MAX_WAIT, &stop).await.unwrap();
    assert_eq!((first.len(), begun.elapsed()), (1, MAX_WAIT + Duration::from_secs(5)));
    // a second one waits from before the lease until its end
    let second = queue.receive(1, MAX_WAIT, &stop).await.unwrap();
    assert_eq!((second[0].receive_count, begun.elapsed()), (2, MAX_WAIT + Duration::from_secs(8)));
}

/// Four workers on one queue, with some work that outlasts its lease: every event with its virtual time.
async fn story() -> String {
    let queue = queue(Duration::from_secs(2));
    let (begun, log) = (Instant::now(), Arc::new(Mutex::new(String::new())));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4u64 {
        let (queue, log) = (queue.clone(), Arc::clone(&log));
        workers.spawn(async move {
            let stop = CancellationToken::new();
            for round in 0..25u64 {
                for delivery in queue.receive(2, Duration::from_secs(1), &stop).await.unwrap() {
                    tokio::time::sleep(Duration::from_millis(100 * ((worker * 7 + round * 5) % 23))).await;
                    let deleted = queue.delete(&delivery.receipt).await.is_ok();
                    let (at, body, count) = (begun.elapsed(), &delivery.body, delivery.receive_count);
                    writeln!(log.lock().unwrap(), "{at:?} {worker} {body} {count} {deleted}").unwrap();
                }
            }
        });
    }
    for n in 0..60u64 {
        queue.send_delayed(n.to_string(), Duration::from_millis(n * 37 % 500)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(n * 13 % 70)).await;
    }
    workers.join_all().await;
    let log = log.lock().unwrap();
    log.clone()
}

#[test]
fn the_same_calls_give_the_same_story() {
    let tell = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(story())
    };
    let first = tell();
    assert!(first.lines().count() > 60 && first.contains("false"), "{first}");
    assert_eq!(first, tell());
}
