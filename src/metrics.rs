//! What Prometheus sees: every name, label and bucket, in one registry that is passed around.
//!
//! Labels are enums, so that no caller can invent one, and every series is there from the start with 0. No label holds
//! an id. Counters change as things happen here; gauges that describe the whole system are set while `/metrics` is
//! asked for, by `set_…` calls that set all states of a thing at once, so that a drained state reports 0.

mod labels;
mod registry;
#[cfg(test)]
mod tests;

pub use labels::{Action, Label, LaunchFailure, Loop, Outcome, Queue, Route, Stage};

use bellows_core::time::Timestamp;
use labels::QueueState;
use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use registry::Builder;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Seconds from the fastest answer to the longest wait.
const REQUEST_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 150.0, 300.0];
/// Seconds of one stage of a job.
const STAGE_BUCKETS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Seconds from send to receive.
const WAIT_BUCKETS: [f64; 14] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 1800.0];

/// Labels with a series of their own: all of a model of ImageNet's classes. What comes beyond counts as `other`.
const MOST_LABELS: usize = 1000;
const OTHER_LABEL: &str = "other";

/// The states of one queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

/// The live instances of the pool by state; their sum is 0 at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    pub pending: u64,
    pub running: u64,
    pub retiring: u64,
    pub terminating: u64,
}

/// All metrics of one process. Shared by `Arc`; every method may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    build_info: IntGaugeVec,
    queue_messages: IntGaugeVec,
    queue_sent: IntCounterVec,
    queue_deleted: IntCounterVec,
    queue_unreadable: IntCounterVec,
    queue_oldest_age: Gauge,
    queue_wait: Histogram,
    pool_instances: IntGaugeVec,
    pool_instances_max: IntGauge,
    pool_instances_wanted: IntGauge,
    pool_usd_per_hour: Gauge,
    scale_actions: IntCounterVec,
    launch_failures: IntCounterVec,
    observation_age: Gauge,
    leader: IntGauge,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    waiters: IntGauge,
    submitted: IntCounter,
    responses: IntCounterVec,
    dead_letters: IntCounter,
    classify_duration: HistogramVec,
    jobs: IntCounterVec,
    labels: IntCounterVec,
    labels_seen: Mutex<BTreeSet<String>>,
    local_free_bytes: IntGauge,
    local_min_free_bytes: IntGauge,
    loop_runs: IntCounterVec,
    loop_age: prometheus::GaugeVec,
    loop_last: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Metrics {
    /// A registry of its own with every series at 0. `started` is the wall clock at process start.
    pub fn new(started: Timestamp) -> Metrics {
        let b = Builder::new();
        let metrics = Metrics {
            build_info: b.gauges(
                "bellows_build_info",
                "Always 1; what runs here",
                &["version", "revision", "engine", "model"],
            ),
            queue_messages: b.gauges("bellows_queue_messages", "Messages in a queue", &["queue", "state"]),
            queue_sent: b.counters("bellows_queue_sent_total", "Messages sent to a queue by this process", &["queue"]),
            queue_deleted: b.counters("bellows_queue_deleted_total", "Messages deleted by this process", &["queue"]),
            queue_unreadable: b.counters("bellows_queue_unreadable_total", "Messages that nobody can read", &["queue"]),
            queue_oldest_age: b
                .gauge("bellows_queue_oldest_age_seconds", "Age of the oldest accepted and unanswered request"),
            queue_wait: b.histogram("bellows_queue_wait_seconds", "From send to receive of a request", &WAIT_BUCKETS),
            pool_instances: b.gauges("bellows_pool_instances", "Live instances of the pool", &["state"]),
            pool_instances_max: b.int_gauge("bellows_pool_instances_max", "Most instances allowed"),
            pool_instances_wanted: b.int_gauge("bellows_pool_instances_wanted", "Instances the last decision wants"),
            pool_usd_per_hour: b.gauge("bellows_pool_usd_per_hour", "Price of the live instances"),
            scale_actions: b.counters(
                "bellows_scale_actions_total",
                "Instances launched or asked to end, requests cancelled",
                &["action"],
            ),
            launch_failures: b.counters("bellows_launch_failures_total", "Launches refused", &["code"]),
            observation_age: b.gauge("bellows_observation_age_seconds", "Age of what the last decision saw"),
            leader: b.int_gauge("bellows_leader", "1 where this process scales the pool"),
            http_requests: b.counters("bellows_http_requests_total", "Requests answered", &["route", "status"]),
            http_duration: b.histograms(
                "bellows_http_request_duration_seconds",
                "From request head to answer",
                "route",
                &REQUEST_BUCKETS,
            ),
            waiters: b.int_gauge("bellows_waiters", "Uploads held open for their answer"),
            submitted: b.counter("bellows_requests_submitted_total", "Images accepted: their message is durably sent"),
            responses: b.counters(
                "bellows_responses_received_total",
                "Responses, by whether somebody waited",
                &["matched"],
            ),
            dead_letters: b.counter("bellows_dead_letters_total", "Requests given up and answered with an error"),
            classify_duration: b.histograms(
                "bellows_classify_duration_seconds",
                "A stage of a job",
                "stage",
                &STAGE_BUCKETS,
            ),
            jobs: b.counters("bellows_jobs_total", "Jobs of the app tier, by how they ended", &["outcome"]),
            labels: b.counters("bellows_labels_total", "Images classified, by their likeliest label", &["label"]),
            labels_seen: Mutex::default(),
            local_free_bytes: b.int_gauge("bellows_local_free_bytes", "Free space where the state folder lies"),
            local_min_free_bytes: b
                .int_gauge("bellows_local_min_free_bytes", "Free space below which nothing is accepted"),
            loop_runs: b.counters("bellows_loop_runs_total", "Rounds of a named loop", &["loop"]),
            loop_age: b.float_gauges(
                "bellows_loop_last_run_age_seconds",
                "Since a running loop last began a round",
                &["loop"],
            ),
            loop_last: Mutex::default(),
            registry: b.finish(started),
        };
        metrics.zero();
        metrics.set_build("", "");
        metrics
    }

    /// Makes every series that can appear appear, with 0.
    fn zero(&self) {
        for queue in Queue::ALL {
            self.set_queue_depth(*queue, Depth::default());
            for counters in [&self.queue_sent, &self.queue_deleted, &self.queue_unreadable] {
                counters.with_label_values(&[queue.as_str()]);
            }
        }
        self.set_pool(Instances::default());
        zero(&self.scale_actions, Action::ALL);
        zero(&self.launch_failures, LaunchFailure::ALL);
        zero(&self.jobs, Outcome::ALL);
        zero(&self.loop_runs, Loop::ALL);
        for stage in Stage::ALL {
            self.classify_duration.with_label_values(&[stage.as_str()]);
        }
        for route in Route::ALL {
            self.http_duration.with_label_values(&[route.as_str()]);
            for status in route.statuses() {
                self.http_requests.with_label_values(&[route.as_str(), status]);
            }
        }
        // which labels a model has is not known everywhere: they come with their first image
        self.labels.with_label_values(&[OTHER_LABEL]);
        for matched in ["true", "false"] {
            self.responses.with_label_values(&[matched]);
        }
    }

    /// Which engine and model answer here; empty until they are loaded.
    pub fn set_build(&self, engine: &str, model: &str) {
        let revision = option_env!("BELLOWS_REVISION").unwrap_or("unknown");
        self.build_info.reset();
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision, engine, model]).set(1);
    }

    // The whole system, set while gathering.

    pub fn set_queue_depth(&self, queue: Queue, depth: Depth) {
        let states = [
            (QueueState::Visible, depth.visible),
            (QueueState::InFlight, depth.in_flight),
            (QueueState::Delayed, depth.delayed),
        ];
        for (state, n) in states {
            self.queue_messages.with_label_values(&[queue.as_str(), state.as_str()]).set(signed(n));
        }
    }

    /// Age of the oldest request that was accepted and is not answered; zero where none is.
    pub fn set_oldest_age(&self, age: Duration) {
        self.queue_oldest_age.set(age.as_secs_f64());
    }

    pub fn set_pool(&self, instances: Instances) {
        let states = [
            ("pending", instances.pending),
            ("running", instances.running),
            ("retiring", instances.retiring),
            ("terminating", instances.terminating),
        ];
        for (state, n) in states {
            self.pool_instances.with_label_values(&[state]).set(signed(n));
        }
    }

    pub fn set_pool_bounds(&self, wanted: u64, max: u64) {
        self.pool_instances_wanted.set(signed(wanted));
        self.pool_instances_max.set(signed(max));
    }

    pub fn set_pool_usd_per_hour(&self, usd: f64) {
        self.pool_usd_per_hour.set(if usd.is_finite() { usd } else { 0.0 });
    }

    pub fn set_observation_age(&self, age: Duration) {
        self.observation_age.set(age.as_secs_f64());
    }

    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub fn set_waiters(&self, n: usize) {
        self.waiters.set(signed(n as u64));
    }

    pub fn set_local_free_bytes(&self, n: u64) {
        self.local_free_bytes.set(signed(n));
    }

    /// 0 where the disk is not ours to watch.
    pub fn set_local_min_free_bytes(&self, n: u64) {
        self.local_min_free_bytes.set(signed(n));
    }

    // This process, as things happen.

    pub fn queue_sent(&self, queue: Queue, n: u64) {
        self.queue_sent.with_label_values(&[queue.as_str()]).inc_by(n);
    }

    pub fn queue_deleted(&self, queue: Queue, n: u64) {
        self.queue_deleted.with_label_values(&[queue.as_str()]).inc_by(n);
    }

    /// A message that cannot be parsed and went to the dead letters.
    pub fn queue_unreadable(&self, queue: Queue) {
        self.queue_unreadable.with_label_values(&[queue.as_str()]).inc();
    }

    /// `n` instances launched, requests cancelled, ends asked for, instances terminated.
    pub fn scaled(&self, action: Action, n: u64) {
        self.scale_actions.with_label_values(&[action.as_str()]).inc_by(n);
    }

    pub fn launch_failed(&self, code: LaunchFailure) {
        self.launch_failures.with_label_values(&[code.as_str()]).inc();
    }

    /// A request that was answered.
    pub fn http_answered(&self, route: Route, status: u16, took: Duration) {
        self.http_requests.with_label_values(&[route.as_str(), labels::status(status)]).inc();
        self.http_duration.with_label_values(&[route.as_str()]).observe(took.as_secs_f64());
    }

    pub fn submitted(&self, n: u64) {
        self.submitted.inc_by(n);
    }

    pub fn response_received(&self, matched: bool) {
        self.responses.with_label_values(&[if matched { "true" } else { "false" }]).inc();
    }

    pub fn dead_lettered(&self) {
        self.dead_letters.inc();
    }

    pub fn stage(&self, stage: Stage, took: Duration) {
        self.classify_duration.with_label_values(&[stage.as_str()]).observe(took.as_secs_f64());
    }

    pub fn jobs_ended(&self, outcome: Outcome, count: u64) {
        self.jobs.with_label_values(&[outcome.as_str()]).inc_by(count);
    }

    /// An image has its label: a class of the model, never a text of a client.
    pub fn labelled(&self, label: &str) {
        let mut seen = self.labels_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let room = seen.len() < MOST_LABELS;
        if room && !seen.contains(label) {
            seen.insert(label.to_owned());
        }
        let label = if seen.contains(label) { label } else { OTHER_LABEL };
        self.labels.with_label_values(&[label]).inc();
    }

    pub fn queue_waited(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    /// A named loop begins a round. From its first round on, the age of its last one is shown.
    pub fn loop_tick(&self, name: Loop) {
        self.loop_runs.with_label_values(&[name.as_str()]).inc();
        self.loops().insert(name.as_str(), Instant::now());
    }

    /// A named loop has ended on purpose: its age is no longer shown.
    pub fn loop_ended(&self, name: Loop) {
        self.loops().remove(name.as_str());
        let _ = self.loop_age.remove_label_values(&[name.as_str()]);
    }

    fn loops(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Instant>> {
        self.loop_last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        for (name, last) in self.loops().iter() {
            self.loop_age.with_label_values(&[name]).set(last.elapsed().as_secs_f64());
        }
        let mut text = String::new();
        // writing to a string does not fail, and no family is empty
        let _ = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

fn zero<L: Label>(counters: &IntCounterVec, labels: &[L]) {
    for label in labels {
        counters.with_label_values(&[label.as_str()]);
    }
}

/// Prometheus' integers are signed.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
