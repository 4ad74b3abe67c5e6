use super::*;
use crate::control::Idle;
use crate::pool::Live;
use crate::scale::{Counters, Hold, Observation, Policy, decide};
use std::time::Duration;

fn policy(rule: Rule) -> Policy {
    Policy {
        rule,
        min: 0,
        max: 20,
        hold: Hold::Fixed(Duration::ZERO),
        latency_target: Duration::from_secs(15),
        counter_lag: Duration::ZERO,
    }
}

fn seen(visible: u64, ready: u32) -> Observation {
    let mut live = Live::default();
    live.take(ready);
    (live.known, live.ready) = (true, ready);
    Observation {
        counters: Some((Counters { visible, ..Counters::default() }, Duration::ZERO)),
        list_age: Some(Duration::ZERO),
        slots: 1,
        service: Duration::from_millis(12),
        boot: Duration::from_secs(40),
        live,
        ..Observation::default()
    }
}

/// The words for a decision of which all was done.
fn words(observation: &Observation, policy: &Policy) -> String {
    let decision = decide(observation, policy);
    Ledger::new(1).decided(Timestamp(0), &decision, decision.act).words()
}

#[test]
fn a_change_is_one_line_that_names_demand_pool_rule_and_clamp() {
    let per_request = policy(Rule::PerRequest);
    assert_eq!(
        words(&seen(110, 0), &per_request),
        "110 requests wait or are worked on, 0 of 20 instances ready; per-request needs 110 (one for each request), \
         pool.max_instances allows 20: launched 20 instances"
    );
    assert_eq!(
        words(&Observation { outstanding: 5, ..seen(17, 15) }, &per_request),
        "17 requests wait or are worked on, 15 of 20 instances ready, 5 asked to retire; per-request needs 17 (one \
         for each request): took back 5 terminate requests, launched 2 instances"
    );
    assert_eq!(
        words(&seen(1, 2), &policy(Rule::Backlog)),
        "1 request waits or is worked on, 2 of 20 instances ready; backlog needs 1 (an image takes 12 ms, the target \
         is 15 s): asked 1 instance to retire"
    );
    assert_eq!(
        words(&seen(0, 0), &policy(Rule::Deadline)),
        "no request waits, 0 of 20 instances ready; deadline needs 0 (an image takes 12 ms, a boot 40 s): nothing to \
         do"
    );
}

#[test]
fn clamps_say_what_they_are() {
    let mut per_request = policy(Rule::PerRequest);
    let has = |observation: &Observation, policy: &Policy, part: &str| {
        let words = words(observation, policy);
        assert!(words.contains(part), "{words}");
    };
    has(
        &Observation { idle: Some(Idle::Paused), ..seen(2, 0) },
        &per_request,
        "but the pool is paused: would have launched 2",
    );
    has(&Observation { idle: Some(Idle::DryRun), ..seen(0, 3) }, &per_request, "dry run: would have asked 3 instances");
    has(&Observation { idle: Some(Idle::Lost), ..seen(0, 3) }, &per_request, "lease");
    has(&Observation { list_failed: true, ..seen(0, 3) }, &per_request, "cannot be read: nothing to do");
    has(&Observation { backoff: Duration::from_secs(1), ..seen(9, 3) }, &per_request, "the last one failed: nothing");
    let mut ending = seen(20, 0);
    ending.live.terminating = 12;
    ending.live.booting = 1;
    has(&ending, &per_request, "1 booting, 12 ending;");
    has(&ending, &per_request, "12 instances still ending count towards pool.max_instances 20: launched 7");
    let mut unlisted = seen(9, 0);
    unlisted.live.known = false;
    has(&unlisted, &per_request, "before the pool could be listed");
    let mut taken = seen(9, 0);
    taken.live.take(18);
    has(&taken, &per_request, "no more app-tier ids are free: launched 2");
    has(&Observation { slots: 4, ..seen(9, 0) }, &per_request, "needs 3 (one for 4 requests)");
    per_request.hold = Hold::Fixed(Duration::from_secs(150));
    has(&seen(2, 7), &per_request, "7 are kept until they were not needed for 2 min 30 s (pool.hold)");
    per_request.min = 2;
    has(&seen(0, 0), &per_request, "pool.min_instances keeps 2: launched 2 instances");
    let before = decide(&seen(1, 1), &policy(Rule::Backlog));
    let (now, quiet) = (Duration::from_secs(90), Some(Duration::from_secs(90)));
    let stuck = Observation { now, quiet, memory: before.memory, ..seen(1, 1) };
    has(&stuck, &policy(Rule::Backlog), "nobody receives what the queue counts as 1 request, 1 of 20");
}

#[test]
fn what_was_missed_is_said() {
    let decision = decide(&Observation { outstanding: 5, ..seen(17, 15) }, &policy(Rule::PerRequest));
    let mut ledger = Ledger::new(9);
    let done = Actions { cancel: 4, launch: 3, request: 0 };
    let words = ledger.decided(Timestamp(0), &decision, done).words();
    assert!(words.ends_with("launched 3 instances; 1 terminate request is held by workers already"), "{words}");
    let words = ledger.decided(Timestamp(0), &decision, Actions::default()).words();
    assert!(words.ends_with(": 5 terminate requests are held by workers already; 7 could not be launched"), "{words}");
    let decision = decide(&seen(0, 3), &policy(Rule::PerRequest));
    let words = ledger.decided(Timestamp(0), &decision, Actions { request: 1, ..Actions::default() }).words();
    assert!(words.ends_with(": asked 1 instance to retire; 2 could not be asked to retire"), "{words}");
}

#[test]
fn a_quiet_night_is_one_entry() {
    let mut ledger = Ledger::new(100);
    let policy = policy(Rule::PerRequest);
    let mut record = |at, observation: &Observation| {
        let decision = decide(observation, &policy);
        ledger.decided(Timestamp(at), &decision, decision.act);
    };
    record(1, &seen(3, 0));
    for at in 2..1000 {
        record(at, &seen(3, 3));
    }
    record(1000, &seen(2, 2));
    record(1001, &seen(5, 2));
    record(1002, &seen(5, 2));
    let all: Vec<(u64, u64, u64)> = ledger.entries().map(|e| (e.at.0, e.until.0, e.repeats)).collect();
    assert_eq!(all, [(1, 1, 0), (2, 999, 997), (1000, 1000, 0), (1001, 1001, 0), (1002, 1002, 0)]);
    assert_eq!(ledger.interesting().map(|e| e.seq).collect::<Vec<_>>(), [0, 3, 4], "what is done is never folded");
}

#[test]
fn a_night_of_pause_is_one_line() {
    let mut ledger = Ledger::new(100);
    let paused = Observation { idle: Some(Idle::Paused), ..seen(5, 2) };
    for at in 1..=1000 {
        let decision = decide(&paused, &policy(Rule::PerRequest));
        ledger.decided(Timestamp(at), &decision, decision.act);
    }
    let all: Vec<(u64, u64)> = ledger.interesting().map(|e| (e.until.0, e.repeats)).collect();
    assert_eq!(all, [(1000, 999)]);
}

#[test]
fn the_ledger_is_bounded_and_entries_are_numbered() {
    let mut ledger = Ledger::new(3);
    for epoch in 0..10 {
        ledger.happened(Timestamp(epoch), Happened::TookOver { epoch: Epoch(epoch) });
    }
    assert_eq!(ledger.entries().map(|e| e.seq).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(ledger.next(), 10);
    let mut none = Ledger::new(0);
    assert_eq!(none.happened(Timestamp(1), Happened::Resumed).seq, 0);
    assert_eq!(none.entries().count(), 1);
}

#[test]
fn events_have_words_and_entries_read_back() {
    let name = || InstanceId("i-7".into());
    let events = [
        (Happened::TookOver { epoch: Epoch(4) }, "this controller leads the pool now (epoch 4)"),
        (Happened::Paused { by: "kim".into() }, "the pool was paused by kim"),
        (Happened::Paused { by: String::new() }, "the pool was paused"),
        (Happened::Resumed, "the pool was resumed"),
        (Happened::Ended { instance_id: name(), cause: Cause::Hung }, "instance i-7 is ended: it stopped reporting"),
        (Happened::Ended { instance_id: name(), cause: Cause::Confirmed }, "instance i-7 is ended: it has retired"),
        (
            Happened::Ended { instance_id: name(), cause: Cause::NeverRegistered },
            "instance i-7 is ended: it never became ready",
        ),
        (Happened::Gone { instance_id: name() }, "instance i-7 is gone"),
        (Happened::LaunchFailed { detail: "no capacity".into() }, "a launch failed: no capacity"),
    ];
    let mut ledger = Ledger::new(99);
    for (event, words) in events {
        assert_eq!(ledger.happened(Timestamp(1), event).words(), words);
    }
    let decision = decide(&seen(9, 1), &policy(Rule::Backlog));
    ledger.decided(Timestamp(2), &decision, decision.act);
    for entry in ledger.entries() {
        let json = serde_json::to_string(entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), *entry, "{json}");
    }
}

#[test]
fn times_read_well() {
    let texts = [0, 999, 1_000, 250_000, 1_000_000, 2_340_000, 60_000_000, 61_999_999, 600_000_000].map(words::seconds);
    assert_eq!(texts, ["0 µs", "999 µs", "1 ms", "250 ms", "1 s", "2.3 s", "1 min", "1 min 1 s", "10 min"]);
}
