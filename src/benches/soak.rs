//! A service in use for long: `cargo bench --bench soak -- [MINUTES] [PICTURE.svg]` (30 minutes unless told).
//!
//! Sixteen people's worth of clients look at their answers for half a second to a second and a half before they send
//! the next photograph, to a system as it comes, but that it keeps objects for a few minutes only: then what it keeps
//! must stay level, too. Every answer is compared with the first one for the same photograph. Each minute prints what
//! answers took and, of the whole process tree and the state folder, memory, file handles and bytes; the picture shows
//! the same. Needs the shared photographs (BELLOWS_DEBUG_SHARED names their folder).
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "a bench: it fails loudly, runs in real time, and uses a part of what tests share"
)]

mod shared;
#[path = "../tests/support/mod.rs"]
mod support;

use hdrhistogram::Histogram;
use shared::{photographs, post_form};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::client::{Client, form};
use support::daemon::{Daemon, Options};

const CLIENTS: usize = 16;
const MINUTES: usize = 30;
/// What is kept no longer than the system allows, so that it levels off within the run.
const KEPT: [&str; 5] = [
    "retention.request_ttl=1m",
    "queue.retention=2m",
    "queue.dead_retention=3m",
    "retention.inputs=3m",
    "retention.results=3m",
];

/// One minute.
#[derive(Clone, Copy)]
struct Minute {
    answers: u64,
    p50_ms: f64,
    p99_ms: f64,
    resident_mib: f64,
    handles: f64,
    stored_mib: f64,
}

type Figure = fn(&Minute) -> f64;

/// Name, unit and figure of each panel of the picture.
const PANELS: [(&str, Figure); 4] = [
    ("p99 of answers, ms", |m| m.p99_ms),
    ("resident memory of all processes, MiB", |m| m.resident_mib),
    ("open file handles", |m| m.handles),
    ("state folder, MiB", |m| m.stored_mib),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let minutes = arguments.first().map_or(MINUTES, |m| m.parse().unwrap());
    let Some(models) = support::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("state"));
    options.settings = vec!["metrics.listen=127.0.0.1:0".into(), "log.level=warn".into()];
    options.settings.extend(KEPT.map(str::to_owned));
    let daemon = options.start_ready();
    let forms: Vec<Vec<u8>> =
        photographs(&models.join("images")).iter().map(|(name, bytes)| form(&[("myfile", name, bytes)])).collect();
    let expected: Vec<String> = forms.iter().map(|form| ask(&Client::new(), &daemon.url, form)).collect();

    println!("minute answers  p50 ms  p99 ms  resident MiB  handles  stored MiB");
    let (times, next, over) =
        (Mutex::new(Histogram::<u64>::new(3).unwrap()), AtomicUsize::new(0), AtomicBool::new(false));
    let mut course = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (times, next, over, forms, expected, url) = (&times, &next, &over, &forms, &expected, &daemon.url);
            scope.spawn(move || visit(client, url, forms, expected, next, times, over));
        }
        for minute in 1..=minutes {
            std::thread::sleep(Duration::from_mins(1));
            let times = std::mem::replace(&mut *times.lock().unwrap(), Histogram::new(3).unwrap());
            let figures = measure(&daemon, &times);
            println!(
                "{minute:6} {:7} {:7.1} {:7.1} {:13.1} {:8} {:11.1}",
                figures.answers,
                figures.p50_ms,
                figures.p99_ms,
                figures.resident_mib,
                figures.handles,
                figures.stored_mib
            );
            course.push(figures);
        }
        over.store(true, Ordering::Relaxed);
    });
    if let Some(path) = arguments.get(1) {
        std::fs::write(path, picture(&course)).unwrap();
    }
}

/// One client: sends, compares, looks at the answer for a while.
fn visit(
    client: usize,
    url: &str,
    forms: &[Vec<u8>],
    expected: &[String],
    next: &AtomicUsize,
    times: &Mutex<Histogram<u64>>,
    over: &AtomicBool,
) {
    let http = Client::new();
    while !over.load(Ordering::Relaxed) {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let (n, began) = (turn % forms.len(), Instant::now());
        assert_eq!(ask(&http, url, &forms[n]), expected[n], "another answer than the first one");
        times.lock().unwrap().record(began.elapsed().as_micros() as u64).unwrap();
        // spread evenly from half a second to one and a half, so that clients do not march in step
        std::thread::sleep(Duration::from_millis(500 + ((turn * 617 + client * 131) % 1000) as u64));
    }
}

fn ask(client: &Client, url: &str, form: &[u8]) -> String {
    let answer = post_form(client, &format!("{url}/"), form);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn measure(daemon: &Daemon, times: &Histogram<u64>) -> Minute {
    let tree = daemon.tree();
    let (mut resident, mut handles) = (0, 0);
    for pid in tree {
        // one that ends at this very moment counts nothing
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        resident += kib.unwrap_or(0_u64);
        handles += std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    }
    Minute {
        answers: times.len(),
        p50_ms: times.value_at_quantile(0.5) as f64 / 1e3,
        p99_ms: times.value_at_quantile(0.99) as f64 / 1e3,
        resident_mib: resident as f64 / 1024.0,
        handles: handles as f64,
        stored_mib: bytes_below(&daemon.state) as f64 / f64::from(1 << 20),
    }
}

/// What files may be deleted under our eyes is not counted.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        _ => entry.metadata().map_or(0, |file| file.len()),
    };
    entries.flatten().map(of).sum()
}

/// One curve a panel, each from zero to its own highest figure.
fn picture(course: &[Minute]) -> String {
    const WIDTH: f64 = 960.0;
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 928.0;
    const TALL: f64 = 140.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><title>{CLIENTS} clients for {} \
         minutes</title><style>text{{font:13px system-ui,sans-serif}}</style><rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/>",
        40.0 + PANELS.len() as f64 * TALL,
        course.len()
    );
    for (n, (name, of)) in PANELS.iter().enumerate() {
        let (top, bottom) = (40.0 + n as f64 * TALL + 20.0, 40.0 + (n + 1) as f64 * TALL - 24.0);
        let most = course.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
        let x = |minute: usize| LEFT + (RIGHT - LEFT) * minute as f64 / (course.len().max(2) - 1) as f64;
        let points: Vec<String> = (course.iter().enumerate())
            .map(|(minute, m)| format!("{:.1},{:.1}", x(minute), bottom - (bottom - top) * of(m) / most))
            .collect();
        let _ = write!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\">{name}</text><text x=\"56\" y=\"{}\" text-anchor=\"end\">{most:.0}</text>\
             <text x=\"56\" y=\"{bottom}\" text-anchor=\"end\">0</text><path d=\"M{LEFT} {top}V{bottom}H{RIGHT}\" \
             fill=\"none\" stroke=\"#59636e\"/><polyline points=\"{}\" fill=\"none\" stroke=\"#8250df\" stroke-width=\"2\"/>",
            top - 6.0,
            top + 8.0,
            points.join(" ")
        );
    }
    let _ =
        writeln!(svg, "<text x=\"{RIGHT}\" y=\"24\" text-anchor=\"end\">minutes 1 to {}</text></svg>", course.len());
    svg
}
