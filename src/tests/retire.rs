//! A worker that is asked to end: it finishes first, loses nothing, and is never talked into ending by what is void.

use bellows::app::{Edges, Identity, Settings, run};
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::engine::{Engine, Labelled, Receiver};
use bellows::edge::host::{Clock, Ending, Entropy, Host};
use bellows::edge::queue::{self, Depth, Queue};
use bellows::edge::wire::Wire;
use bellows_core::answer::{Model, Prediction};
use bellows_core::control::{Claim, Control, Pause, TTL};
use bellows_core::key::{self, RequestId};
use bellows_core::message::{self, Epoch, Nonce, Notice, Parsed, Request, TerminateRequest, VERSION};
use bellows_core::pool::{AppTierId, InstanceId};
use bellows_core::time::Timestamp;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod alone;
mod endings;

const NONCE: Nonce = Nonce(Uuid::from_u128(7));

struct World {
    host: Host,
    requests: Queue,
    terminate: Queue,
    notices: Queue,
    input: Bucket,
    output: Bucket,
    engine: Receiver,
}

/// A worker of one slot at work, in virtual time.
fn world() -> World {
    world_over(Wire::default(), CancellationToken::new())
}

/// The same, with a way to its queue of work on which something can happen.
fn world_over(way: Wire, evicted: CancellationToken) -> World {
    let host = Host::new(Clock::virtual_from(Timestamp(1_000_000)), Entropy::seeded(1));
    let store = queue::memory::Store::new(host.clock.clone());
    let open = |name: &str| {
        let (visibility, retention) = (Duration::from_secs(30), Duration::from_hours(96));
        let settings = queue::Settings { name: name.into(), visibility, retention, dead_letters: None };
        store.queue(settings).unwrap()
    };
    let queue = |name: &str| Queue::Memory(open(name));
    let work = open("requests");
    let bucket = || Bucket::Memory(bucket::memory::Bucket::new(host.clock.clone()));
    let (handle, engine) = Engine::channel(1);
    let (requests, terminate, notices) = (Queue::Memory(work.clone()), queue("terminate"), queue("notices"));
    let (input, output) = (bucket(), bucket());
    let edges = Edges {
        requests: Queue::Memory(work.over(way)),
        dead: queue("dead"),
        responses: queue("responses"),
        terminate_requests: terminate.clone(),
        notices: notices.clone(),
        input: input.clone(),
        output: output.clone(),
        engine: handle,
        host: host.clone(),
    };
    host.spawn("worker", run(edges, Settings { evicted, ..settings() }));
    World { host, requests, terminate, notices, input, output, engine }
}

fn settings() -> Settings {
    Settings {
        identity: Identity { app_tier_id: AppTierId(4), instance_id: InstanceId("4-four".into()) },
        sessions: 1,
        model: Model { name: "colours".into(), sha256: String::new(), engine: String::new() },
        job_deadline: Duration::from_mins(2),
        pause: Duration::ZERO,
        visibility: Duration::from_secs(30),
        heartbeat: Duration::from_secs(10),
        request_ttl: Duration::from_hours(72),
        label_objects: false,
        report_every: Duration::from_secs(5),
        started: Instant::now(),
        evicted: CancellationToken::new(),
    }
}

impl World {
    /// Somebody leads in this epoch.
    async fn lead(&self, epoch: u64, pause: Option<Pause>) {
        let claim = Claim::new(None, "leader", TTL, Duration::ZERO, self.host.clock.now());
        let control = Control::parse(&claim.body()).unwrap();
        let control = Control { epoch: Epoch(epoch), pause, ..control };
        self.output.compare_and_swap(key::CONTROL, None, control.to_bytes().into()).await.unwrap();
    }

    async fn upload(&self, n: u128) {
        let id = RequestId(Uuid::from_u128(n));
        let key = key::input(id, "a.png");
        self.input.put(&key, Bytes::from_static(b"image")).await.unwrap();
        let (reply_to, submitted_at) = (String::new(), self.host.clock.now());
        let request = Request { v: VERSION, request_id: id, filename: "a.png".into(), key, reply_to, submitted_at };
        self.requests.send(message::encode(&request).unwrap()).await.unwrap();
    }

    async fn ask(&self, epoch: u64, life: Duration) {
        let expires_at = self.host.clock.now().plus(life);
        let request = TerminateRequest { v: VERSION, nonce: NONCE, epoch: Epoch(epoch), expires_at };
        self.terminate.send(message::encode(&request).unwrap()).await.unwrap();
    }

    /// The confirmations that were sent.
    async fn confirmed(&self) -> Vec<(Nonce, AppTierId)> {
        let (never, mut confirmed) = (CancellationToken::new(), Vec::new());
        loop {
            let received = self.notices.receive(10, Duration::ZERO, &never).await.unwrap();
            if received.is_empty() {
                return confirmed;
            }
            for delivery in received {
                if let Parsed::Ok(Notice::Confirm(confirm)) = message::parse::<Notice>(&delivery.body) {
                    confirmed.push((confirm.nonce, confirm.app_tier_id));
                }
                self.notices.delete(&delivery.receipt).await.unwrap();
            }
        }
    }

    /// Answers the next image after `took`.
    async fn classify(&mut self, took: Duration) {
        let work = self.engine.recv().await.unwrap();
        sleep(took).await;
        let predictions = vec![Prediction { index: 0, label: "red".into(), probability: 1.0 }];
        let labelled =
            Labelled { predictions, sha256: String::new(), decode_ms: 0.0, infer_ms: took.as_secs_f64() * 1e3 };
        work.reply.send(Ok(labelled)).unwrap();
    }

    async fn works_on(&mut self) {
        self.upload(9).await;
        self.classify(Duration::from_secs(1)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(self.requests.depth().await.unwrap().total(), 0);
        assert_eq!(self.confirmed().await, []);
    }
}

const LIFE: Duration = Duration::from_mins(4);

#[tokio::test(start_paused = true)]
async fn a_busy_worker_finishes_then_confirms_and_goes() {
    let mut world = world();
    world.lead(3, None).await;
    world.upload(1).await;
    sleep(Duration::from_secs(1)).await;
    world.ask(3, LIFE).await;
    sleep(Duration::from_secs(8)).await;
    // the request is in hand: no more work is taken, and it stays in hand beyond its first lease
    world.upload(2).await;
    world.classify(Duration::from_secs(70)).await;
    assert_eq!(world.terminate.depth().await.unwrap(), Depth { in_flight: 1, ..Depth::default() });
    assert_eq!(world.confirmed().await, []);
    assert_eq!(world.host.ended().await, Ending::Retired);
    assert_eq!(world.confirmed().await, [(NONCE, AppTierId(4))]);
    assert_eq!(world.terminate.depth().await.unwrap().total(), 0);
    assert_eq!(world.requests.depth().await.unwrap(), Depth { visible: 1, ..Depth::default() });
    assert!(world.output.get(&key::result(RequestId(Uuid::from_u128(1)))).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_goes_at_once() {
    let world = world();
    world.lead(3, None).await;
    world.ask(3, LIFE).await;
    let asked = Instant::now();
    assert_eq!(world.host.ended().await, Ending::Retired);
    assert!(asked.elapsed() < Duration::from_secs(7), "{:?}", asked.elapsed());
    assert_eq!(world.confirmed().await, [(NONCE, AppTierId(4))]);
}

#[tokio::test(start_paused = true)]
async fn void_requests_are_deleted_and_work_goes_on() {
    let mut world = world();
    world.lead(3, None).await;
    world.ask(2, LIFE).await;
    world.ask(3, Duration::ZERO).await;
    world.terminate.send("farewell".into()).await.unwrap();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.terminate.depth().await.unwrap().total(), 0);
    world.works_on().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_given_back_while_the_pool_is_paused_or_not_known() {
    for paused in [true, false] {
        let mut world = world();
        if paused {
            let pause = Pause { since: Timestamp(1), by: "a person".into() };
            world.lead(3, Some(pause)).await;
        }
        world.ask(3, LIFE).await;
        sleep(Duration::from_secs(30)).await;
        assert_eq!(world.terminate.depth().await.unwrap().total(), 1);
        world.works_on().await;
    }
}
