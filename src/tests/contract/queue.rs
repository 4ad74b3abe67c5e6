//! Queues.

mod model;

use super::{Backend, Hands, folder, for_every_backend};
use crate::support::emulator;
use bellows::edge::host::{Entropy, Host};
use bellows::edge::queue::{BATCH, Delivery, Depth, MAX_BODY, MAX_DELAY, Queue, Receipt, Settings, aws, local, memory};
use bellows::edge::{Kind, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const VISIBILITY: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const NOW: Duration = Duration::ZERO;
/// As finely as the clock goes.
const MOMENT: Duration = Duration::from_millis(1);
/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(15);

/// A place that holds queues, and what is needed to come to them a second time.
struct Place {
    folder: TempDir,
    hands: Hands,
    memory: memory::Store,
    aws: Option<emulator::Place>,
    backend: Backend,
}

fn settings(name: &str) -> Settings {
    Settings { name: name.into(), visibility: VISIBILITY, retention: RETENTION, dead_letters: None }
}

impl Place {
    fn new(backend: Backend, hands: &Hands) -> Place {
        let aws = (backend == Backend::Aws).then(emulator::Place::new);
        if let Some(place) = &aws {
            hands.follow(place.clone());
        }
        Place { folder: folder(), memory: memory::Store::new(hands.clock()), hands: hands.clone(), aws, backend }
    }

    /// A handle on a queue, each with a connection of its own as another process would have.
    fn open(&self, settings: Settings) -> Queue {
        match self.backend {
            Backend::Local => {
                let store = local::Store::open(self.folder.path().join("q/queues.db"), self.hands.clock()).unwrap();
                Queue::Local(store.queue(settings, true).unwrap())
            }
            Backend::Memory => Queue::Memory(self.memory.queue(settings).unwrap()),
            Backend::Aws => {
                let place = self.aws.as_ref().unwrap();
                let host = Host::new(self.hands.clock(), Entropy::System);
                Queue::Aws(aws::Queue::open(&place.clients, &made(place, &settings), settings.visibility, &host))
            }
        }
    }
}

/// The URL of a queue of SQS with these settings.
fn made(place: &emulator::Place, settings: &Settings) -> String {
    let url = place.queue(&settings.name);
    let retention = settings.retention.min(Duration::from_hours(14 * 24)).as_secs();
    let mut attributes = json!({ "MessageRetentionPeriod": retention.to_string() });
    if let Some((receives, dead)) = &settings.dead_letters {
        place.queue(dead);
        let dead = format!("arn:aws:sqs:{}:123456789012:{}", emulator::REGION, place.named(dead));
        let redrive = json!({ "deadLetterTargetArn": dead, "maxReceiveCount": receives });
        attributes["RedrivePolicy"] = redrive.to_string().into();
    }
    place.sqs("SetQueueAttributes", &json!({ "QueueUrl": url, "Attributes": attributes }));
    url
}

async fn take(queue: &Queue, max: usize) -> Vec<Delivery> {
    queue.receive(max, NOW, &CancellationToken::new()).await.unwrap()
}

async fn take_one(queue: &Queue) -> Option<Delivery> {
    take(queue, 1).await.pop()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind
}

fn depth(visible: u64, in_flight: u64, delayed: u64) -> Depth {
    Depth { visible, in_flight, delayed }
}

for_every_backend!(
    a_message_is_received_once_and_gone_when_deleted,
    the_oldest_come_first_and_batches_are_bounded,
    a_lease_that_ran_out_is_worth_nothing,
    an_extended_lease_holds_and_a_message_given_back_is_there_at_once,
    delays_hide_and_retention_removes,
    dead_letters_keep_their_history,
    a_clock_set_back_hides_nothing,
    what_cannot_be_kept_is_refused,
    stop_ends_a_receive_at_once,
    a_long_poll_wakes_for_a_send_through_another_handle,
    a_long_poll_wakes_when_a_lease_or_a_delay_runs_out,
    a_long_poll_for_dead_letters_wakes_when_one_is_found,
    receivers_never_share_a_lease,
    a_receive_that_was_stopped_or_dropped_costs_no_receive,
);

async fn a_message_is_received_once_and_gone_when_deleted(backend: Backend) {
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let (sender, receiver) = (place.open(settings("q")), place.open(settings("q")));
    sender.send("hello \u{e4}".into()).await.unwrap();
    hands.advance(Duration::from_millis(250));
    assert_eq!(receiver.depth().await.unwrap(), depth(1, 0, 0));
    let got = take_one(&receiver).await.unwrap();
    assert_eq!((got.body.as_str(), got.receive_count), ("hello \u{e4}", 1));
    assert_eq!(got.waited, Duration::from_millis(250));
    assert_eq!(hands.now().since(got.sent_at), got.waited);
    assert!(take_one(&receiver).await.is_none() && take_one(&sender).await.is_none());
    assert_eq!(sender.depth().await.unwrap(), depth(0, 1, 0));
    receiver.delete(&got.receipt).await.unwrap();
    receiver.delete(&got.receipt).await.unwrap();
    assert_eq!(kind(receiver.extend(&got.receipt, VISIBILITY).await), Kind::Expired);
    hands.advance(HOUR);
    assert!(take_one(&receiver).await.is_none());
    assert_eq!(sender.depth().await.unwrap().total(), 0);
}

async fn the_oldest_come_first_and_batches_are_bounded(backend: Backend) {
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(settings("q"));
    for n in 0..25 {
        queue.send(n.to_string()).await.unwrap();
    }
    let bodies = |got: Vec<Delivery>| got.into_iter().map(|d| d.body).collect::<Vec<_>>();
    let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(bodies(take(&queue, 3).await), numbers(0..3));
    assert_eq!(bodies(take(&queue, 1000).await), numbers(3..3 + BATCH as u32));
    hands.advance(VISIBILITY);
    assert_eq!(bodies(take(&queue, 4).await), numbers(0..4));
}

async fn a_lease_that_ran_out_is_worth_nothing(backend: Backend) {
    // SQS: "if you use an old receipt handle, the request succeeds, but the message might not be deleted"
    let deletes = backend != Backend::Aws;
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(settings("q"));
    queue.send("m".into()).await.unwrap();
    let first = take_one(&queue).await.unwrap();
    hands.advance(VISIBILITY.saturating_sub(MOMENT));
    assert!(take_one(&queue).await.is_none());
    hands.advance(MOMENT);
    // nobody else has it yet, and still it is not ours any more
    if deletes {
        assert_eq!(kind(queue.delete(&first.receipt).await), Kind::Expired);
    }
    assert_eq!(kind(queue.extend(&first.receipt, VISIBILITY).await), Kind::Expired);
    let second = take_one(&queue).await.unwrap();
    assert_eq!((second.receive_count, &second.message_id), (2, &first.message_id));
    if deletes {
        assert_eq!(kind(queue.delete(&first.receipt).await), Kind::Expired);
    }
    assert_eq!(kind(queue.extend(&first.receipt, VISIBILITY).await), Kind::Expired);
    queue.delete(&second.receipt).await.unwrap();
    // the message is gone: whoever wanted it deleted has got what he wanted
    queue.delete(&first.receipt).await.unwrap();
}

async fn an_extended_lease_holds_and_a_message_given_back_is_there_at_once(backend: Backend) {
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(settings("q"));
    queue.send("m".into()).await.unwrap();
    let first = take_one(&queue).await.unwrap();
    for _ in 0..10 {
        hands.advance(VISIBILITY / 2);
        queue.extend(&first.receipt, VISIBILITY).await.unwrap();
        assert!(take_one(&queue).await.is_none());
    }
    queue.give_back(&first.receipt, Duration::ZERO).await.unwrap();
    if backend != Backend::Aws {
        assert_eq!(kind(queue.delete(&first.receipt).await), Kind::Expired);
    }
    let second = take_one(&queue).await.unwrap();
    assert_eq!(second.receive_count, 2);
    queue.give_back(&second.receipt, MAX_DELAY).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), depth(0, 1, 0));
    hands.advance(MAX_DELAY.saturating_sub(MOMENT));
    assert!(take_one(&queue).await.is_none());
    hands.advance(MOMENT);
    assert_eq!(take_one(&queue).await.unwrap().receive_count, 3);
}

async fn delays_hide_and_retention_removes(backend: Backend) {
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(settings("q"));
    queue.send_delayed("late".into(), MAX_DELAY).await.unwrap();
    queue.send("soon".into()).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), depth(1, 0, 1));
    assert_eq!(take(&queue, 10).await.len(), 1);
    hands.advance(MAX_DELAY);
    assert_eq!(take(&queue, 10).await.len(), 2);
    hands.advance(RETENTION.saturating_sub(MAX_DELAY));
    assert_eq!(queue.depth().await.unwrap(), depth(2, 0, 0));
    hands.advance(MOMENT);
    assert_eq!(queue.depth().await.unwrap().total(), 0);
    assert!(take(&queue, 10).await.is_empty());
}

async fn dead_letters_keep_their_history(backend: Backend) {
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(Settings { dead_letters: Some((3, "dead".into())), ..settings("q") });
    let dead = place.open(Settings { retention: 2 * RETENTION, ..settings("dead") });
    queue.send("poison".into()).await.unwrap();
    let sent_at = hands.now();
    let mut last = None;
    for receive in 1..=3 {
        let got = take_one(&queue).await.unwrap();
        assert_eq!(got.receive_count, receive);
        last = Some(got);
        hands.advance(VISIBILITY);
    }
    queue.send("fine".into()).await.unwrap();
    assert!(take_one(&dead).await.is_none());
    // the next receive passes the dead one and finds the good one behind it
    assert_eq!(take(&queue, 10).await.into_iter().map(|d| d.body).collect::<Vec<_>>(), ["fine"]);
    assert_eq!(queue.depth().await.unwrap(), depth(0, 1, 0));
    assert_eq!(dead.depth().await.unwrap(), depth(1, 0, 0));
    assert_eq!(kind(queue.delete(&last.unwrap().receipt).await), Kind::Expired);
    let letter = take_one(&dead).await.unwrap();
    assert_eq!((letter.body.as_str(), letter.receive_count, letter.sent_at), ("poison", 4, sent_at));
    dead.delete(&letter.receipt).await.unwrap();
    assert_eq!(dead.depth().await.unwrap().total(), 0);
}

async fn a_clock_set_back_hides_nothing(backend: Backend) {
    if backend == Backend::Aws {
        // its clock is its own
        return;
    }
    let hands = Hands::new();
    let place = Place::new(backend, &hands);
    let queue = place.open(settings("q"));
    for n in 0..3 {
        queue.send(n.to_string()).await.unwrap();
    }
    queue.send_delayed("delayed".into(), Duration::from_mins(10)).await.unwrap();
    let held = take_one(&queue).await.unwrap();
    hands.set_back(HOUR);
    assert_eq!(queue.depth().await.unwrap(), depth(4, 0, 0));
    let other = place.open(settings("q"));
    let got = take(&other, 10).await;
    assert_eq!(got.len(), 4, "all of them, at once");
    assert!(got.iter().all(|delivery| delivery.waited == Duration::ZERO));
    assert_eq!(kind(queue.delete(&held.receipt).await), Kind::Expired);
    for delivery in got {
        other.delete(&delivery.receipt).await.unwrap();
    }
}

async fn what_cannot_be_kept_is_refused(backend: Backend) {
    let place = Place::new(backend, &Hands::new());
    let queue = place.open(settings("q"));
    assert_eq!(kind(queue.send("x".repeat(MAX_BODY + 1)).await), Kind::Invalid);
    assert_eq!(kind(queue.send_delayed("x".into(), MAX_DELAY + NOW + VISIBILITY).await), Kind::Invalid);
    queue.send("x".repeat(MAX_BODY)).await.unwrap();
    let got = take_one(&queue).await.unwrap();
    assert_eq!(got.body.len(), MAX_BODY);
    assert_eq!(kind(queue.extend(&got.receipt, MAX_DELAY + VISIBILITY).await), Kind::Invalid);
    if backend == Backend::Aws {
        // SQS has one word for both
        return assert_eq!(kind(queue.delete(&Receipt("nonsense".into())).await), Kind::Expired);
    }
    for nonsense in ["", "7", "a-b", "1-1-1", "9999999999999999999999-1"] {
        assert_eq!(kind(queue.delete(&Receipt(nonsense.into())).await), Kind::Invalid, "{nonsense}");
    }
}

async fn stop_ends_a_receive_at_once(backend: Backend) {
    let place = Place::new(backend, &Hands::real());
    let queue = place.open(settings("q"));
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let (got, ()) = tokio::join!(queue.receive(1, LONG, &stop), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.cancel();
    });
    assert!(got.unwrap().is_empty());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(50) && took < LONG / 2, "{took:?}");
    // and what comes afterwards belongs to somebody else
    queue.send("m".into()).await.unwrap();
    assert!(queue.receive(1, LONG, &stop).await.unwrap().is_empty());
    assert_eq!(take_one(&queue).await.unwrap().receive_count, 1);
}

async fn a_long_poll_wakes_for_a_send_through_another_handle(backend: Backend) {
    let place = Place::new(backend, &Hands::real());
    let (receiver, other) = (place.open(settings("q")), place.open(settings("q")));
    for sender in [&receiver, &other] {
        let stop = CancellationToken::new();
        let (got, sent) = tokio::join!(receiver.receive(1, LONG, &stop), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.send("m".into()).await.unwrap();
            Instant::now()
        });
        let took = sent.elapsed();
        receiver.delete(&got.unwrap().pop().unwrap().receipt).await.unwrap();
        assert!(took < LONG / 2, "{took:?}");
    }
}

async fn a_long_poll_wakes_when_a_lease_or_a_delay_runs_out(backend: Backend) {
    let place = Place::new(backend, &Hands::real());
    // SQS counts whole seconds
    let short = Duration::from_millis(if backend == Backend::Aws { 1000 } else { 150 });
    let open = || place.open(Settings { visibility: short, ..settings("q") });
    let (queue, another, sender) = (open(), open(), open());
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let wait = async |queue: &Queue| {
        let got = queue.receive(1, LONG, &stop).await.unwrap().remove(0);
        (got.receive_count, begun.elapsed())
    };
    // both wait before there is anything: one sees the delay end, the other the lease of the first
    let (one, other, ()) = tokio::join!(wait(&queue), wait(&another), async {
        sender.send_delayed("m".into(), short).await.unwrap();
    });
    let (first, second) = if one.0 == 1 { (one, other) } else { (other, one) };
    assert_eq!((first.0, second.0), (1, 2));
    // the queue's clock counts whole milliseconds
    assert!(first.1 + 2 * MOMENT >= short && second.1 + 2 * MOMENT >= 2 * short, "{first:?} {second:?}");
    assert!(second.1 < LONG / 2, "{second:?}");
}

async fn a_long_poll_for_dead_letters_wakes_when_one_is_found(backend: Backend) {
    let place = Place::new(backend, &Hands::real());
    let queue = place.open(Settings { dead_letters: Some((1, "dead".into())), ..settings("q") });
    let (dead, stop) = (place.open(settings("dead")), CancellationToken::new());
    queue.send("m".into()).await.unwrap();
    let failed = take_one(&queue).await.unwrap();
    queue.give_back(&failed.receipt, Duration::ZERO).await.unwrap();
    let begun = Instant::now();
    let (letter, ()) = tokio::join!(dead.receive(1, LONG, &stop), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(take_one(&queue).await.is_none());
    });
    assert_eq!(letter.unwrap()[0].receive_count, 2);
    assert!(begun.elapsed() < LONG / 2);
}

async fn receivers_never_share_a_lease(backend: Backend) {
    const MESSAGES: usize = 400;
    let place = Place::new(backend, &Hands::real());
    let queues: Vec<Queue> = (0..4).map(|_| place.open(settings("q"))).collect();
    for n in 0..MESSAGES {
        queues[0].send(n.to_string()).await.unwrap();
    }
    let mut receivers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let queue = queues[n % queues.len()].clone();
        receivers.spawn(async move {
            let (mut got, stop) = (Vec::new(), CancellationToken::new());
            loop {
                let batch = queue.receive(1 + n % 3, NOW, &stop).await.unwrap();
                if batch.is_empty() {
                    return got;
                }
                for delivery in batch {
                    assert_eq!(delivery.receive_count, 1);
                    queue.delete(&delivery.receipt).await.unwrap();
                    got.push(delivery.body);
                }
            }
        });
    }
    let all: Vec<String> = receivers.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), MESSAGES);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), MESSAGES);
}

async fn a_receive_that_was_stopped_or_dropped_costs_no_receive(backend: Backend) {
    let place = Place::new(backend, &Hands::real());
    let (queue, other) = (place.open(settings("q")), place.open(settings("q")));
    for round in 0..200 {
        let stop = CancellationToken::new();
        // the message comes at the moment of the stop
        let sender = if round % 2 == 0 { &queue } else { &other };
        let (got, sent, ()) = tokio::join!(queue.receive(1, LONG, &stop), sender.send("m".into()), async {
            for _ in 0..round * 10 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        });
        sent.unwrap();
        let delivery = match got.unwrap().pop() {
            Some(delivery) => delivery,
            None => queue.receive(1, Duration::from_secs(1), &CancellationToken::new()).await.unwrap().remove(0),
        };
        assert_eq!(delivery.receive_count, 1);
        queue.delete(&delivery.receipt).await.unwrap();
    }
    let never = CancellationToken::new();
    let abandoned = tokio::time::timeout(Duration::from_millis(20), queue.receive(1, LONG, &never));
    assert!(abandoned.await.is_err());
    other.send("m".into()).await.unwrap();
    if backend == Backend::Aws {
        // the poll could not be called back: what it brings is given back at once
        let got = other.receive(1, LONG, &never).await.unwrap();
        return assert!(got[0].receive_count <= 2);
    }
    assert_eq!(take_one(&other).await.unwrap().receive_count, 1);
}
