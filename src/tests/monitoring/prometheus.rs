//! A Prometheus of a test's own, configured by nixos/monitoring/prometheus.yml.

use super::files;
use crate::support::client::{Answer, Client, answer};
use crate::support::{eventually, raw};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// One value of one series.
#[derive(Debug)]
pub struct Sample {
    pub value: f64,
}

impl Sample {
    pub fn is_finite(&self) -> bool {
        self.value.is_finite()
    }
}

/// One series over time: seconds since 1970, and values.
#[derive(Debug)]
pub struct Series {
    pub legend: String,
    pub points: Vec<(f64, f64)>,
}

impl Series {
    pub fn has_data(&self) -> bool {
        self.points.iter().any(|(_, value)| value.is_finite())
    }
}

pub struct Prometheus {
    child: Child,
    url: String,
    client: Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Scrapes this daemon's metrics each second. `None`, and a word about it, where no Prometheus is here; CI does not
    /// pass by without one.
    pub fn start(folder: &Path, metrics: &str) -> Option<Prometheus> {
        let here = Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(here.is_ok() || std::env::var_os("CI").is_none(), "no Prometheus: .ci/setup installs one");
        if here.is_err() {
            println!("skipped: no Prometheus is here (Debian: apt install prometheus)");
            return None;
        }
        configure(folder, raw::host(metrics));
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Prometheus { child, url: format!("http://{listen}"), client: Client::new() };
        eventually("Prometheus has scraped", Duration::from_mins(1), || {
            let ready = prometheus.client.get(&format!("{}/-/ready", prometheus.url)).is_ok_and(|a| a.status == 200);
            ready && prometheus.query("up{job=\"bellows\"} == 1").len() == 1
        });
        Some(prometheus)
    }

    fn ask(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/api/v1/{path}", self.url);
        let answered: Answer = answer(self.client.0.post(&url).send_form(form.iter().copied()).unwrap()).unwrap();
        assert_eq!(answered.status, 200, "{form:?}: {}", answered.body);
        answered.json()["data"].take()
    }

    /// What an expression is now; empty where it has no data.
    pub fn query(&self, expr: &str) -> Vec<Sample> {
        let data = self.ask("query", &[("query", expr)]);
        assert_eq!(data["resultType"], "vector", "{expr}");
        let of = |sample: &Value| Sample { value: number(&sample["value"][1]) };
        data["result"].as_array().unwrap().iter().map(of).collect()
    }

    /// What it was from `start` until now, each second.
    pub fn query_range(&self, expr: &str, legend: &str, start: f64) -> Vec<Series> {
        let (start, end) = (start.to_string(), now().to_string());
        let data = self.ask("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", "1")]);
        let point = |point: &Value| (point[0].as_f64().unwrap(), number(&point[1]));
        let of = |series: &Value| Series {
            legend: named(legend, &series["metric"]),
            points: series["values"].as_array().unwrap().iter().map(point).collect(),
        };
        data["result"].as_array().unwrap().iter().map(of).collect()
    }

    /// The state of each rule by name (an alert's: `inactive`, `pending`, `firing`), and what is wrong with it.
    pub fn rules(&self) -> BTreeMap<String, (String, String)> {
        let answered = self.client.get(&format!("{}/api/v1/rules", self.url)).unwrap().json();
        let word = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let groups = answered["data"]["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| (word(rule, "name"), (word(rule, "state"), word(rule, "lastError")))).collect()
    }
}

/// The files as they are, but for the target and for how often it is looked at.
fn configure(folder: &Path, target: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let mut configuration = files::text("prometheus.yml");
    let changes = [
        ("\"127.0.0.1:9464\"", format!("{target:?}")),
        ("scrape_interval: 15s", "scrape_interval: 1s".into()),
        ("evaluation_interval: 15s", "evaluation_interval: 1s".into()),
    ];
    for (from, to) in changes {
        assert!(configuration.contains(from), "{from}");
        configuration = configuration.replace(from, &to);
    }
    std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
    std::fs::copy(files::path("rules.yml"), folder.join("rules.yml")).unwrap();
}

/// Prometheus writes numbers as text, `NaN` and `+Inf` among them.
fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// A legend with each `{{label}}` as this series has it.
fn named(legend: &str, labels: &Value) -> String {
    let mut named = legend.to_owned();
    for (label, value) in labels.as_object().unwrap() {
        named = named.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap());
    }
    named
}
