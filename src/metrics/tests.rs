use super::*;

fn metrics() -> Metrics {
    Metrics::new(Timestamp(1_700_000_000_500))
}

/// The value of a series, by its whole text.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The names of reference/http.md: dashboards and alarms rely on them.
const NAMES: [&str; 26] = [
    "bellows_queue_messages",
    "bellows_queue_oldest_age_seconds",
    "bellows_queue_sent_total",
    "bellows_queue_deleted_total",
    "bellows_queue_wait_seconds",
    "bellows_pool_instances",
    "bellows_pool_instances_max",
    "bellows_pool_instances_wanted",
    "bellows_pool_usd_per_hour",
    "bellows_scale_actions_total",
    "bellows_observation_age_seconds",
    "bellows_http_requests_total",
    "bellows_http_request_duration_seconds",
    "bellows_waiters",
    "bellows_requests_submitted_total",
    "bellows_responses_received_total",
    "bellows_dead_letters_total",
    "bellows_launch_failures_total",
    "bellows_leader",
    "bellows_local_free_bytes",
    "bellows_classify_duration_seconds",
    "bellows_jobs_total",
    "bellows_labels_total",
    "bellows_local_min_free_bytes",
    "bellows_build_info",
    "process_start_time_seconds",
];

#[test]
fn every_name_is_there_from_the_start() {
    let text = metrics().render();
    for name in NAMES {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
    }
    assert_eq!(value(&text, "process_start_time_seconds"), Some(1_700_000_000.5));
}

/// layout.md's habits: prefix, `_total` on counters and nowhere else, no label that holds an id.
#[test]
fn names_follow_the_rules() {
    let text = metrics().render();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let mut words = line.split(' ').skip(2);
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        assert!(name.starts_with("bellows_") || name == "process_start_time_seconds", "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
    }
    assert!(!text.contains("_id="), "no ids in labels");
}

#[test]
fn every_series_is_there_from_the_start_with_0() {
    let text = metrics().render();
    for series in [
        "bellows_queue_messages{queue=\"request_queue\",state=\"in_flight\"}",
        "bellows_queue_messages{queue=\"dead_letter_queue\",state=\"delayed\"}",
        "bellows_queue_sent_total{queue=\"terminate_confirm_queue\"}",
        "bellows_pool_instances{state=\"terminating\"}",
        "bellows_scale_actions_total{action=\"cancel\"}",
        "bellows_launch_failures_total{code=\"InsufficientInstanceCapacity\"}",
        "bellows_http_requests_total{route=\"POST /\",status=\"507\"}",
        "bellows_http_requests_total{route=\"/readyz\",status=\"503\"}",
        "bellows_http_request_duration_seconds_bucket{route=\"/classify\",le=\"300\"}",
        "bellows_responses_received_total{matched=\"false\"}",
        "bellows_classify_duration_seconds_count{stage=\"store\"}",
        "bellows_jobs_total{outcome=\"dead_lettered\"}",
        "bellows_loop_runs_total{loop=\"app_intake\"}",
        "bellows_leader",
    ] {
        assert_eq!(value(&text, series), Some(0.0), "{series}");
    }
    let used = |line: &&str| !line.starts_with('#') && !line.ends_with(" 0");
    let used: Vec<&str> = text.lines().filter(used).collect();
    assert_eq!(used.len(), 2, "only build info and start time are not 0: {used:?}");
}

#[test]
fn labels_beyond_the_most_count_together() {
    let metrics = metrics();
    for n in 0..MOST_LABELS + 7 {
        metrics.labelled(&format!("class {n}"));
    }
    metrics.labelled("class 0");
    let text = metrics.render();
    let of = |label: &str| value(&text, &format!("bellows_labels_total{{label=\"{label}\"}}"));
    assert_eq!(
        (of("class 0"), of("class 999"), of("class 1000"), of("other")),
        (Some(2.0), Some(1.0), None, Some(7.0))
    );
}

#[test]
fn a_drained_state_reports_0() {
    let metrics = metrics();
    metrics.set_queue_depth(Queue::Request, Depth { visible: 3, in_flight: 2, delayed: 1 });
    metrics.set_pool(Instances { running: 4, ..Instances::default() });
    let text = metrics.render();
    assert_eq!(value(&text, "bellows_queue_messages{queue=\"request_queue\",state=\"visible\"}"), Some(3.0));
    assert_eq!(value(&text, "bellows_pool_instances{state=\"running\"}"), Some(4.0));
    metrics.set_queue_depth(Queue::Request, Depth::default());
    metrics.set_pool(Instances { pending: 1, ..Instances::default() });
    let text = metrics.render();
    assert_eq!(value(&text, "bellows_queue_messages{queue=\"request_queue\",state=\"visible\"}"), Some(0.0));
    assert_eq!(value(&text, "bellows_pool_instances{state=\"running\"}"), Some(0.0));
    assert_eq!(value(&text, "bellows_pool_instances{state=\"pending\"}"), Some(1.0));
}

#[test]
fn a_status_nobody_foresaw_is_counted_all_the_same() {
    let metrics = metrics();
    metrics.http_answered(Route::Upload, 200, Duration::from_millis(3));
    metrics.http_answered(Route::Upload, 418, Duration::from_millis(3));
    metrics.http_answered(Route::Healthz, 507, Duration::from_millis(3));
    let text = metrics.render();
    assert_eq!(value(&text, "bellows_http_requests_total{route=\"POST /\",status=\"200\"}"), Some(1.0));
    assert_eq!(value(&text, "bellows_http_requests_total{route=\"POST /\",status=\"other\"}"), Some(1.0));
    assert_eq!(value(&text, "bellows_http_requests_total{route=\"/healthz\",status=\"507\"}"), Some(1.0));
    assert_eq!(value(&text, "bellows_http_request_duration_seconds_count{route=\"POST /\"}"), Some(2.0));
}

#[test]
fn what_runs_here_is_one_series() {
    let metrics = metrics();
    metrics.set_build("onnxruntime 1.32.0", "a");
    metrics.set_build("onnxruntime 1.32.0", "efficientnet \"lite0\"");
    let text = metrics.render();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("bellows_build_info{")).collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("engine=\"onnxruntime 1.32.0\",model=\"efficientnet \\\"lite0\\\"\""), "{}", lines[0]);
    assert!(lines[0].ends_with(" 1"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_stands_still_shows_its_age() {
    let metrics = metrics();
    let age = |metrics: &Metrics| value(&metrics.render(), "bellows_loop_last_run_age_seconds{loop=\"controller\"}");
    assert_eq!(age(&metrics), None, "it does not run here");
    metrics.loop_tick(Loop::Controller);
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(age(&metrics), Some(7.0));
    metrics.loop_tick(Loop::Controller);
    assert_eq!(age(&metrics), Some(0.0));
    assert_eq!(value(&metrics.render(), "bellows_loop_runs_total{loop=\"controller\"}"), Some(2.0));
    metrics.loop_ended(Loop::Controller);
    assert_eq!(age(&metrics), None);
}

#[test]
fn codes_of_ec2() {
    assert_eq!(LaunchFailure::of_code("VcpuLimitExceeded"), LaunchFailure::VcpuLimitExceeded);
    assert_eq!(LaunchFailure::of_code("Blocked"), LaunchFailure::Other);
}
