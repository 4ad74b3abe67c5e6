//! How long a start takes with everything fetched: `cargo bench --bench start`.
//!
//! Each start is one of the whole program on a state folder of its own, with the default model and one worker; the
//! first of them, for which the files may not be in memory, does not count. Needs the shared photographs
//! (BELLOWS_DEBUG_SHARED names their folder) for the last figure.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench: it fails loudly, runs in real time, and uses a part of what tests share"
)]

mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use bellows::model::{self, ModelSettings, Progress};
use shared::{median, photographs, post_form};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::client::{Client, form};
use support::daemon::{Options, signal};
use support::data_dir;

const STARTS: usize = 11;
const LIMIT: Duration = Duration::from_secs(30);
const RUNNING: &str = "bellows_pool_instances{state=\"running\"} 1";

/// A program that was started a moment ago; asked to end when dropped, and waited for.
struct Started {
    child: Child,
    began: Instant,
    web: u16,
    metrics: u16,
}

impl Started {
    /// With so many workers kept when nothing waits.
    fn new(workers: u32) -> (Started, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let [web, metrics] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [web, metrics] = [web, metrics].map(|listener| listener.local_addr().unwrap().port());
        let mut options = Options::new(&folder.path().join("state"));
        options.listen = format!("127.0.0.1:{web}");
        let metrics_listen = format!("metrics.listen=127.0.0.1:{metrics}");
        let least = format!("pool.min_instances={workers}");
        options.settings = vec![metrics_listen, least, "pool.max_instances=1".into(), "log.level=warn".into()];
        let mut command = options.command();
        command.stdout(Stdio::null());
        let began = Instant::now();
        (Started { child: command.spawn().unwrap(), began, web, metrics }, folder)
    }

    /// Milliseconds from the start until `condition` holds.
    fn until(&self, condition: impl Fn() -> bool) -> f64 {
        while !condition() {
            assert!(self.began.elapsed() < LIMIT, "not within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.began.elapsed().as_secs_f64() * 1e3
    }

    fn listening(&self) -> f64 {
        self.until(|| TcpStream::connect(("127.0.0.1", self.web)).is_ok())
    }

    /// When the metrics show a warm worker: the controller looks once a tick, which is a second on one machine.
    fn shown_warm(&self) -> f64 {
        let (client, url) = (Client::new(), format!("http://127.0.0.1:{}/metrics", self.metrics));
        self.until(|| client.get(&url).is_ok_and(|answer| answer.body.lines().any(|line| line == RUNNING)))
    }

    /// A client that asks again until it is served.
    fn label(&self, photograph: &[u8]) -> f64 {
        let (client, url) = (Client::new(), format!("http://127.0.0.1:{}/", self.web));
        self.until(|| post_form(&client, &url, photograph).status == 200)
    }

    /// With nobody in the pool: milliseconds from an upload to the launch of a worker, and to the label.
    fn cold(&self, photograph: &[u8]) -> (f64, f64) {
        let (client, at) = (Client::new(), |port, path| format!("http://127.0.0.1:{port}{path}"));
        self.until(|| client.get(&at(self.web, "/readyz")).is_ok_and(|answer| answer.status == 200));
        let (wall, began) = (SystemTime::now(), Instant::now());
        assert_eq!(post_form(&client, &at(self.web, "/"), photograph).status, 200);
        let label = began.elapsed().as_secs_f64() * 1e3;
        let decisions = client.get(&at(self.metrics, "/decisions")).unwrap().json();
        let launched = decisions["entries"].as_array().unwrap().iter().find(|entry| entry["done"]["launch"] == 1);
        let wall = wall.duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1e3;
        (launched.unwrap()["at"].as_f64().unwrap() - wall, label)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn main() {
    let settings = ModelSettings { dir: Some(data_dir()), ..ModelSettings::default() };
    model::ensure(&settings, Progress::stderr()).unwrap();
    let measure = |what: &dyn Fn(&Started) -> f64| {
        let figures = (0..=STARTS).map(|_| {
            let (started, _folder) = Started::new(1);
            what(&started)
        });
        median(&figures.skip(1).collect::<Vec<f64>>())
    };
    println!("medians of {STARTS} starts, milliseconds from the start of the program");
    println!("until it listens                     {:7.1} (aim 200)", measure(&Started::listening));
    println!("until the metrics show a warm worker {:7.1}", measure(&Started::shown_warm));
    let Some(models) = support::shared() else { return };
    let (name, bytes) = photographs(&models.join("images")).swap_remove(0);
    let photograph = form(&[("myfile", &name, &bytes)]);
    let label = measure(&|started| started.listening().max(started.label(&photograph)));
    println!("until the first label, so a warm worker {label:4.1} (aim 1000)");
    let (launched, labelled): (Vec<f64>, Vec<f64>) =
        (0..STARTS).map(|_| Started::new(0)).map(|(started, _folder)| started.cold(&photograph)).unzip();
    println!("a pool at zero, milliseconds from an upload");
    println!("until the launch       {:7.1} (aim 50)", median(&launched));
    println!("until the label        {:7.1} (aim 1000)", median(&labelled));
}
