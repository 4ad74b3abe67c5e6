//! The whole on AWS, emulated: the real daemons in both roles, and only the boot of instances stood in for.

use super::bridge::Bridge;
use super::proxy::Proxy;
use super::stage::{Stage, Way};
use super::terraform;
use crate::model::agreement::{Agreement, PHOTOGRAPHS};
use crate::support::client::{Answer, Client, sha256};
use crate::support::daemon::{Daemon, signal};
use crate::support::emulator::{self, Place};
use crate::support::python::venv;
use crate::support::raw::JSON;
use crate::support::{eventually, images, root};
use aws_sdk_ec2::types::Filter;
use bellows::edge::bucket::{self, Bucket};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u32 = 100;
const MAX: usize = 10;
/// So many instances at least answer somebody.
const ANSWERED: usize = 8;
const LONG: Duration = Duration::from_mins(5);

/// A pool of ten that takes three seconds an image and shrinks soon: what the emulator counts is exact.
pub const SETTINGS: &str = r#"
[pool]
max_instances = 10
policy = "per-request"
tick = "1s"
hold = "10s"
boot_prior = "5s"
counter_lag = "5s"
[app]
pause = "3s"
report_every = "5s"
[web]
allow_anonymous = true
[log]
level = "info,bellows=debug"
"#;

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// What one client sends, and how its answer is judged.
struct Image {
    file: String,
    bytes: Vec<u8>,
    label: Option<&'static str>,
}

/// The shared photographs where they are, else images of the fixture model.
fn images() -> Vec<Image> {
    match &*PHOTOGRAPHS {
        Some(photographs) => {
            photographs.iter().map(|p| Image { file: p.file.clone(), bytes: p.bytes.clone(), label: None }).collect()
        }
        None => (0..CLIENTS)
            .map(|n| {
                let (bytes, label) = images::numbered(n);
                Image { file: format!("{n}.png"), bytes, label: Some(label) }
            })
            .collect(),
    }
}

/// One upload, waited for as long as it takes.
fn send(url: &str, image: &Image, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
    Client::new().post(&format!("{url}/"), &[("myfile", &image.file, &image.bytes)], headers)
}

/// All of them at once, each on a connection of its own.
fn send_all(url: &str, images: &[Image]) -> Vec<Answer> {
    thread::scope(|scope| {
        let clients: Vec<_> =
            images.iter().map(|image| scope.spawn(move || send(url, image, &[JSON]).unwrap())).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Each got its own answer, and it is right; which instances gave them.
fn judge(images: &[Image], answers: &[Answer]) -> BTreeSet<String> {
    let (mut agreement, mut instances) = (Agreement::default(), BTreeSet::new());
    for (n, (image, answer)) in images.iter().zip(answers).enumerate() {
        assert_eq!(answer.status, 200, "{}: {answer:?}", image.file);
        let told = answer.json();
        assert_eq!(
            (&told["file"], &told["sha256"]),
            (&image.file.clone().into(), &sha256(&image.bytes).into()),
            "{told}"
        );
        match (&*PHOTOGRAPHS, image.label) {
            (_, Some(label)) => assert_eq!(told["label"], label, "{told}"),
            (Some(photographs), None) => {
                let best = told["predictions"][0]["index"].as_u64().unwrap() as u32;
                agreement.saw(&photographs[n], told["sha256"].as_str().unwrap(), best);
            }
            (None, None) => unreachable!("such images have a label"),
        }
        instances.insert(told["worker"]["instance_id"].as_str().unwrap().to_owned());
    }
    if PHOTOGRAPHS.is_some() {
        agreement.check();
    }
    instances
}

/// A hundred clients on an empty pool: it grows to its bound, answers them, and is empty again.
pub fn grows_answers_and_is_empty_again(web: &Daemon, bridge: &Bridge) {
    let images = images();
    assert_eq!((images.len(), bridge.seen().now), (CLIENTS as usize, 0));
    let answers = send_all(&web.url, &images);
    let instances = judge(&images, &answers);
    let seen = bridge.seen();
    println!("{} instances answered, at most {} lived at once", instances.len(), seen.most);
    assert!(instances.len() >= ANSWERED, "{instances:?}");
    assert!(instances.is_subset(&seen.instances));
    eventually("the pool is at zero", LONG, || bridge.seen().now == 0);
    eventually("all is taken out of the queues", LONG, || web.is_drained());
    let seen = bridge.seen();
    assert_eq!((seen.most, seen.conflicts), (MAX, Vec::<String>::new()));
    // whose confirmation is heard first is ended before it has powered itself off
    let ended: u32 = seen.ends.values().sum();
    assert!(seen.ends.keys().all(|code| matches!(code, None | Some(80))) && ended as usize == MAX, "{:?}", seen.ends);
    let printed = web.printed();
    assert!(
        !printed.contains("it stopped reporting") && !printed.contains("it never became ready"),
        "nobody was given up"
    );
}

#[test]
fn end_to_end_a_hundred_clients_and_an_empty_pool() {
    if !emulator::is_here() {
        return;
    }
    let stage = block_on(Stage::new(Place::new(), SETTINGS, PHOTOGRAPHS.is_some()));
    let way = Way::default();
    let bridge = stage.bridge(&way);
    let web = stage.web("i-0web", &way);
    grows_answers_and_is_empty_again(&web, &bridge);
}

/// A step of src/tests/aws/step.py: what it prints.
fn step(place: &Place, folder: &Path, arguments: &[&str]) -> Value {
    let python = venv("moto", "src/tests/aws/requirements.txt").unwrap();
    let mut command = Command::new(python);
    command.arg(root().join("src/tests/aws/step.py")).arg(place.account()).arg(folder).args(arguments);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// The sections of [`SETTINGS`] as Terraform's variable has them; the pool's size is a variable of its own.
fn settings() -> Value {
    let mut settings = serde_json::to_value(SETTINGS.parse::<toml::Table>().unwrap()).unwrap();
    settings["pool"].as_object_mut().unwrap().remove("max_instances");
    settings["web"].as_object_mut().unwrap().remove("allow_anonymous");
    settings
}

/// The web tier's instance of the account, while it lives.
fn web_instance(place: &Place) -> Option<String> {
    let role = Filter::builder().name("tag:bellows:role").values("web").build();
    let state = Filter::builder().name("instance-state-name").values("running").build();
    let found = block_on(place.clients.ec2.describe_instances().filters(role).filters(state).send()).unwrap();
    found
        .reservations()
        .iter()
        .flat_map(aws_sdk_ec2::types::Reservation::instances)
        .find_map(|instance| instance.instance_id.clone())
}

#[test]
fn end_to_end_from_terraform_apply_to_destroy_under_load() {
    if !emulator::is_here() || !terraform::is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = Place::alone();
    let variables = json!({
        "max_instances": MAX, "allow_anonymous": true, "tokens": [], "client_cidrs": ["10.0.0.0/8"],
        "settings": settings()
    });
    let outputs = step(&place, folder.path(), &["apply", &variables.to_string()]);
    let output = |name: &str| outputs[name].as_str().unwrap().to_owned();
    let buckets = (output("input_bucket_name"), output("output_bucket_name"));
    let stage = Stage::of(place.clone(), "bellows".into(), buckets, output("web_config"), PHOTOGRAPHS.is_some());
    let way = Way::default();
    let bridge = stage.bridge(&way);
    let mut web = stage.web(&web_instance(&place).unwrap(), &way);
    grows_answers_and_is_empty_again(&web, &bridge);
    step(&place, folder.path(), &["plan"]);

    // destroy while everybody is at work
    let images = images();
    let left = thread::scope(|scope| {
        for image in &images[..50] {
            // most break off when the web tier goes
            scope.spawn(|| drop(send(&web.url, image, &[JSON])));
        }
        eventually("the pool is at work", LONG, || bridge.seen().now >= 3);
        let destroyed = scope.spawn(|| step(&place, folder.path(), &["destroy"]));
        eventually("the web tier's instance is ended", LONG, || web_instance(&place).is_none());
        signal(web.child.id(), Signal::KILL);
        destroyed.join().unwrap()
    });
    web.kill();
    assert_eq!(left, json!([]), "nothing is left in the account");
    eventually("every app process is gone with its instance", LONG, || bridge.seen().now == 0);
}

/// Images of each of the two web tiers, and how many clients send them.
const A_TIER: u32 = 60;
const AT_ONCE: u32 = 15;
/// Instances that there is room for in the first zone.
const ROOM: usize = 3;
/// Calls of a thousand that meet a fault.
const FAULTY: u32 = 50;

/// An upload that does not wait: the id that it was accepted under. What is not accepted is sent again, to whichever web
/// tier is there then.
pub fn accepted(url: impl Fn() -> String, n: u32) -> String {
    let (bytes, _) = images::numbered(n);
    let image = Image { file: format!("{n}.png"), bytes, label: None };
    let until = Instant::now() + LONG;
    loop {
        let answer = send(&url(), &image, &[("Prefer", "respond-async"), JSON]);
        if let Ok(answer) = &answer
            && answer.status == 202
        {
            return answer.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
        }
        assert!(Instant::now() < until, "never accepted: {answer:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// All keys of a bucket that begin so.
fn keys(stage: &Stage, bucket: &str, prefix: &str) -> Vec<String> {
    let bucket = Bucket::Aws(bucket::aws::Bucket::open(&stage.place.clients, bucket, 1 << 24));
    block_on(bucket.list(prefix, None, 10_000)).unwrap().into_iter().map(|meta| meta.key).collect()
}

/// So many clients send images `from..from + A_TIER`: the number of each under the id that it was accepted under.
fn send_many(url: impl Fn() -> String + Sync, from: u32) -> BTreeMap<String, u32> {
    let url = &url;
    thread::scope(|scope| {
        let client = |client: u32| (from + client..from + A_TIER).step_by(AT_ONCE as usize);
        let clients: Vec<_> = (0..AT_ONCE)
            .map(|n| scope.spawn(move || client(n).map(|n| (accepted(url, n), n)).collect::<Vec<_>>()))
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn end_to_end_through_faults_with_the_web_tier_replaced_and_woken_again() {
    if !emulator::is_here() {
        return;
    }
    let seed = std::env::var("BELLOWS_DEBUG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u128() as u64);
    println!("BELLOWS_DEBUG_SEED={seed}");
    let settings = SETTINGS.replace("report_every = \"5s\"", "report_every = \"10s\"\njob_deadline = \"30s\"");
    let stage = block_on(Stage::new(Place::new(), &settings, false));
    let proxy = Proxy::start(&stage.place.endpoint, seed);
    // the best zone has no more than that
    let full = format!("c6i.large/{}/on-demand", stage.subnets[0]);
    stage.place.instruct(&json!({ "room": { full: ROOM } }));
    let way = |ahead: &[(&str, &str)]| Way {
        endpoint: Some(proxy.endpoint.clone()),
        environment: ahead.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    // the app tier's clocks are five minutes ahead of the web tier's
    let bridge = stage.bridge(&way(&[("BELLOWS_DEBUG_CLOCK_AHEAD", "300")]));
    let mut first = stage.web("i-0first", &way(&[]));
    proxy.fail(FAULTY);
    let mut all = send_many(|| first.url.clone(), 0);
    eventually("the pool is at work", LONG, || bridge.seen().now > 3);
    // it hangs, and another instance waits until its lease runs out; then it wakes and believes that it leads
    signal(first.child.id(), Signal::STOP);
    let second = stage.web("i-0second", &way(&[]));
    all.extend(send_many(|| second.url.clone(), A_TIER));
    eventually("the second leads", LONG, || second.printed().contains("this process leads the pool"));
    signal(first.child.id(), Signal::CONT);
    eventually("the first knows that it leads no more", LONG, || first.printed().contains("the lease is lost"));
    first.kill();
    assert_eq!(all.len() as u32, 2 * A_TIER, "an id for each");
    let mut left = all.clone();
    let client = Client::new();
    eventually("all are answered, each with its own", LONG * 2, || {
        left.retain(|id, n| match client.get(&format!("{}/results/{id}", second.url)) {
            Ok(answer) if answer.status == 200 => {
                let ((bytes, label), told) = (images::numbered(*n), answer.json());
                assert_eq!((&told["request_id"], &told["sha256"]), (&json!(id), &json!(sha256(&bytes))), "{told}");
                assert_eq!(told["label"], label, "{told}");
                false
            }
            _ => true,
        });
        thread::sleep(Duration::from_millis(500));
        left.is_empty()
    });
    let results = keys(&stage, &stage.output, "results/");
    let inputs = keys(&stage, &stage.input, "");
    let of_input = |result: &String| inputs.iter().any(|key| key.starts_with(result.trim_end_matches(".json")));
    let ids: Vec<String> = results.iter().map(|key| key.trim_start_matches("results/").to_owned()).collect();
    assert!(ids.iter().all(of_input), "a result of what nobody sent: {ids:?}");
    assert!(all.keys().all(|id| ids.iter().filter(|key| key.starts_with(id.as_str())).count() == 1), "one result each");
    eventually("the pool is at zero", LONG * 2, || bridge.seen().now == 0);
    let (watched, faults) = (bridge.seen(), proxy.faults());
    println!(
        "at most {} instances, {} in all, ends {:?}; faults {faults:?}",
        watched.most,
        watched.instances.len(),
        watched.ends
    );
    assert!((ROOM + 1..=MAX).contains(&watched.most) && watched.conflicts.is_empty(), "{watched:?}");
    assert_eq!(faults.len(), 7, "each was met: {faults:?}");
    eventually("no message is left", LONG, || second.is_drained());
    assert_eq!(second.metric("bellows_dead_letters_total"), Some(0.0));
}
