//! kill -9 and SIGSTOP at random: nothing that was accepted is lost, nothing is left over.

use crate::support::client::{Client, sha256};
use crate::support::daemon::{Daemon, Options, processes_of, signal};
use crate::support::{eventually, images};
use bellows::edge::host::Entropy;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// A small generator (xorshift64*), so that a printed seed repeats the order of kills.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| Entropy::System.uuid().as_u128() as u64);
    println!("SEED={seed} repeats the draws of this run");
    u64::max(seed, 1)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The ids whose message was durably sent.
fn durable(barrier: &Path) -> BTreeSet<String> {
    std::fs::read_to_string(barrier.join("durable")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The one file below `folder`.
fn only_file(folder: &Path) -> Vec<u8> {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::read(&files[0]).unwrap()
}

/// Every accepted upload has its one right result, and /results answers it.
fn check_accepted(daemon: &Daemon, ids: &BTreeSet<String>) {
    let client = Client::new();
    for id in ids {
        let answer = client.get(&format!("{}/results/{id}", daemon.url)).unwrap();
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        let stored: Value =
            serde_json::from_slice(&std::fs::read(daemon.state.join(format!("output/results/{id}.json"))).unwrap())
                .unwrap();
        assert_eq!(answer.json(), stored);
        let image = only_file(&daemon.state.join("input").join(id));
        assert_eq!(stored["sha256"], sha256(&image), "{id} got another image's answer");
        let n: u32 = stored["file"].as_str().unwrap().trim_end_matches(".png").parse().unwrap();
        assert_eq!(stored["label"], images::numbered(n).1, "{stored}");
    }
}

fn check_nothing_is_left(state: &Path) {
    eventually("all processes have ended", Duration::from_secs(10), || processes_of(state).is_empty());
    for bucket in ["input", "output"] {
        let temporary = state.join(bucket).join(".tmp+");
        let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
    }
    for lock in std::fs::read_dir(state.join("pool")).unwrap() {
        let file = std::fs::File::open(lock.unwrap().path()).unwrap();
        assert!(file.try_lock().is_ok(), "a lock is still held");
    }
}

#[test]
fn twenty_kills_and_a_stopped_process_lose_nothing() {
    let (dir, barrier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random(seed());
    let mut options = Options::new(dir.path());
    options.listen = format!("127.0.0.1:{}", free_port());
    options.environment.push(("BELLOWS_DEBUG_BARRIER".into(), barrier.path().to_str().unwrap().into()));
    let mut daemon = options.start_warm(2);
    let (next, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let url = format!("http://{}/", options.listen);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| upload(&url, &next, &over));
        }
        // the stopped one holds its message beyond its lease
        let stopped = *daemon.tree().iter().find(|pid| **pid != daemon.child.id()).unwrap();
        signal(stopped, Signal::STOP);
        let resume = std::time::Instant::now() + Duration::from_secs(40);
        for round in 0..20 {
            std::thread::sleep(Duration::from_millis(200 + random.below(1500)));
            if round % 5 == 4 {
                hold_and_kill(&mut daemon, barrier.path());
            } else {
                let others: Vec<u32> = daemon.tree().into_iter().filter(|pid| *pid != stopped).collect();
                if let Some(pid) = others.get(random.below(others.len().max(1) as u64) as usize) {
                    signal(*pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(100));
            if daemon.child.try_wait().unwrap().is_some() {
                // the children of the dead one end by themselves; its successor must cope with those that have not
                std::mem::forget(std::mem::replace(&mut daemon, options.start()));
            }
        }
        std::thread::sleep(resume.saturating_duration_since(std::time::Instant::now()));
        signal(stopped, Signal::CONT);
        eventually("1,000 uploads were tried", Duration::from_secs(300), || next.load(Ordering::Relaxed) >= 1000);
        over.store(true, Ordering::Relaxed);
    });
    eventually("the queues are empty", Duration::from_secs(120), || daemon.is_drained());
    let accepted = durable(barrier.path());
    println!("{} of {} uploads were accepted", accepted.len(), next.load(Ordering::Relaxed));
    assert!(accepted.len() >= 500, "only {} uploads got through", accepted.len());
    check_accepted(&daemon, &accepted);
    assert!(daemon.stop().success());
    check_nothing_is_left(dir.path());
}

/// What a worker does in the instant before its result is stored no random kill is sure to meet: here it cannot store.
#[test]
fn a_request_stays_until_its_result_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("output/results");
    std::fs::create_dir_all(results.parent().unwrap()).unwrap();
    std::fs::write(&results, "in the way of a folder").unwrap();
    let short = Options::new(dir.path()).set("queue.visibility=3s").set("queue.heartbeat=1s");
    let daemon = short.set("pool.min_instances=2").start_warm(2);
    let ids: Vec<String> = (0..4).map(|n| send(&daemon, n)).collect();
    eventually("each was classified and could not be stored", Duration::from_secs(30), || {
        ids.iter().all(|id| daemon.printed().lines().any(|line| line.contains(id) && line.contains("failed for now")))
    });
    for worker in daemon.workers() {
        signal(worker, Signal::KILL);
    }
    std::fs::remove_file(&results).unwrap();
    answered(&daemon, &ids);
}

/// Between the image and its message an upload is nobody's yet: who is told that it is accepted there is told too much.
#[test]
fn nobody_is_told_of_an_upload_before_its_message_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::new(dir.path()).set("pool.min_instances=2").start_warm(2);
    // nothing is sent while another process holds the queue
    let queue = rusqlite::Connection::open(dir.path().join("queues/request.db")).unwrap();
    queue.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = AtomicBool::new(false);
    let ids = std::thread::scope(|scope| {
        let upload = scope.spawn(|| {
            let id = send(&daemon, 0);
            told.store(true, Ordering::Relaxed);
            id
        });
        eventually("its image is stored", Duration::from_secs(10), || {
            let folders = std::fs::read_dir(dir.path().join("input")).unwrap().map(|e| e.unwrap().file_name());
            folders.into_iter().any(|name| !name.to_string_lossy().starts_with('.'))
        });
        std::thread::sleep(Duration::from_secs(1));
        let early = told.load(Ordering::Relaxed);
        queue.execute_batch("COMMIT").unwrap();
        assert!(!early, "accepted while its message was in no queue");
        [upload.join().unwrap()]
    });
    answered(&daemon, &ids);
}

/// Uploads a numbered image and does not wait for its label: the id it was accepted under.
fn send(daemon: &Daemon, n: u32) -> String {
    let (image, file) = (images::numbered(n).0, format!("{n}.png"));
    let headers = [("accept", "application/json"), ("prefer", "respond-async")];
    let answer = Client::new().post(&format!("{}/", daemon.url), &[("myfile", &file, &image)], &headers).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["request_id"].as_str().unwrap().to_owned()
}

/// Each gets its one right result.
fn answered(daemon: &Daemon, ids: &[String]) {
    let client = Client::new();
    eventually("all have their results", Duration::from_secs(60), || {
        ids.iter().all(|id| client.get(&format!("{}/results/{id}", daemon.url)).is_ok_and(|a| a.status == 200))
    });
    check_accepted(daemon, &ids.iter().cloned().collect());
}

/// One client: posts numbered images until it is told to stop. Broken connections are part of the test.
fn upload(url: &str, next: &AtomicU32, over: &AtomicBool) {
    let client = Client::new();
    while !over.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let (image, label) = images::numbered(n);
        match client.post(url, &[("myfile", &format!("{n}.png"), &image)], &[]) {
            Ok(answer) if answer.status == 200 => assert_eq!(answer.body, label),
            Ok(answer) => assert!(matches!(answer.status, 202 | 503), "{answer:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        // paced, so that the uploads last as long as the kills do
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// Kills the web tier between the fsync of a message and its client's answer.
fn hold_and_kill(daemon: &mut Daemon, barrier: &Path) {
    let before = durable(barrier).len();
    std::fs::write(barrier.join("hold"), "").unwrap();
    eventually("an upload reaches the barrier", Duration::from_secs(30), || {
        durable(barrier).len() > before || daemon.child.try_wait().unwrap().is_some()
    });
    daemon.kill();
    std::fs::remove_file(barrier.join("hold")).unwrap();
}
