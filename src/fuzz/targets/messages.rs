//! Any text as a message of every kind, as the control object and as a stored answer: what reads is written and read
//! again, and then it reaches the code that acts on it.

#![no_main]

use bellows::controller::Retention;
use bellows::edge::bucket::Bucket;
use bellows::edge::queue::Queue;
use bellows::sim::{Kind, Settings, World};
use bellows_core::answer::Answer;
use bellows_core::control::Control;
use bellows_core::key;
use bellows_core::message::{Body, Notice, Parsed, Request, Response, TerminateRequest, TooLong, encode, parse};
use bellows_core::scale::{Hold, Policy, Rule};
use bellows_fuzz::service::{GOOD, SECOND, Service};
use bellows_fuzz::talk::{Listener, Manners, talk};
use bellows_fuzz::virtually;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Debug;
use std::time::Duration;

/// Instances of the pool in which messages are tried out.
const MOST: u32 = 3;

fuzz_target!(|bytes: &[u8]| {
    let body = String::from_utf8_lossy(bytes);
    let request = message::<Request>(&body, "v request_id filename key reply_to submitted_at");
    let response = message::<Response>(&body, "v request_id classifier_output answer store_ms");
    let terminate = message::<TerminateRequest>(&body, "v nonce epoch expires_at");
    let notice = message::<Notice>(&body, NOTICE);
    let control = control(bytes);
    if request.is_some() || terminate.is_some() || notice.is_some() || control.is_some() {
        virtually(pool(&body, control.is_some()));
    }
    let answer = response.map(|response| response.answer).or_else(|| stored(bytes));
    if let Some(answer) = answer {
        virtually(answered(answer));
    }
});

/// Fields of all kinds of notices.
const NOTICE: &str = "kind v nonce epoch app_tier_id instance_id state slots jobs busy_ms idle_ms boot_ms in_hand endings web_id \
                      accepted_total answered_total oldest_submitted_at";

/// A message, if it is one: written it reads the same, and fields that nobody knows change nothing.
fn message<T: Body + Serialize + PartialEq + Debug>(body: &str, fields: &str) -> Option<T> {
    let Parsed::Ok(message) = parse::<T>(body) else { return None };
    match encode(&message) {
        Ok(written) => {
            assert!(written.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{written}");
            let value: Value = serde_json::from_str(&written).expect("JSON");
            let known =
                value.as_object().is_some_and(|all| all.keys().all(|key| fields.split(' ').any(|field| field == key)));
            assert!(known, "more than it was made of: {written}");
            let strange = written.replacen('{', "{\"colour\":[{}],", 1);
            for again in [written, strange] {
                match parse::<T>(&again) {
                    Parsed::Ok(read) => assert_eq!(read, message, "{again}"),
                    // the field in front may be too much for it
                    other => assert!(again.len() > bellows_core::message::MAX_BYTES, "{other:?}: {again}"),
                }
            }
        }
        // escaped it is longer than it was
        Err(TooLong(length)) => assert!(length > bellows_core::message::MAX_BYTES),
    }
    Some(message)
}

/// A control object, if it is one: what it holds beyond our fields stays.
fn control(bytes: &[u8]) -> Option<Control> {
    let control = Control::parse(bytes).ok()?;
    let written = control.to_bytes();
    let read = Control::parse(&written).expect("what was written reads");
    assert_eq!(read, control);
    assert_eq!(read.to_bytes(), written, "the same contents, and other bytes");
    Some(control)
}

/// A result object, if it is one.
fn stored(bytes: &[u8]) -> Option<Answer> {
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&answer).expect("an answer is plain data");
    let read: Answer = serde_json::from_slice(&written).expect("what was written reads");
    assert_eq!(read, answer);
    Some(answer)
}

/// A client that gets such an answer.
async fn answered(answer: Answer) {
    // our own answers to images have these; what comes of others is a worker's doing and not a message's
    if !matches!(answer.status(), 200 | 410 | 415 | 422 | 500) {
        return;
    }
    let status = answer.status();
    let service = Service::answering(answer);
    let manners = Manners { piece: usize::MAX, half_close: true, listener: Listener::Public };
    for accept in ["application/json", "text/plain"] {
        let length = GOOD.len();
        let head =
            format!("PUT /classify/a HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\nContent-Length: {length}\r\n\r\n");
        let answers = talk(&service, &[head.as_bytes(), GOOD].concat(), manners).await;
        assert!(answers.len() == 1 && answers[0].status == status, "{status}: {answers:?}");
        service.assert_idle();
    }
}

/// A pool that finds this in every queue, and where its control object is.
async fn pool(body: &str, is_control: bool) {
    let kind = if body.len().is_multiple_of(2) { Kind::Processes } else { Kind::Machines };
    let world = World::new(settings(kind)).expect("a world in memory");
    if is_control {
        let (output, object) = (Bucket::Memory(world.output.clone()), Bytes::from(body.to_owned()));
        output.compare_and_swap(key::CONTROL, None, object).await.expect("nothing is there yet");
    } else {
        for queue in [&world.requests, &world.notices, &world.terminate_requests, &world.dead, &world.responses] {
            Queue::Memory(queue.clone()).send(body.to_owned()).await.expect("a queue in memory takes it");
        }
    }
    world.upload(1).await.expect("nothing fails here");
    let controller = world.start_controller("us", Vec::new());
    for second in 0..120 {
        tokio::time::sleep(SECOND).await;
        if let (5, Some(named)) = (second, world.live().first()) {
            // what it says of somebody who is not there may be said of somebody who is
            let notice = body.replace("1-x", &named.instance_id.0);
            Queue::Memory(world.notices.clone()).send(notice).await.expect("a queue in memory takes it");
        }
        assert!(is_control || world.live().len() <= MOST as usize, "{:?}", world.live());
    }
    // messages of others do not keep an image from its answer; a pool that stands still by its control object may
    assert!(
        is_control || world.is_answered(key::RequestId(uuid::Uuid::from_u128(1))).await.expect("nothing fails here")
    );
    controller.stop();
}

fn settings(kind: Kind) -> Settings {
    let policy = Policy {
        rule: Rule::PerRequest,
        min: 0,
        max: MOST,
        hold: Hold::Fixed(SECOND),
        latency_target: SECOND * 15,
        counter_lag: Duration::ZERO,
    };
    Settings {
        kind,
        policy,
        seed: 1,
        boot: SECOND * 3,
        ending: SECOND,
        lists_after: if kind == Kind::Machines { SECOND * 5 } else { Duration::ZERO },
        service: SECOND / 2,
        pause: SECOND,
        visibility: SECOND * 30,
        job_deadline: SECOND * 10,
        report_every: SECOND * 5,
        tick: SECOND,
        dry_run: false,
        retention: Retention { request_ttl: Duration::from_hours(72), objects: None },
    }
}
