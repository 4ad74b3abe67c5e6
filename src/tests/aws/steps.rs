//! A process is killed at each step of a launch and of a termination: before the call happened, and after it did while
//! its answer was on the way.

use super::bridge::Bridge;
use super::end_to_end::{SETTINGS, accepted, block_on};
use super::proxy::{Proxy, Spring, Trap};
use super::stage::{Stage, Way};
use crate::support::client::{Client, sha256};
use crate::support::daemon::{Daemon, signal};
use crate::support::emulator::{self, Place};
use crate::support::{eventually, images};
use bellows::edge::bucket::{self, Bucket};
use bellows_core::control::Control;
use bellows_core::key;
use rustix::process::Signal;
use serde_json::json;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const IMAGES: u32 = 6;
const MAX: usize = 3;
const LONG: Duration = Duration::from_mins(6);
/// So many pools at a time.
const BESIDE: usize = 4;

/// Which process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The web tier's, and with it the controller.
    Controller,
    Worker,
}

/// A call at which it dies: the call's name, and what is in it.
type Step = (Victim, &'static str, &'static str);

const STEPS: [Step; 11] = [
    // the intent, before there is an instance
    (Victim::Controller, "PUT", r#""instance_type""#),
    (Victim::Controller, "RunInstances", ""),
    (Victim::Controller, "CreateTags", ""),
    (Victim::Controller, "SendMessageBatch", "-terminate_request"),
    (Victim::Controller, "ReceiveMessage", "-terminate_confirm"),
    (Victim::Controller, "DeleteMessageBatch", "-terminate_confirm"),
    (Victim::Controller, "TerminateInstances", ""),
    (Victim::Worker, "SendMessageBatch", "-response"),
    (Victim::Worker, "ReceiveMessage", "-terminate_request"),
    (Victim::Worker, "SendMessageBatch", r#"\"confirm\""#),
    (Victim::Worker, "DeleteMessageBatch", "-terminate_request"),
];

#[test]
fn end_to_end_killed_at_every_step_of_launch_and_termination() {
    if !emulator::is_here() {
        return;
    }
    let left = Mutex::new(STEPS.iter().flat_map(|step| [(*step, false), (*step, true)]).collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let Some((step, after)) = left.lock().unwrap().pop() else { return };
                    cycle(step, after);
                }
            });
        }
    });
}

/// A smaller and quicker pool, whose terminate requests live for half a minute.
fn settings() -> String {
    let changes = [
        ("max_instances = 10", "max_instances = 3"),
        ("hold = \"10s\"", "hold = \"2s\""),
        ("pause = \"3s\"", "pause = \"1s\"\njob_deadline = \"15s\""),
    ];
    changes.into_iter().fold(SETTINGS.to_owned(), |settings, (from, to)| settings.replace(from, to))
}

/// From zero to the maximum and back, with one death on the way.
fn cycle((victim, call, within): Step, after: bool) {
    let what = format!("{victim:?} killed {} {call} {within}", if after { "after" } else { "before" });
    let stage = block_on(Stage::new(Place::new(), &settings(), false));
    let [of_web, of_app] = [1, 2].map(|seed| Proxy::start(&stage.place.endpoint, seed));
    let way = |proxy: &Proxy| Way { endpoint: Some(proxy.endpoint.clone()), environment: Vec::new() };
    let bridge = stage.bridge(&way(&of_app));
    let web = Mutex::new(stage.web("i-0web", &way(&of_web)));
    let (proxy, spring): (&Proxy, Spring) = match victim {
        Victim::Controller => {
            let pid = web.lock().unwrap().child.id();
            (&of_web, Box::new(move |_| signal(pid, Signal::KILL)))
        }
        Victim::Worker => (&of_app, Box::new(bridge.killer())),
    };
    proxy.set(Trap { call, within, after, spring });
    let revive = || {
        let mut web = web.lock().unwrap();
        if web.child.try_wait().unwrap().is_some() {
            // the same instance, started again by its unit
            *web = stage.web("i-0web", &way(&of_web));
        }
    };
    let url = || {
        revive();
        web.lock().unwrap().url.clone()
    };
    let sent: Vec<(String, u32)> = (0..IMAGES).map(|n| (accepted(url, n), n)).collect();
    answered(&what, url, sent);
    eventually(&format!("{what}: zero, and it has happened"), LONG, || {
        revive();
        proxy.is_sprung() && bridge.seen().now == 0
    });
    at_rest(&what, &stage, &web.lock().unwrap(), &bridge);
}

/// Each image is answered, with its own answer.
fn answered(what: &str, url: impl Fn() -> String, mut left: Vec<(String, u32)>) {
    let client = Client::new();
    eventually(&format!("{what}: all are answered"), LONG, || {
        left.retain(|(id, n)| match client.get(&format!("{}/results/{id}", url())) {
            Ok(answer) if answer.status == 200 => {
                let ((bytes, label), told) = (images::numbered(*n), answer.json());
                assert_eq!(
                    (&told["sha256"], &told["label"]),
                    (&json!(sha256(&bytes)), &json!(label)),
                    "{what}: {told}"
                );
                false
            }
            _ => true,
        });
        left.is_empty()
    });
}

/// Never too many, no id twice, and the next launch has all ids to give.
fn at_rest(what: &str, stage: &Stage, web: &Daemon, bridge: &Bridge) {
    let seen = bridge.seen();
    assert!(seen.most <= MAX && seen.conflicts.is_empty(), "{what}: {seen:?}");
    let output = Bucket::Aws(bucket::aws::Bucket::open(&stage.place.clients, &stage.output, 1 << 24));
    let is_open = || {
        let control = block_on(output.get(key::CONTROL)).unwrap().unwrap();
        Control::parse(&control.bytes).unwrap().intents_unsettled().next().is_some()
    };
    eventually(&format!("{what}: no launch is open, no message left"), LONG, || !is_open() && web.is_drained());
    println!("{what}: at most {} instances, {} in all", seen.most, seen.instances.len());
}
