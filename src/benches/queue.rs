//! What durability costs on one machine: `cargo bench --bench queue [-- FOLDER]`, a table on standard output.
//!
//! Every figure of the product stands beside the bare system calls on the same folder (default: the target folder's
//! file system, since `/tmp` is often memory, where an fsync is free).
#![expect(clippy::unwrap_used, reason = "a bench that panics has failed")]

#[path = "queue/processes.rs"]
mod processes;

use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Clock;
use bellows::edge::queue::{Queue, Settings, local};
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const CALLERS: [usize; 3] = [1, 16, 100];
/// How long each figure is measured for.
const SPAN: Duration = Duration::from_millis(1500);
/// A request message of ordinary size.
const BODY: usize = 320;
const PHOTOGRAPH: usize = 100 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.first().is_some_and(|a| a == "child") {
        return processes::child(&arguments[1..]);
    }
    let parent = arguments.first().map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::Builder::new().prefix("bench-queue-").tempdir_in(parent).unwrap();
    let folder = folder.path();
    println!("durable accepts a second, and processor time for each");
    println!("{:<44} {:>16} {:>16} {:>16}", "callers", CALLERS[0], CALLERS[1], CALLERS[2]);
    row("bare: append + fsync", |callers| bare_appends(folder, callers));
    row("queue: send", |callers| sends(folder, callers));
    row("bare: mkdir + 100 KB + 3 fsyncs", |callers| bare_puts(folder, callers, false));
    row("bucket: put 100 KB", |callers| puts(folder, callers, false));
    row("bare: the same + append + fsync", |callers| bare_puts(folder, callers, true));
    row("bucket and queue: put 100 KB, then send", |callers| puts(folder, callers, true));
    cycles(folder);
    processes::compare(folder);
}

/// How often something was done in `SPAN`, and the processor time it took.
struct Rate {
    done: u64,
    took: Duration,
    processor: Duration,
}

fn row(name: &str, measure: impl Fn(usize) -> Rate) {
    print!("{name:<44}");
    for callers in CALLERS {
        let rate = measure(callers);
        let each = rate.processor.as_secs_f64() * 1e6 / rate.done as f64;
        print!(" {:>8.0} {:>4.0} us", rate.done as f64 / rate.took.as_secs_f64(), each);
        let _ = std::io::stdout().flush();
    }
    println!();
}

/// User and system time of this process.
fn processor() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or_default()).sum();
    Duration::from_millis(ticks * 10)
}

fn on_threads(callers: usize, work: impl Fn(usize, u64) + Sync) -> Rate {
    let (done, before, begun) = (AtomicU64::new(0), processor(), Instant::now());
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (done, work) = (&done, &work);
            scope.spawn(move || {
                let mut number = 0;
                while begun.elapsed() < SPAN {
                    work(caller, number);
                    number += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    Rate { done: done.into_inner(), took: begun.elapsed(), processor: processor().saturating_sub(before) }
}

fn on_tasks<F>(callers: usize, work: impl Fn(usize, u64) -> F + Send + Sync + 'static) -> Rate
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (before, begun) = (processor(), Instant::now());
        let (work, mut tasks) = (Arc::new(work), tokio::task::JoinSet::new());
        for caller in 0..callers {
            let work = Arc::clone(&work);
            tasks.spawn(async move {
                let mut number = 0;
                while begun.elapsed() < SPAN {
                    work(caller, number).await;
                    number += 1;
                }
                number
            });
        }
        let done = tasks.join_all().await.into_iter().sum();
        Rate { done, took: begun.elapsed(), processor: processor().saturating_sub(before) }
    })
}

fn append(folder: &Path, caller: usize) {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("log-{caller}"))).unwrap();
    file.write_all(&[b'x'; BODY]).unwrap();
    file.sync_all().unwrap();
}

fn bare_appends(folder: &Path, callers: usize) -> Rate {
    on_threads(callers, |caller, _| append(folder, caller))
}

fn bare_puts(folder: &Path, callers: usize, then_append: bool) -> Rate {
    let contents = vec![7; PHOTOGRAPH];
    on_threads(callers, |caller, number| {
        let place = folder.join(format!("bare-{callers}-{then_append}-{caller}-{number}"));
        fs::create_dir(&place).unwrap();
        let mut file = File::create(place.join("photograph.jpg")).unwrap();
        file.write_all(&contents).unwrap();
        file.sync_all().unwrap();
        File::open(&place).unwrap().sync_all().unwrap();
        File::open(folder).unwrap().sync_all().unwrap();
        if then_append {
            append(folder, caller);
        }
    })
}

fn settings() -> Settings {
    Settings {
        name: "request_queue".into(),
        visibility: Duration::from_secs(30),
        retention: Duration::from_hours(96),
        dead_letters: Some((10, "request_queue_dead".into())),
    }
}

fn open(file: &Path, durable: bool) -> Queue {
    let store = local::Store::open(file, Clock::System).unwrap();
    Queue::Local(store.queue(settings(), durable).unwrap())
}

fn sends(folder: &Path, callers: usize) -> Rate {
    let queue = open(&folder.join(format!("send-{callers}.db")), true);
    on_tasks(callers, move |_, _| {
        let queue = queue.clone();
        async move { queue.send("x".repeat(BODY)).await.unwrap() }
    })
}

fn puts(folder: &Path, callers: usize, then_send: bool) -> Rate {
    let queue = open(&folder.join(format!("put-{callers}-{then_send}.db")), true);
    let root = folder.join(format!("bucket-{callers}-{then_send}"));
    let bucket = Bucket::Local(bucket::local::Bucket::open(root, Clock::System).unwrap());
    let contents = Bytes::from(vec![7; PHOTOGRAPH]);
    on_tasks(callers, move |caller, number| {
        let (queue, bucket, contents) = (queue.clone(), bucket.clone(), contents.clone());
        let key = format!("{caller:08x}-0000-4000-8000-{number:012x}/photograph.jpg");
        async move {
            bucket.put(&key, contents).await.unwrap();
            if then_send {
                queue.send("x".repeat(BODY)).await.unwrap();
            }
        }
    })
}

/// One process alone: send, receive, delete.
fn cycles(folder: &Path) {
    println!("\ncycles of send, receive and delete a second, one process, one caller");
    for (name, durable) in [("accepted durably", true), ("as responses are", false)] {
        let queue = open(&folder.join(format!("cycles-{durable}.db")), durable);
        let rate = on_tasks(1, move |_, _| {
            let queue = queue.clone();
            async move {
                let stop = CancellationToken::new();
                queue.send("x".repeat(BODY)).await.unwrap();
                let got = queue.receive(1, Duration::from_secs(1), &stop).await.unwrap();
                queue.delete(&got[0].receipt).await.unwrap();
            }
        });
        println!("{name:<44} {:>8.0}", rate.done as f64 / rate.took.as_secs_f64());
    }
}
