//! One process that accepts and four that work, on one queue.

use super::open;
use bellows::edge::queue::Queue;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const RECEIVERS: usize = 4;
const SPAN: Duration = Duration::from_secs(4);
/// The sender keeps about so many messages ahead of the receivers.
const BACKLOG: u64 = 500;

pub fn compare(folder: &Path) {
    println!("\n1 process sends durably, {RECEIVERS} receive and delete, for {SPAN:?}");
    for (name, mode) in [("messages always there", "backlog"), ("200 messages a second", "paced")] {
        measure(name, mode, &folder.join(format!("{mode}.db")));
    }
}

fn measure(name: &str, mode: &str, file: &Path) {
    drop(open(file, true));
    let children: Vec<Child> =
        (0..RECEIVERS).map(|_| spawn("receiver", mode, file)).chain([spawn("sender", mode, file)]).collect();
    let mut reports: Vec<Report> = children.into_iter().map(Report::of).collect();
    let sender = reports.pop().unwrap();
    let mut receives: Vec<u64> = reports.iter().flat_map(|r| r.calls.iter().copied()).collect();
    let mut waited: Vec<u64> = reports.iter().flat_map(|r| r.waited.iter().copied()).collect();
    let fair = receives.len() as f64 / RECEIVERS as f64;
    let shares: Vec<String> = reports.iter().map(|r| format!("{:.2}", r.calls.len() as f64 / fair)).collect();
    let processor: Vec<String> = reports.iter().chain([&sender]).map(|r| format!("{} ms", r.processor)).collect();
    println!("{name}");
    println!("  messages a second                          {:>10.0}", receives.len() as f64 / SPAN.as_secs_f64());
    println!("  receive call, p50 / p99 / max        {}", percentiles(&mut receives));
    println!("  from send to receive, p50 / p99 / max {}", percentiles(&mut waited));
    println!("  shares of the receivers (1 is fair)        {}", shares.join("  "));
    println!("  processor time, the sender last            {}", processor.join("  "));
}

fn percentiles(values: &mut [u64]) -> String {
    values.sort_unstable();
    let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
    format!("{:>10.2} ms {:>8.2} ms {:>8.2} ms", at(0.5) as f64 / 1e3, at(0.99) as f64 / 1e3, at(1.0) as f64 / 1e3)
}

fn spawn(role: &str, mode: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", role, mode])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child writes when it ends: its processor time, then a line a message (microseconds).
#[derive(Default)]
struct Report {
    processor: u128,
    calls: Vec<u64>,
    waited: Vec<u64>,
}

impl Report {
    fn of(mut child: Child) -> Report {
        let mut report = Report::default();
        let output = BufReader::new(child.stdout.take().unwrap());
        for (number, line) in output.lines().enumerate() {
            let line = line.unwrap();
            if number == 0 {
                report.processor = line.parse().unwrap();
            } else if let Some((call, waited)) = line.split_once(' ') {
                report.calls.push(call.parse().unwrap());
                report.waited.push(waited.parse().unwrap());
            }
        }
        assert!(child.wait().unwrap().success());
        report
    }
}

pub fn child(arguments: &[String]) {
    let [role, mode, file] = arguments else { panic!("expected role, mode and file") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let queue = open(Path::new(file), role == "sender");
    let lines = runtime.block_on(async {
        match (role.as_str(), mode.as_str()) {
            ("sender", "paced") => send_paced(&queue).await,
            ("sender", _) => send_ahead(&queue).await,
            (_, mode) => receive(&queue, mode == "paced").await,
        }
    });
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", super::processor().as_millis()).unwrap();
    for line in lines {
        writeln!(output, "{line}").unwrap();
    }
}

/// Sixteen callers, as long as the backlog is short.
async fn send_ahead(queue: &Queue) -> Vec<String> {
    let end = Instant::now() + SPAN;
    while Instant::now() < end {
        if queue.depth().await.unwrap().visible > BACKLOG {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let queue = queue.clone();
            tasks.spawn(async move {
                for _ in 0..8 {
                    queue.send("x".repeat(super::BODY)).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    }
    Vec::new()
}

async fn send_paced(queue: &Queue) -> Vec<String> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while begun.elapsed() < SPAN {
        ticks.tick().await;
        queue.send("x".repeat(super::BODY)).await.unwrap();
    }
    Vec::new()
}

/// A line a message: how long the receive took that found it (only those that found it at once, where messages are
/// always there), and how old the message was.
async fn receive(queue: &Queue, paced: bool) -> Vec<String> {
    let (end, stop) = (Instant::now() + SPAN, CancellationToken::new());
    let mut lines = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let got = queue.receive(1, Duration::from_millis(if paced { 500 } else { 50 }), &stop).await.unwrap();
        let took = begun.elapsed();
        for delivery in got {
            lines.push(format!("{} {}", took.as_micros(), delivery.waited.as_micros()));
            if paced {
                // work, during which others are idle
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            queue.delete(&delivery.receipt).await.unwrap();
        }
    }
    lines
}
