//! Real processes, the fixture model.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, Options, signal};
use crate::support::{eventually, images};
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The original's own test: the pool of twenty, a delay after each image, no hold.
fn original(state: &std::path::Path) -> Options {
    let settings = ["pool.policy=per-request", "pool.hold=0", "pool.max_instances=20", "app.pause=2s"];
    settings.into_iter().fold(Options::new(state), Options::set)
}

/// Uploads numbered images, each by a client of its own, all at once, and checks every answer.
fn upload_all(daemon: &Daemon, numbers: std::ops::Range<u32>) {
    std::thread::scope(|scope| {
        for n in numbers {
            let url = &daemon.url;
            scope.spawn(move || {
                let (image, label) = images::numbered(n);
                let answer = Client::new().post(url, &[("myfile", &format!("{n}.png"), &image)], &[]).unwrap();
                assert_eq!((answer.status, answer.body.as_str()), (200, label), "{n}");
            });
        }
    });
}

/// Watches the pool beside what is done: the largest number of live instances seen, and no more than `max` ever.
fn watched(daemon: &Daemon, max: u32, what: impl FnOnce()) -> u32 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let processes = daemon.tree().len().saturating_sub(1) as u32;
                assert!(processes <= max, "{processes} processes, {max} allowed");
                most = most.max(daemon.pool().iter().sum());
                assert!(most <= max, "{most} instances, {max} allowed");
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        what();
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    })
}

#[test]
fn a_burst_of_150_grows_the_pool_to_twenty_and_back_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = original(dir.path()).start_ready();
    eventually("somebody leads", Duration::from_secs(10), || daemon.pool_field("leads") == true);
    assert!(daemon.is_at_rest());
    let most = watched(&daemon, 20, || upload_all(&daemon, 0..150));
    assert_eq!(most, 20);
    let answered = Instant::now();
    eventually("the pool is at zero", Duration::from_secs(60), || daemon.is_at_rest());
    println!("at rest {:.1} s after the last answer", answered.elapsed().as_secs_f64());
    assert!(daemon.stop().success());
}

#[test]
fn a_batch_grows_the_pool_as_single_uploads_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = original(dir.path()).set("pool.max_instances=6").set("app.pause=500ms").start_ready();
    let images: Vec<_> = (0..40).map(images::numbered).collect();
    let names: Vec<String> = (0..40).map(|n| format!("{n}.png")).collect();
    let parts: Vec<_> = images.iter().zip(&names).map(|((b, _), name)| ("myfile", name.as_str(), &b[..])).collect();
    let most = watched(&daemon, 6, || {
        let answer = Client::new().post(&daemon.url, &parts, &[("Accept", "application/json")]).unwrap();
        let labels: Vec<String> = answer.json()["results"]
            .as_array()
            .unwrap_or_else(|| panic!("{answer:?}"))
            .iter()
            .map(|result| result["label"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(labels, images.iter().map(|(_, label)| (*label).to_owned()).collect::<Vec<_>>());
    });
    assert_eq!(most, 6);
    eventually("the pool is at zero", Duration::from_secs(60), || daemon.is_at_rest());
    assert!(daemon.stop().success());
}

#[test]
fn whoever_is_killed_or_stopped_nothing_is_lost_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let options = original(dir.path()).set("pool.max_instances=6").set("app.pause=300ms").set("queue.visibility=6s");
    let options = options.set("queue.heartbeat=2s");
    let mut first = options.start_ready();
    let (image, _) = images::numbered(1);
    let ids: Vec<String> = (0..60).map(|n| accepted(&first, &format!("{n}.png"), &image)).collect();
    let workers =
        |daemon: &Daemon| -> Vec<u32> { daemon.tree().into_iter().filter(|pid| *pid != daemon.child.id()).collect() };
    eventually("some work", Duration::from_secs(20), || first.pool()[1] >= 3);
    let (stopped, killed) = (workers(&first)[0], workers(&first)[1]);
    signal(stopped, Signal::STOP);
    signal(killed, Signal::KILL);
    // the controller dies while its workers run, one of them stopped
    first.kill();
    let mut second = options.start_ready();
    eventually("all are answered", Duration::from_secs(90), || {
        ids.iter().all(|id| Client::new().get(&format!("{}/results/{id}", second.url)).unwrap().status == 200)
    });
    // the kernel ends a stopped process whose parent is gone (SIGHUP); else it would count until it is killed
    eventually("nothing is left", Duration::from_secs(30), || second.is_at_rest());
    assert!(second.stop().success());
}

/// Uploads and does not wait: the id of the request.
fn accepted(daemon: &Daemon, name: &str, image: &[u8]) -> String {
    let headers = [("Prefer", "respond-async"), ("Accept", "application/json")];
    let answer = Client::new().post(&daemon.url, &[("myfile", name, image)], &headers).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["request_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_stopped_worker_is_killed_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        original(dir.path()).set("pool.max_instances=2").set("app.report_every=1s").set("queue.visibility=6s");
    let mut daemon = options.set("queue.heartbeat=2s").start_ready();
    let (image, _) = images::numbered(1);
    let ids: Vec<String> = (0..8).map(|n| accepted(&daemon, &format!("{n}.png"), &image)).collect();
    eventually("two work", Duration::from_secs(20), || daemon.pool()[1] == 2);
    let stopped = daemon.tree().into_iter().find(|pid| *pid != daemon.child.id()).unwrap();
    signal(stopped, Signal::STOP);
    eventually("it is gone", Duration::from_secs(30), || !daemon.tree().contains(&stopped));
    eventually("all are answered", Duration::from_secs(60), || {
        ids.iter().all(|id| Client::new().get(&format!("{}/results/{id}", daemon.url)).unwrap().status == 200)
    });
    eventually("nothing is left", Duration::from_secs(30), || daemon.is_at_rest());
    assert!(daemon.stop().success());
}

/// Clock ticks (100 a second) of CPU that the daemon has used, and its resident memory in KiB.
fn used(daemon: &Daemon) -> (u64, u64) {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", daemon.child.id())).unwrap();
    let stat = file("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let status = file("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap(), kib)
}

#[test]
fn at_rest_it_uses_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::new(dir.path()).set("pool.hold=0").start_ready();
    upload_all(&daemon, 0..20);
    eventually("the pool is at zero", Duration::from_secs(60), || daemon.is_at_rest());
    let ((before, _), window) = (used(&daemon), Duration::from_secs(10));
    std::thread::sleep(window);
    let (after, resident) = used(&daemon);
    println!("{} ms of CPU in {window:?}, {} MiB resident", (after - before) * 10, resident / 1024);
    // 0.5 % of a core, and as much again for who asks; a debug build is several times slower than what is shipped
    assert!(after - before <= 20, "{} ms of CPU in {window:?}", (after - before) * 10);
    assert!(resident <= 64 * 1024, "{resident} KiB resident");
    assert!(daemon.stop().success());
}
