//! What a worker's reports tell of messages that ended without a new answer.

use super::*;
use bellows::edge::engine::Failure;
use bellows::edge::wire::{Leg, Passing, Way, Wire};
use bellows::edge::{self, Error};
use bellows_core::message::Endings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether leases are said to have run out.
#[derive(Debug, Default)]
struct Lapsed(AtomicBool);

impl Way for Lapsed {
    fn pass(&self, operation: &'static str, _leg: Leg) -> Passing {
        let lapsed = self.0.load(Ordering::Relaxed) && operation == "queue.extend";
        let error = move || Error::new(edge::Kind::Expired, operation, "somebody else has it");
        Box::pin(async move { if lapsed { Err(error()) } else { Ok(()) } })
    }

    fn who(&self) -> &'static str {
        "endings"
    }
}

impl World {
    /// As the last report has them.
    async fn endings(&self) -> Endings {
        sleep(Duration::from_secs(6)).await;
        let (never, mut last) = (CancellationToken::new(), None);
        loop {
            let received = self.notices.receive(10, Duration::ZERO, &never).await.unwrap();
            if received.is_empty() {
                return last.unwrap();
            }
            for delivery in received {
                if let Parsed::Ok(Notice::Report(report)) = message::parse::<Notice>(&delivery.body) {
                    last = Some(report.endings);
                }
                self.notices.delete(&delivery.receipt).await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reports_tell_what_was_given_back_what_was_there_and_what_took_too_long() {
    let lapsed = Arc::new(Lapsed::default());
    let mut world = world_over(Wire::new(lapsed.clone()), CancellationToken::new());
    world.lead(3, None).await;

    world.upload(1).await;
    let work = world.engine.recv().await.unwrap();
    work.reply.send(Err(Failure::Engine(Error::new(edge::Kind::Unavailable, "engine", "not now")))).unwrap();
    let mut endings = Endings { given_back: 1, ..Endings::default() };
    assert_eq!(world.endings().await, endings);
    world.classify(Duration::ZERO).await;
    assert_eq!(world.endings().await, endings, "what is tried again and done is no further ending");

    // the same request again
    world.upload(1).await;
    world.classify(Duration::ZERO).await;
    endings.duplicate += 1;
    assert_eq!(world.endings().await, endings);

    // the lease runs out: the answer is stored, the message is somebody else's, and comes to us again
    world.upload(2).await;
    lapsed.0.store(true, Ordering::Relaxed);
    world.classify(Duration::from_secs(15)).await;
    lapsed.0.store(false, Ordering::Relaxed);
    endings.lease_lost += 1;
    assert_eq!(world.endings().await, endings);
    sleep(Duration::from_secs(30)).await;
    endings.duplicate += 1;
    assert_eq!(world.endings().await, endings);
    assert_eq!(world.requests.depth().await.unwrap().total(), 0);
}
