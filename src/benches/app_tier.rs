//! The app tier beside the bare loops: how much of a core's decode + resize + infer is left when every image also
//! passes a durable queue and a stored result.
//!
//! `cargo bench --bench app_tier`: two workers clear a backlog of stored uploads; two Rust threads and two Python
//! processes run the bare loop over the same photographs with the same graph; all in turns in one run. Needs the shared
//! photographs (BELLOWS_DEBUG_SHARED names their folder) and python3.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench: it fails loudly, runs in real time, and uses a part of what tests share"
)]

mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use bellows::model::engine::{Runtime, Session};
use bellows::model::{self, Installed, ModelSettings, Progress};
use bellows_pixels::{Limits, prepare};
use rustix::process::Signal;
use shared::{median, photographs};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use support::client::Client;
use support::daemon::{Daemon, Options, signal};
use support::{data_dir, root};

const WORKERS: usize = 2;
const BACKLOG: usize = 2000;
const ROUNDS: usize = 3;
const BARE: Duration = Duration::from_secs(6);

fn main() {
    let Some(shared) = support::shared() else { return };
    let photographs: Vec<(String, Vec<u8>)> = photographs(&shared.join("images"));
    let settings = ModelSettings { dir: Some(data_dir()), ..ModelSettings::default() };
    let installed = model::ensure(&settings, Progress::stderr()).unwrap();
    let (mut rust, mut python, mut app, mut latency) = (vec![], vec![], vec![], vec![]);
    // removed at the end only: an ext4 without a journal walks past every inode freed in the last minutes before it
    // takes one for a new file, so that a round would pay for the clearing up behind the one before
    let mut folders = Vec::new();
    for _ in 0..ROUNDS {
        rust.push(bare_rust(&installed, &photographs));
        python.push(bare_python(&installed, &shared.join("images")));
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(&folder.path().join("state")).set("log.level=warn");
        options.settings.retain(|setting| !setting.starts_with("model.manifest"));
        let daemon = options.start_warm(WORKERS as u32);
        latency.push(unloaded(&daemon, &photographs));
        app.push(backlog(&daemon, &photographs));
        folders.push(folder);
    }
    let bare_ms = 1e3 * WORKERS as f64 / median(&rust);
    println!("{WORKERS} workers, medians of {ROUNDS} rounds in turns");
    println!("bare Rust loop          {:8.1} images/s ({bare_ms:.1} ms an image)", median(&rust));
    println!("bare Python loop        {:8.1} images/s", median(&python));
    println!("app tier, backlog       {:8.1} images/s", median(&app));
    println!("app tier / Rust loop    {:8.2} (aim 0.90)", median(&app) / median(&rust));
    println!("app tier / Python loop  {:8.2} (aim 1.00)", median(&app) / median(&python));
    println!(
        "unloaded upload to answer {:.1} ms, {:.1} ms above the bare loop (aim 15)",
        median(&latency),
        median(&latency) - bare_ms
    );
}

fn bare_rust(installed: &Installed, photographs: &[(String, Vec<u8>)]) -> f64 {
    let runtime = Runtime::load(&installed.library).unwrap();
    let limits = Limits { max_pixels: installed.max_pixels };
    let rates: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS)
            .map(|_| {
                let mut session = Session::open(&runtime, installed).unwrap();
                scope.spawn(move || {
                    let (began, mut done) = (Instant::now(), 0);
                    while began.elapsed() < BARE {
                        let (_, bytes) = &photographs[done % photographs.len()];
                        let tensor = prepare(bytes, &installed.model.manifest.input, limits).unwrap();
                        session.run(&tensor).unwrap();
                        done += 1;
                    }
                    done as f64 / began.elapsed().as_secs_f64()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    rates.iter().sum()
}

fn bare_python(installed: &Installed, photographs: &Path) -> f64 {
    let script = root().join("src/tests/reference/pipeline.py");
    let output = Command::new(support::python::python())
        .arg(script)
        .arg(&installed.graph)
        .arg(photographs)
        .args(["--bench", &WORKERS.to_string(), "--seconds", &BARE.as_secs().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    figures["images_per_second"].as_f64().unwrap()
}

/// Median time from upload to answer of one caller, in milliseconds.
fn unloaded(daemon: &Daemon, photographs: &[(String, Vec<u8>)]) -> f64 {
    let (client, url) = (Client::new(), format!("{}/", daemon.url));
    let times: Vec<f64> = photographs
        .iter()
        .map(|(name, bytes)| {
            let asked = Instant::now();
            let answer = client.post(&url, &[("myfile", name, bytes)], &[]).unwrap();
            assert_eq!(answer.status, 200);
            asked.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    median(&times[10..])
}

/// Images a second with which the workers clear a backlog that was there before they began.
fn backlog(daemon: &Daemon, photographs: &[(String, Vec<u8>)]) -> f64 {
    let workers = daemon.workers();
    for pid in &workers {
        signal(*pid, Signal::STOP);
    }
    let (client, url) = (Client::new(), format!("{}/classify", daemon.url));
    let before = results(daemon).len();
    let parts: Vec<(&str, &str, &[u8])> = photographs.iter().map(|(n, b)| ("file", n.as_str(), b.as_slice())).collect();
    for _ in 0..BACKLOG / parts.len() {
        let answer = client.post(&url, &parts, &[("prefer", "respond-async")]).unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let resumed = SystemTime::now();
    for pid in &workers {
        signal(*pid, Signal::CONT);
    }
    // seldom, and only the names: looking costs the workers' cores
    let folder = daemon.state.join("output/results");
    let until = Instant::now() + Duration::from_secs(120);
    while std::fs::read_dir(&folder).unwrap().count() < before + BACKLOG {
        assert!(Instant::now() < until, "the backlog is not cleared");
        std::thread::sleep(Duration::from_millis(500));
    }
    let last = results(daemon).into_iter().max().unwrap();
    BACKLOG as f64 / last.duration_since(resumed).unwrap().as_secs_f64()
}

/// When each stored result was written.
fn results(daemon: &Daemon) -> Vec<SystemTime> {
    let entries = std::fs::read_dir(daemon.state.join("output/results")).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap()).collect()
}
