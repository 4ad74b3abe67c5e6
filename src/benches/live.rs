//! Whether the simulation says what the daemon does: `cargo bench --bench live -- [RUNS] [SHAPE]` (3 runs of `bursty`
//! unless told).
//!
//! A shape is squeezed into some minutes and driven at a real local system (the fixture model, `app.pause`, processes that
//! are launched and end). The time an image takes and the time a worker takes to start are then read from that run, and
//! `bellows simulate` is asked for the same trace in the same configuration with these. Side by side: instance-seconds,
//! from launch to end, and the 99th percentile of the latency; medians over the runs, and how far they are apart.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench: it fails loudly, runs in real time, and uses a part of what tests share"
)]

mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use bellows::sim::{Bin, Trace};
use shared::{median, post_form};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::client::{Client, form};
use support::daemon::{Daemon, Options};
use support::{eventually, images};

const RUNS: u64 = 3;
/// Two hours become three minutes, and of sixteen requests one is left.
const FASTER: f64 = 40.0;
const THINNER: u64 = 16;
const PAUSE: Duration = Duration::from_millis(500);
/// Of both the daemon and the simulation.
const SETTINGS: [&str; 5] =
    ["backend=local", "app.pause=500ms", "pool.service_prior=500ms", "pool.max_instances=12", "pool.latency_target=5s"];
/// More than ever wait at once: none begins late for want of a client.
const CLIENTS: usize = 400;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a run comes to, live or simulated.
#[derive(Clone, Copy, Debug)]
struct Figures {
    instance_seconds: f64,
    p99_seconds: f64,
}

/// What the daemon measured of its workers meanwhile.
#[derive(Clone, Copy, Debug)]
struct Measured {
    service: Duration,
    boot: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let runs = arguments.first().map_or(RUNS, |runs| runs.parse().unwrap());
    let shape = arguments.get(1).map_or("bursty", String::as_str);
    let trace = squeezed(&Trace::shape(shape).unwrap());
    println!("{shape}: {} requests in {:.0} s", trace.requests(), trace.span().as_secs_f64());
    println!("run  service ms  boot ms | instance-seconds live  simulated | p99 s live  simulated");
    let folder = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for run in 1..=runs {
        let (live, measured) = live(&trace, run, &folder.path().join(run.to_string()));
        let simulated = simulated(&trace, measured, run, folder.path());
        println!(
            "{run:3} {:11.1} {:8.0} | {:21.0} {:10.0} | {:10.2} {:10.2}",
            measured.service.as_secs_f64() * 1e3,
            measured.boot.as_secs_f64() * 1e3,
            live.instance_seconds,
            simulated.instance_seconds,
            live.p99_seconds,
            simulated.p99_seconds
        );
        pairs.push((live, simulated));
    }
    for (name, figure) in
        [("instance-seconds", (|f| f.instance_seconds) as fn(Figures) -> f64), ("p99", |f| f.p99_seconds)]
    {
        let middle = |side: fn(&(Figures, Figures)) -> Figures| {
            median(&pairs.iter().map(|pair| figure(side(pair))).collect::<Vec<_>>())
        };
        let (live, simulated) = (middle(|pair| pair.0), middle(|pair| pair.1));
        println!("{name}: simulated over live {:.3}, medians of {runs}", simulated / live);
    }
}

fn squeezed(shape: &Trace) -> Trace {
    let mut owed = 0;
    let bin = |bin: &Bin| {
        owed += bin.requests;
        let requests = owed / THINNER;
        owed %= THINNER;
        Bin { start: bin.start / FASTER, width: bin.width / FASTER, requests }
    };
    Trace { name: shape.name.clone(), bins: shape.bins.iter().map(bin).collect() }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Drives a system that nothing was ever asked of.
fn live(trace: &Trace, seed: u64, state: &Path) -> (Figures, Measured) {
    let mut options = Options::new(state);
    options.settings.extend(SETTINGS.map(str::to_owned));
    options.settings.push("log.level=warn".into());
    let daemon = options.start_ready();
    let arrivals: Vec<Duration> = trace.arrivals(seed).collect();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let (mut latencies, instance_seconds) = std::thread::scope(|scope| {
        // whoever looks at the pool stops, too, where a client fails
        let over = Over(&over);
        let lived = scope.spawn({
            let over = over.0;
            let daemon = &daemon;
            move || lived(daemon, over)
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(&format!("{}/", daemon.url), &arrivals, &next, began)))
            .collect();
        let latencies: Vec<f64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        eventually("the pool is empty", Duration::from_mins(5), || daemon.is_at_rest());
        drop(over);
        (latencies, lived.join().unwrap())
    });
    latencies.sort_by(f64::total_cmp);
    let p99_seconds = latencies[(latencies.len() * 99).div_ceil(100) - 1];
    let span = |field: &str| Duration::from_secs_f64(daemon.pool_field(field).as_f64().unwrap() / 1e3);
    let measured = Measured { service: span("service_ms"), boot: span("boot_ms") };
    (Figures { instance_seconds, p99_seconds }, measured)
}

/// Takes requests in turns and sends each at its moment: how long each answer took, in seconds.
fn client(url: &str, arrivals: &[Duration], next: &AtomicUsize, began: Instant) -> Vec<f64> {
    let (http, mut latencies) = (Client::new(), Vec::new());
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Some(at) = arrivals.get(n) else { return latencies };
        let (image, label) = images::numbered(n as u32);
        let form = form(&[("myfile", "a.png", &image)]);
        let due = began + *at;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let late = due.elapsed();
        assert!(late < PAUSE, "a request was sent {late:?} late: {CLIENTS} clients are too few");
        let answer = post_form(&http, url, &form);
        assert!(answer.status == 200 && answer.body.contains(label), "not {label}: {answer:?}");
        latencies.push(due.elapsed().as_secs_f64());
    }
}

/// Instance-seconds, from looks at the pool: whoever is launched, runs or ends counts.
fn lived(daemon: &Daemon, over: &AtomicBool) -> f64 {
    let (mut seconds, mut last) = (0.0, Instant::now());
    while !over.load(Ordering::Relaxed) {
        let instances: u32 = daemon.pool().iter().sum();
        seconds += f64::from(instances) * last.elapsed().as_secs_f64();
        last = Instant::now();
        std::thread::sleep(LOOK_EVERY);
    }
    seconds
}

fn simulated(trace: &Trace, measured: Measured, seed: u64, folder: &Path) -> Figures {
    let table = folder.join("trace.csv");
    let mut text = "start_seconds,width_seconds,requests\n".to_owned();
    for Bin { start, width, requests } in &trace.bins {
        writeln!(text, "{start},{width},{requests}").unwrap();
    }
    std::fs::write(&table, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.arg("simulate").arg("--trace").arg(&table).args(["--json", "--service-cv=0", "--boot-unbilled=0ms"]);

    // what is measured has the pause in it; whole milliseconds are what a time is given in
    let engine = measured.service.saturating_sub(PAUSE).max(Duration::from_millis(1));
    command.arg(format!("--service={}ms", engine.as_millis()));
    command.arg(format!("--boot={}ms", measured.boot.as_millis()));
    command.arg(format!("--seeds={seed}"));
    command.args(SETTINGS.map(|setting| format!("--set={setting}")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = answer["runs"].as_array().unwrap().last().unwrap().clone();
    let number = |key: &str| run[key].as_f64().unwrap();
    Figures { instance_seconds: number("instance_hours") * 3600.0, p99_seconds: number("p99_seconds") }
}
