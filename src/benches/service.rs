//! The whole service beside what users would pick instead: images a second and CPU-seconds, both in one run.
//!
//! `cargo bench --bench service`: bellows (durable accept, queue, stored results) and mosec with two one-thread workers
//! serve the same graph and photographs in turns; a client of 1, 16 and 100 connections checks every answer. Needs the
//! shared models (BELLOWS_DEBUG_SHARED names their folder) and python3; fetches mosec into target/ by itself.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench: it fails loudly, runs in real time, and uses a part of what tests share"
)]

mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use shared::{median, post_form, post_raw};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::client::Client;
use support::daemon::Options;
use support::{eventually, root};

const CONNECTIONS: [usize; 3] = [1, 16, 100];
const ROUND: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

/// A photograph and the label that the service itself gave it before the measurement.
struct Photograph {
    bytes: Vec<u8>,
    form: Vec<u8>,
}

/// One product under test.
struct Product {
    name: &'static str,
    url: String,
    form: bool,
    pid: u32,
    expected: Vec<String>,
}

/// What one round showed.
#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_per_thousand: f64,
}

fn main() {
    let Some(shared) = support::shared() else { return };
    let photographs = read(&shared.join("images"));
    let folder = tempfile::tempdir().unwrap();
    let manifest = model(&shared, folder.path());
    let state = folder.path().join("state");
    let options = Options::new(&state).set(&format!("model.manifest={}", manifest.display())).set("log.level=warn");
    let daemon = options.start_warm(2);
    let mosec = Mosec::start(&shared);
    let mut products = [
        Product {
            name: "bellows",
            url: format!("{}/", daemon.url),
            form: true,
            pid: daemon.child.id(),
            expected: vec![],
        },
        Product { name: "mosec", url: mosec.url.clone(), form: false, pid: mosec.child.id(), expected: vec![] },
    ];
    for product in &mut products {
        product.expected = photographs.iter().map(|photograph| ask(&Client::new(), product, photograph)).collect();
    }
    for connections in CONNECTIONS {
        let mut rounds: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for product in &products {
                let figures = measure(product, &photographs, connections);
                rounds.entry(product.name).or_default().push(figures);
            }
        }
        show(connections, &rounds);
    }
}

fn show(connections: usize, rounds: &BTreeMap<&str, Vec<Figures>>) {
    let median = |name: &str, of: fn(&Figures) -> f64| median(&rounds[name].iter().map(of).collect::<Vec<f64>>());
    println!("\n{connections} connections (medians of {ROUNDS} rounds of {} s, in turns)", ROUND.as_secs());
    println!("{:10} {:>10} {:>9} {:>9} {:>18}", "", "images/s", "p50 ms", "p99 ms", "CPU-s/1,000 images");
    for name in ["bellows", "mosec"] {
        println!(
            "{name:10} {:>10.1} {:>9.1} {:>9.1} {:>18.2}",
            median(name, |f| f.per_second),
            median(name, |f| f.p50_ms),
            median(name, |f| f.p99_ms),
            median(name, |f| f.cpu_per_thousand)
        );
    }
    let ratio = |of: fn(&Figures) -> f64| median("bellows", of) / median("mosec", of);
    println!("ratio      {:>10.2} {:>38.2}", ratio(|f| f.per_second), ratio(|f| f.cpu_per_thousand));
}

/// One closed-loop round: every connection asks again as soon as it is answered.
fn measure(product: &Product, photographs: &[Photograph], connections: usize) -> Figures {
    let (next, cpu, began) = (AtomicUsize::new(0), cpu_of_tree(product.pid), Instant::now());
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let (client, mut times) = (Client::new(), Vec::new());
                    while began.elapsed() < ROUND {
                        let n = next.fetch_add(1, Ordering::Relaxed) % photographs.len();
                        let asked = Instant::now();
                        let answer = ask(&client, product, &photographs[n]);
                        times.push(asked.elapsed().as_secs_f64() * 1e3);
                        assert_eq!(answer, product.expected[n], "{} gave another answer", product.name);
                    }
                    times
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_of_tree(product.pid) - cpu;
    times.sort_by(f64::total_cmp);
    let n = times.len();
    Figures {
        per_second: n as f64 / seconds,
        p50_ms: times[n / 2],
        p99_ms: times[n * 99 / 100],
        cpu_per_thousand: cpu / n as f64 * 1e3,
    }
}

fn ask(client: &Client, product: &Product, photograph: &Photograph) -> String {
    let answer = if product.form {
        post_form(client, &product.url, &photograph.form)
    } else {
        post_raw(client, &product.url, &photograph.bytes)
    };
    assert_eq!(answer.status, 200, "{}: {}", product.name, answer.body);
    answer.body
}

/// CPU-seconds that a process and all below it have used.
fn cpu_of_tree(root: u32) -> f64 {
    let mut parents = BTreeMap::new();
    let mut ticks = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<i64> =
            stat.rsplit(')').next().unwrap().split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
        parents.insert(pid, fields[0] as u32);
        // utime and stime are fields 14 and 15 of /proc/PID/stat; `fields` begins with the fourth
        ticks.insert(pid, fields[10] + fields[11]);
    }
    let below = |mut pid: u32| {
        while pid != root {
            match parents.get(&pid) {
                Some(parent) if *parent != 0 => pid = *parent,
                _ => return false,
            }
        }
        true
    };
    ticks.iter().filter(|(pid, _)| below(**pid)).map(|(_, ticks)| *ticks as f64 / 100.0).sum()
}

fn read(folder: &Path) -> Vec<Photograph> {
    let form = |name: &str, bytes: &[u8]| support::client::form(&[("myfile", name, bytes)]);
    shared::photographs(folder)
        .into_iter()
        .map(|(name, bytes)| Photograph { form: form(&name, &bytes), bytes })
        .collect()
}

/// The manifest of the shared graph, beside copies of what it names.
fn model(shared: &Path, folder: &Path) -> PathBuf {
    let manifest = folder.join("mobilenetv2-int8.toml");
    std::fs::copy(root().join("src/tests/manifests/mobilenetv2-int8.toml"), &manifest).unwrap();
    std::fs::copy(root().join("models/imagenet-labels.txt"), folder.join("imagenet-labels.txt")).unwrap();
    std::fs::copy(shared.join("mobilenetv2-int8-N.onnx"), folder.join("mobilenetv2-int8-N.onnx")).unwrap();
    manifest
}

struct Mosec {
    child: Child,
    url: String,
}

impl Mosec {
    fn start(shared: &Path) -> Mosec {
        let python = support::python::venv("bench-python", "src/benches/peers/requirements.txt").unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(python)
            .arg(root().join("src/benches/peers/mosec_server.py"))
            .args(["--address", "127.0.0.1", "--port", &port.to_string(), "--log-level", "error"])
            .env("GRAPH", shared.join("mobilenetv2-int8-N.onnx"))
            .env("LABELS", root().join("models/imagenet-labels.txt"))
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let base = format!("http://127.0.0.1:{port}");
        eventually("mosec answers", Duration::from_secs(60), || {
            Client::new().get(&format!("{base}/metrics")).is_ok_and(|answer| answer.status == 200)
        });
        std::thread::sleep(Duration::from_secs(3));
        Mosec { child, url: format!("{base}/inference") }
    }
}

impl Drop for Mosec {
    fn drop(&mut self) {
        support::daemon::signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
