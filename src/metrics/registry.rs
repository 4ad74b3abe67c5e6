//! Makes metrics and registers them.

use bellows_core::time::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

pub(super) struct Builder(Registry);

impl Builder {
    pub fn new() -> Builder {
        Builder(Registry::new())
    }

    /// Prometheus refuses names that are taken or ill-formed. All of ours are literals in one function, and every test
    /// that makes metrics would fail on a wrong one.
    #[expect(clippy::expect_used, reason = "names are literals, see above")]
    fn add<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect("a metric's name, labels and buckets are well-formed");
        self.0.register(Box::new(metric.clone())).expect("a metric's name is used once");
        metric
    }

    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    pub fn int_gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    pub fn histograms(&self, name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label]))
    }

    /// The registry with all that was made, and the start time that Prometheus' own clients export.
    pub fn finish(self, started: Timestamp) -> Registry {
        let start = self.gauge("process_start_time_seconds", "Start of this process, in seconds since 1970");
        start.set(started.0 as f64 / 1000.0);
        self.0
    }
}
