//! nixos/monitoring against a real run: a real Prometheus scrapes a real daemon, and every rule and panel has data.
//!
//! All expressions are taken from the files. What the panels show of the run is drawn into target/monitoring/run.svg;
//! docs/monitoring.svg is one of these.

mod files;
mod picture;
mod prometheus;

use crate::support::client::Client;
use crate::support::daemon::{Daemon, Options};
use crate::support::{eventually, images, root, shared};
use files::{Panel, dashboard, recorded, rules};
use prometheus::{Prometheus, Sample};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Uploads of a wave, all at once.
const WAVE: usize = 60;
const WAVES: usize = 2;
const INSTANCES: f64 = 2.0;
const USD_PER_HOUR: f64 = 0.05;
/// Some scrapes and evaluations.
const SETTLED: Duration = Duration::from_secs(4);
/// As Grafana works out `$__rate_interval`, with room for a busy machine: more than four scrapes.
const RATE_INTERVAL: &str = "10s";

/// What is sent, in turn, with its name: real photographs where there are any, otherwise the fixture's colours.
fn pictures() -> (bool, Vec<(String, Vec<u8>)>) {
    let Some(folder) = shared() else {
        return (false, (0..6).map(|n| (format!("{n}.png"), images::numbered(n).0)).collect());
    };
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "JPEG"));
    files.sort();
    let named = |file: &Path| (file.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(file).unwrap());
    (true, files.iter().take(12).map(|file| named(file)).collect())
}

/// Slow enough for a queue and a pool that are seen to grow and shrink.
fn daemon(state: &Path, photographs: bool) -> Daemon {
    let mut options = Options::new(state);
    if photographs {
        options.settings.retain(|setting| !setting.starts_with("model.manifest"));
    }
    let price = format!("pool.instance_usd_per_hour={USD_PER_HOUR}");
    let settings = ["pool.policy=per-request", "pool.hold=3s", "app.pause=200ms", &price];
    settings.into_iter().fold(options, Options::set).start_ready()
}

/// Uploads by one client each, half of them as the original's and half as JSON: how often each label came.
fn wave(daemon: &Daemon, pictures: &[(String, Vec<u8>)]) -> BTreeMap<String, f64> {
    let upload = |n: usize| {
        let (name, bytes) = &pictures[n % pictures.len()];
        let path = if n.is_multiple_of(2) { "/" } else { "/classify" };
        let url = format!("{}{path}", daemon.url);
        let answer = Client::new().post(&url, &[("myfile", name, bytes)], &[("Accept", "application/json")]).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["label"].as_str().unwrap().to_owned()
    };
    let mut labels = BTreeMap::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..WAVE).map(|n| scope.spawn(move || upload(n))).collect();
        for client in clients {
            *labels.entry(client.join().unwrap()).or_insert(0.0) += 1.0;
        }
    });
    labels
}

#[test]
fn every_rule_and_panel_has_data_of_a_real_run() {
    let folder = tempfile::tempdir().unwrap();
    let (photographs, pictures) = pictures();
    let daemon = daemon(&folder.path().join("state"), photographs);
    let Some(prometheus) = Prometheus::start(&folder.path().join("prometheus"), &daemon.metrics) else { return };
    let (began, start) = (Instant::now(), prometheus::now());
    let mut labels = BTreeMap::new();
    for _ in 0..WAVES {
        std::thread::sleep(SETTLED);
        for (label, n) in wave(&daemon, &pictures) {
            *labels.entry(label).or_insert(0.0) += n;
        }
        eventually("the pool is at zero", Duration::from_mins(1), || daemon.is_at_rest());
    }
    std::thread::sleep(SETTLED);
    println!("{} uploads, {:.0} s, photographs: {photographs}", WAVE * WAVES, began.elapsed().as_secs_f64());

    names_are_there(&prometheus);
    rules_have_data(&prometheus);
    let drawn: Vec<_> = dashboard().into_iter().map(|panel| shown(&prometheus, panel, start)).collect();
    figures_are_right(&prometheus, &labels);
    let picture = picture::of(&drawn, start, prometheus::now());
    let target = root().join("target/monitoring");
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("run.svg"), picture).unwrap();
}

/// Every metric that a rule or a panel names.
fn names_are_there(prometheus: &Prometheus) {
    let rules = rules();
    let queries = dashboard().into_iter().flat_map(|panel| panel.queries);
    let expressions: Vec<String> = queries.map(|query| query.expr).chain(rules.into_iter().map(|r| r.expr)).collect();
    let names: BTreeSet<&str> = expressions.iter().flat_map(|expression| files::names(expression)).collect();
    assert!(names.len() > 25, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| prometheus.query(name).is_empty()).collect();
    assert!(missing.is_empty(), "Prometheus has not seen {missing:?}");
    println!("{} metrics are there", names.len());
}

/// A recording rule has a value, and an alert one for whatever it compares: 0, since nothing is wrong.
fn rules_have_data(prometheus: &Prometheus) {
    let (health, rules) = (prometheus.rules(), rules());
    for rule in &rules {
        let name = rule.name();
        let (state, error) = &health[name];
        assert!(matches!(state.as_str(), "" | "inactive") && error.is_empty(), "{name} is {state} {error}");
        let values = prometheus.query(&files::compared(rule));
        assert!(!values.is_empty() && values.iter().any(Sample::is_finite), "{name} has no data: {values:?}");
        if rule.alert.is_some() {
            assert!(values.iter().all(|sample| sample.value == 0.0), "{name} holds: {values:?}");
        } else {
            assert!(!prometheus.query(name).is_empty(), "{name} is not recorded");
        }
    }
    println!("{} rules have data, {} of them recorded", rules.len(), recorded(&rules).len());
}

/// A panel with what it shows of the run.
fn shown(prometheus: &Prometheus, panel: Panel, start: f64) -> (Panel, Vec<prometheus::Series>) {
    let mut all = Vec::new();
    for query in &panel.queries {
        let expr = query.expr.replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*");
        assert!(!expr.contains('$'), "a variable nobody has set: {expr}");
        let series = prometheus.query_range(&expr, &query.legend, start);
        assert!(series.iter().any(prometheus::Series::has_data), "{}: no data for {expr}", panel.title);
        all.extend(series);
    }
    (panel, all)
}

/// What Prometheus has is what was done.
fn figures_are_right(prometheus: &Prometheus, labels: &BTreeMap<String, f64>) {
    let one = |expr: &str| match prometheus.query(expr).as_slice() {
        [sample] => Some(sample.value),
        _ => None,
    };
    let uploads = Some((WAVE * WAVES) as f64);
    assert_eq!(one("bellows_requests_submitted_total"), uploads);
    assert_eq!(one("bellows_jobs_total{outcome=\"classified\"}"), uploads);
    assert_eq!(one("sum(bellows_classify_duration_seconds_count{stage=\"infer\"})"), uploads);
    for (label, n) in labels {
        assert_eq!(one(&format!("bellows_labels_total{{label={label:?}}}")), Some(*n), "{label}");
    }
    assert_eq!(one("sum(bellows_labels_total)"), uploads);
    let most = one("max_over_time(bellows:pool_instances[15m])");
    assert_eq!((most, one("bellows:pool_instances")), (Some(INSTANCES), Some(0.0)));
    let cost = (one("max_over_time(bellows_pool_usd_per_hour[15m])"), one("bellows_pool_usd_per_hour"));
    assert_eq!(cost, (Some(INSTANCES * USD_PER_HOUR), Some(0.0)));
    assert!(one("max_over_time(bellows:requests_waiting[15m])") > Some(0.0));
    assert!(one("bellows_scale_actions_total{action=\"launch\"}") >= Some(INSTANCES * WAVES as f64));
}

/// Whoever is told something finds out what to do; and it is tested that they are told when they should be, only then.
#[test]
fn every_alert_has_a_runbook_and_is_tested_both_ways() {
    let document = std::fs::read_to_string(root().join("docs/MONITORING.md")).unwrap();
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.alert.is_some()).collect();
    assert!(alerts.len() > 10);
    for rule in &alerts {
        let name = rule.name();
        let link = format!("docs/MONITORING.md#{}", name.to_lowercase());
        assert_eq!(rule.annotations.get("runbook_url"), Some(&link), "{name}");
        let entry = document.split_once(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("{name} has no entry")).1;
        let entry = entry.split("\n#").next().unwrap();
        assert!(entry.contains("**Means**") && entry.contains("**Do**"), "{name}: {entry}");
        let tested = files::tested(name);
        assert!(tested.contains(&true) && tested.contains(&false), "{name} is not tested both ways: {tested:?}");
    }
    let entries = document.lines().filter_map(|line| line.strip_prefix("### Bellows"));
    assert_eq!(entries.count(), alerts.len(), "an entry for an alert that is no more");
}
