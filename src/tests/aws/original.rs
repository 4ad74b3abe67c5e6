//! Where the original failed, on SQS and EC2. The rest of it is in the other
//! tests of this folder: a crash between confirmation and deletion and a restart with instances (`steps`), answers of
//! the wrong client (`end_to_end`).

use super::end_to_end::{SETTINGS, accepted};
use super::stage::{Stage, Way};
use crate::support::client::Answer as Http;
use crate::support::emulator::{self, Place};
use crate::support::raw::{JSON, post};
use crate::support::{eventually, images};
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Host;
use bellows::edge::queue::{self, Queue};
use bellows_core::answer::{Answer, Reason};
use bellows_core::key;
use bellows_core::message::{self, Confirm, Epoch, Nonce, Notice, Parsed, Request, Response, VERSION};
use bellows_core::pool::{AppTierId, InstanceId, tag};
use serde_json::json;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(6);

/// Queues batch their calls in tasks of their own, which live between the test's calls.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

fn queue(stage: &Stage, name: &str) -> Queue {
    let url = stage.place.queue(name);
    Queue::Aws(queue::aws::Queue::open(&stage.place.clients, &url, Duration::from_secs(30), &Host::system()))
}

/// Instances of the pool that somebody pays for.
async fn living(stage: &Stage) -> usize {
    let pool = Filter::builder().name(format!("tag:{}", tag::POOL)).values(&stage.pool).build();
    let paid = Filter::builder().name("instance-state-name").values("pending").values("running").build();
    let found = stage.place.clients.ec2.describe_instances().filters(pool).filters(paid).send().await.unwrap();
    found.reservations().iter().map(|reservation| reservation.instances().len()).sum()
}

/// An instance of the same account that is not the pool's.
async fn stranger(stage: &Stage) -> String {
    let ec2 = &stage.place.clients.ec2;
    let image = ec2.register_image().name(stage.place.named("other")).root_device_name("/dev/xvda").send();
    let image = image.await.unwrap().image_id.unwrap();
    let launched = ec2.run_instances().image_id(image).min_count(1).max_count(1).send().await.unwrap();
    launched.instances()[0].instance_id().unwrap().to_owned()
}

async fn lives(stage: &Stage, id: &str) -> bool {
    let found = stage.place.clients.ec2.describe_instances().instance_ids(id).send().await.unwrap();
    let now = found.reservations()[0].instances()[0].state().and_then(|state| state.name());
    matches!(now, Some(InstanceStateName::Pending | InstanceStateName::Running))
}

/// Takes `count` requests and answers them as a worker does.
async fn work(stage: &Stage, count: usize) {
    let (requests, responses) = (queue(stage, "request"), queue(stage, "response"));
    let output = Bucket::Aws(bucket::aws::Bucket::open(&stage.place.clients, &stage.output, 1 << 24));
    let (never, mut done) = (CancellationToken::new(), 0);
    while done < count {
        for delivery in requests.receive((count - done).min(10), Duration::from_secs(1), &never).await.unwrap() {
            let Parsed::Ok(request) = message::parse::<Request>(&delivery.body) else { panic!("{}", delivery.body) };
            let answer = Answer::failed(Reason::Undecodable, "as told", request.request_id, request.filename.as_str());
            let object = serde_json::to_vec(&answer).unwrap();
            output.put_if_absent(&key::result(request.request_id), object.into()).await.unwrap();
            responses.send(message::encode(&Response::new(answer, 0.0)).unwrap()).await.unwrap();
            requests.delete(&delivery.receipt).await.unwrap();
            done += 1;
        }
    }
}

/// It deleted whole batches and believed the last one's size: asked for 3 it took back 10, asked for 10 it counted 0.
#[test]
fn terminate_requests_are_taken_back_one_by_one_and_instances_launched_for_the_rest() {
    if !emulator::is_here() {
        return;
    }
    let settings =
        SETTINGS.replace("max_instances = 10", "max_instances = 20").replace("hold = \"10s\"", "hold = \"0s\"");
    let stage = block_on(Stage::new(Place::new(), &settings, false));
    // nobody boots: the test is all there is of the app tier
    let web = stage.web("i-0web", &Way::default());
    let requests = block_on(async { queue(&stage, "terminate_request") });
    let out = || block_on(requests.depth()).unwrap().total();
    let launched = || block_on(living(&stage));
    let upload = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            accepted(|| web.url.clone(), n);
        }
    };
    upload(0..15);
    eventually("an instance for each", LONG, || launched() == 15);
    block_on(work(&stage, 5));
    eventually("five are to go", LONG, || out() == 5);
    upload(15..18);
    eventually("three stay", LONG, || out() == 2);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((out(), launched()), (2, 15), "two are to go all the same, and none is launched");
    upload(18..22);
    eventually("all stay, and two more come", LONG, || (out(), launched()) == (0, 17));
}

/// It lost the id of each launch that failed, and a confirmation that it did not know killed it.
#[test]
fn a_launch_that_was_refused_costs_no_id_and_a_forged_confirmation_ends_nobody() {
    if !emulator::is_here() {
        return;
    }
    let stage = block_on(Stage::new(Place::new(), SETTINGS, false));
    let room = |left: usize| {
        let zones = stage.subnets.iter().map(|subnet| (format!("c6i.large/{subnet}/on-demand"), json!(left)));
        stage.place.instruct(&json!({ "room": zones.collect::<serde_json::Map<_, _>>() }));
    };
    room(0);
    let bridge = stage.bridge(&Way::default());
    let web = stage.web("i-0web", &Way::default());
    let sent: Vec<String> = (0..20).map(|n| accepted(|| web.url.clone(), n)).collect();
    eventually("each zone has refused", LONG, || stage.place.calls("RunInstances") >= 2);
    assert_eq!(bridge.seen().instances.len(), 0);
    room(1000);
    // a zone without capacity is left alone for three minutes
    eventually("all ids are used", LONG, || bridge.seen().now == 10);
    let stranger = block_on(stranger(&stage));
    for (n, instance) in [stranger.as_str(), "i-0nobody", ""].into_iter().enumerate() {
        forge(&stage, n as u32 + 1, instance);
    }
    for image in ["x;touch PWNED;.JPEG", "../trav.JPEG"] {
        assert_eq!(labelled(&web.url, image).json()["label"], images::numbered(3).1, "{image}");
    }
    let broken = &images::numbered(3).0[..100];
    assert_eq!(post(&web.url, "/", &[("myfile", "a.png", broken)], &[JSON]).status, 422);
    eventually("the pool is at zero, and the forged ones are read", LONG, || {
        bridge.seen().now == 0 && web.is_drained()
    });
    for id in sent {
        assert_eq!(crate::support::raw::get(&web.url, &format!("/results/{id}")).status, 200);
    }
    assert!(!std::path::Path::new("PWNED").exists());
    assert!(block_on(lives(&stage, &stranger)), "nobody else's instance was ended");
    // what was heard already, twice
    let known = bridge.seen().instances.into_iter().next().unwrap();
    forge(&stage, 1, &known);
    forge(&stage, 1, &known);
    assert_eq!(labelled(&web.url, "a.png").json()["label"], images::numbered(3).1);
    eventually("the pool is at zero again", LONG, || bridge.seen().now == 0 && web.is_drained());
    assert!(bridge.seen().conflicts.is_empty() && bridge.seen().most == 10, "{:?}", bridge.seen());
    assert!(block_on(lives(&stage, &stranger)));
}

fn labelled(url: &str, name: &str) -> Http {
    let answer = post(url, "/", &[("myfile", name, &images::numbered(3).0)], &[JSON]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// A confirmation that no worker sent.
fn forge(stage: &Stage, id: u32, instance: &str) {
    let confirm = Confirm {
        v: VERSION,
        nonce: Nonce(Uuid::new_v4()),
        epoch: Epoch(1),
        app_tier_id: AppTierId(id),
        instance_id: InstanceId(instance.into()),
    };
    let body = message::encode(&Notice::Confirm(confirm)).unwrap();
    block_on(async { queue(stage, "terminate_confirm").send(body).await }).unwrap();
}
