//! What the metrics listener and the log show.

use crate::support::client::Client;
use crate::support::daemon::Options;
use crate::support::raw::{JSON, get, post};
use crate::support::shared::PLAIN;
use crate::support::{eventually, images};
use serde_json::Value;
use std::time::Duration;

/// The names that dashboards and alarms rely on, each with its labels.
const NAMES: [&str; 26] = [
    "bellows_queue_messages{queue=\"request_queue\",state=\"visible\"}",
    "bellows_queue_oldest_age_seconds",
    "bellows_pool_instances{state=\"retiring\"}",
    "bellows_pool_instances_max",
    "bellows_pool_instances_wanted",
    "bellows_scale_actions_total{action=\"launch\"}",
    "bellows_observation_age_seconds",
    "bellows_http_requests_total{route=\"POST /\",status=\"200\"}",
    "bellows_http_request_duration_seconds_bucket{route=\"POST /\",le=\"300\"}",
    "bellows_waiters",
    "bellows_requests_submitted_total",
    "bellows_responses_received_total{matched=\"true\"}",
    "bellows_dead_letters_total",
    "bellows_launch_failures_total{code=\"spawn\"}",
    "bellows_leader",
    "bellows_local_free_bytes",
    "bellows_pool_usd_per_hour",
    "bellows_queue_sent_total{queue=\"request_queue\"}",
    "bellows_queue_deleted_total{queue=\"response_queue\"}",
    "bellows_classify_duration_seconds_bucket{stage=\"infer\",le=\"10\"}",
    "bellows_jobs_total{outcome=\"classified\"}",
    "bellows_labels_total{label=\"other\"}",
    "bellows_local_min_free_bytes",
    "bellows_queue_wait_seconds_count",
    "bellows_build_info{",
    "process_start_time_seconds",
];

#[test]
fn every_name_is_there_from_the_start_and_only_there() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::new(dir.path()).set("pool.max_instances=1").start();
    let answer = Client::new().get(&daemon.metrics).unwrap();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for name in NAMES {
        assert!(answer.body.lines().any(|line| line.starts_with(name)), "{name} is not in {}", answer.body);
    }
    assert_eq!(get(&daemon.url, "/metrics").status, 404);
    assert_eq!(get(&daemon.metrics, "/nothing").status, 404);
    let contents = get(&daemon.metrics, "/");
    assert!(contents.status == 200 && contents.body.contains("/decisions"), "{contents:?}");
    eventually("the pool was looked at", Duration::from_secs(10), || {
        get(&daemon.metrics, "/pool").json()["max_instances"] == 1
    });
}

#[test]
fn a_known_sequence_is_counted_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path()).set("pool.max_instances=1").set("log.format=json").set("log.level=debug");
    let daemon = options.start_warm(1);
    let (image, label) = images::numbered(40);
    let cut = &image[..image.len() / 2];
    let id = post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[JSON, ("X-Request-Id", "my id")]).json();
    assert_eq!(id["label"], label);
    post(&daemon.url, "/classify", &[("a", "a", &image), ("b", "b", b"no image, no image"), ("c", "c", cut)], &[]);
    post(&daemon.url, "/", &[("myfile", "a.png", b"no image, no image")], &[]);
    post(&daemon.url, "/", &[], &[]);
    get(&daemon.url, "/nothing");
    get(&daemon.url, &format!("/results/{}", id["request_id"].as_str().unwrap()));
    let expected = [
        ("bellows_http_requests_total{route=\"POST /\",status=\"200\"}", 1),
        ("bellows_http_requests_total{route=\"POST /\",status=\"415\"}", 1),
        ("bellows_http_requests_total{route=\"POST /\",status=\"400\"}", 1),
        ("bellows_http_requests_total{route=\"/classify\",status=\"200\"}", 1),
        ("bellows_http_requests_total{route=\"other\",status=\"404\"}", 1),
        ("bellows_http_requests_total{route=\"/results/{id}\",status=\"200\"}", 1),
        ("bellows_http_request_duration_seconds_count{route=\"POST /\"}", 3),
        ("bellows_requests_submitted_total", 3),
        ("bellows_queue_sent_total{queue=\"request_queue\"}", 3),
        ("bellows_queue_deleted_total{queue=\"response_queue\"}", 3),
        ("bellows_responses_received_total{matched=\"true\"}", 3),
        ("bellows_responses_received_total{matched=\"false\"}", 0),
        ("bellows_jobs_total{outcome=\"classified\"}", 2),
        ("bellows_jobs_total{outcome=\"refused\"}", 1),
        ("bellows_classify_duration_seconds_count{stage=\"infer\"}", 2),
        (&format!("bellows_labels_total{{label=\"{label}\"}}"), 2),
        ("bellows_queue_wait_seconds_count", 2),
        ("bellows_dead_letters_total", 0),
        ("bellows_waiters", 0),
    ];
    for (series, n) in expected {
        eventually(&format!("{series} is {n}"), Duration::from_secs(5), || daemon.metric(series) == Some(f64::from(n)));
    }
    check_log(&daemon.printed(), id["request_id"].as_str().unwrap());
}

/// One id from upload to answer, and the client's own beside it.
fn check_log(printed: &str, id: &str) {
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_image: Vec<&Value> = lines.iter().filter(|line| line["request_id"] == id).collect();
    let said = |words: &str| of_image.iter().find(|line| line["message"] == words);
    let accepted = said("accepted").unwrap_or_else(|| panic!("{of_image:?}"));
    assert_eq!((&accepted["client.request_id"], &accepted["file.name"]), (&"my id".into(), &"a.png".into()));
    let classified = said("classified").unwrap_or_else(|| panic!("{of_image:?}"));
    assert!(classified["infer.duration_ms"].is_number(), "{classified}");
    assert!(said("answered").is_some(), "{of_image:?}");
    let answered = lines.iter().find(|line| line["message"] == "answered" && line["http.route"] == "POST /").unwrap();
    assert_eq!((&answered["client.request_id"], &answered["http.status"]), (&"my id".into(), &200.into()));
}

/// A system that nobody uses uses next to nothing.
#[test]
fn idle_is_idle() {
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", PLAIN.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let spent = || {
        let before = ticks();
        std::thread::sleep(Duration::from_secs(1));
        ticks() - before
    };
    // other tests use the same daemon: the quietest second counts
    let mut least = u64::MAX;
    eventually("there is an idle second of at most 50 ms of CPU", Duration::from_secs(40), || {
        least = least.min(spent());
        least <= 5
    });
}
