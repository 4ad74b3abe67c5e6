//! A worker on its own: nobody leads, its queue is gone, its machine is taken away. It ends by itself, and idleness alone
//! never ends one.

use super::*;
use bellows::edge::wire::{Leg, Passing, Way, Wire};
use bellows::edge::{self, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says that there is no such queue, while that is so.
#[derive(Debug, Default)]
struct Gone(AtomicBool);

impl Way for Gone {
    fn pass(&self, operation: &'static str, _leg: Leg) -> Passing {
        let gone = self.0.load(Ordering::Relaxed) && operation == "queue.receive";
        let error = move || Error::new(edge::Kind::NotFound, operation, "no such queue");
        Box::pin(async move { if gone { Err(error()) } else { Ok(()) } })
    }

    fn who(&self) -> &'static str {
        "alone"
    }
}

async fn ended_within(world: &World, limit: Duration) -> Option<(Ending, Duration)> {
    let begun = Instant::now();
    let ended = tokio::time::timeout(limit, world.host.ended()).await.ok()?;
    Some((ended, begun.elapsed()))
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_leads_for_a_quarter_of_an_hour_ends() {
    for led in [true, false] {
        let mut world = world();
        if led {
            world.lead(3, None).await;
        }
        // it is not idleness that counts
        sleep(Duration::from_mins(13)).await;
        world.works_on().await;
        let (ending, took) = ended_within(&world, Duration::from_mins(5)).await.unwrap();
        assert_eq!(ending, Ending::Retired, "led: {led}");
        assert!(took > Duration::from_secs(90), "led: {led}, {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whom_somebody_leads_stays_however_idle() {
    let world = world();
    world.lead(3, None).await;
    for minute in 0..120 {
        sleep(Duration::from_mins(1)).await;
        let object = world.output.get(key::CONTROL).await.unwrap().unwrap();
        let control = Control { revision: minute + 2, ..Control::parse(&object.bytes).unwrap() };
        world.output.compare_and_swap(key::CONTROL, Some(&object.etag), control.to_bytes().into()).await.unwrap();
    }
    assert!(ended_within(&world, Duration::ZERO).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn whose_queue_is_gone_for_a_minute_ends_and_not_before() {
    let gone = Arc::new(Gone::default());
    let mut world = world_over(Wire::new(gone.clone()), CancellationToken::new());
    world.lead(3, None).await;
    for seconds in [40, 40] {
        gone.0.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(seconds)).await;
        gone.0.store(false, Ordering::Relaxed);
        world.works_on().await;
    }
    world.upload(1).await;
    let work = world.engine.recv().await.unwrap();
    gone.0.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(50)).await;
    assert!(ended_within(&world, Duration::from_secs(20)).await.is_none(), "it has work in hand");
    let labelled = Labelled { predictions: Vec::new(), sha256: String::new(), decode_ms: 0.0, infer_ms: 1.0 };
    work.reply.send(Ok(labelled)).unwrap();
    let (ending, took) = ended_within(&world, Duration::from_mins(3)).await.unwrap();
    assert_eq!(ending, Ending::Retired);
    assert!((59..90).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn whose_machine_is_taken_away_finishes_and_takes_no_more() {
    let evicted = CancellationToken::new();
    let mut world = world_over(Wire::default(), evicted.clone());
    world.lead(3, None).await;
    world.upload(1).await;
    let work = world.engine.recv().await.unwrap();
    world.upload(2).await;
    evicted.cancel();
    sleep(Duration::from_secs(3)).await;
    assert!(ended_within(&world, Duration::ZERO).await.is_none(), "it finishes first");
    let labelled = Labelled { predictions: Vec::new(), sha256: String::new(), decode_ms: 0.0, infer_ms: 1.0 };
    work.reply.send(Ok(labelled)).unwrap();
    let (ending, took) = ended_within(&world, Duration::from_mins(1)).await.unwrap();
    assert_eq!(ending, Ending::Retired, "the instance goes with it");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(world.output.get(&key::result(RequestId(Uuid::from_u128(1)))).await.unwrap().is_some());
    assert_eq!(
        world.requests.depth().await.unwrap(),
        Depth { visible: 1, ..Depth::default() },
        "at once somebody else's"
    );
}

#[tokio::test(start_paused = true)]
async fn how_often_to_report_is_in_the_control_object() {
    let world = world();
    let reports = async || {
        let before = world.notices.depth().await.unwrap().total();
        sleep(Duration::from_mins(10)).await;
        world.notices.depth().await.unwrap().total() - before
    };
    world.lead(3, None).await;
    sleep(Duration::from_mins(1)).await;
    assert!((119..=121).contains(&reports().await), "every 5 s, as it was told at its start");
    let object = world.output.get(key::CONTROL).await.unwrap().unwrap();
    let control = Control { report_every_ms: 50_000, revision: 9, ..Control::parse(&object.bytes).unwrap() };
    world.output.compare_and_swap(key::CONTROL, Some(&object.etag), control.to_bytes().into()).await.unwrap();
    sleep(Duration::from_secs(70)).await;
    assert!((11..=13).contains(&reports().await), "every 50 s");
}
