//! A disk that fills up under a running daemon.

use crate::support::client::{Answer, sha256};
use crate::support::contract::Contract;
use crate::support::daemon::{Daemon, Options, signal};
use crate::support::disk::Disk;
use crate::support::raw::{JSON, get, post};
use crate::support::{eventually, images};
use bellows::edge::disk::free_bytes;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// What is left to finish with.
const FLOOR: u64 = 8 * MIB;
/// A PNG with so many bytes behind its end, where no decoder looks.
const UPLOAD: usize = 200_000;
const SOON: Duration = Duration::from_secs(20);

/// What was accepted: id, hash and label.
#[derive(Default)]
struct Accepted(Vec<(String, String, &'static str)>);

impl Accepted {
    /// Sends one image more and does not wait for its label.
    fn upload(&mut self, daemon: &Daemon) -> Answer {
        let (mut image, label) = images::numbered(self.0.len() as u32);
        image.resize(UPLOAD, 0);
        let answer = post(&daemon.url, "/", &[("myfile", "x.png", &image)], &[JSON, ("Prefer", "respond-async")]);
        if answer.status == 202 {
            let id = answer.json()["request_id"].as_str().unwrap().to_owned();
            self.0.push((id, sha256(&image), label));
        }
        answer
    }

    /// Uploads until one is refused, and for the right reason.
    fn until_refused(&mut self, daemon: &Daemon) {
        let refused = loop {
            let answer = self.upload(daemon);
            if answer.status != 202 {
                break answer;
            }
            assert!(self.0.len() < 1000, "the disk does not fill up");
        };
        assert_eq!((refused.status, &refused.json()["error"]), (507, &"disk-low".into()), "{refused:?}");
        Contract::load().allows("POST", "/", &refused);
    }

    /// Each has its own answer.
    fn check(&self, daemon: &Daemon) {
        for (id, sha256, label) in &self.0 {
            let path = format!("/results/{id}");
            let answered = || get(&daemon.url, &path).status == 200;
            eventually(&format!("{id} is answered"), Duration::from_secs(60), answered);
            let json = get(&daemon.url, &path).json();
            assert_eq!((json["sha256"].as_str(), json["label"].as_str()), (Some(&**sha256), Some(*label)), "{json}");
        }
    }
}

/// A file that leaves so much of the disk free.
fn fill(file: &Path, leave: u64) {
    let mut filler = File::create(file).unwrap();
    while free_bytes(file).unwrap() > leave {
        // the daemon may have been faster
        if filler.write_all(&[1; 4096]).is_err_and(|e| e.kind() == ErrorKind::StorageFull) {
            return;
        }
    }
}

fn ready(daemon: &Daemon) -> (u16, String) {
    let answer = get(&daemon.url, "/readyz");
    (answer.status, answer.body)
}

fn until_ready(daemon: &Daemon) {
    eventually("it is ready again", SOON, || ready(daemon).0 == 200);
}

#[test]
fn a_disk_that_fills_up_under_a_daemon_loses_nothing() {
    let Some(disk) = Disk::mount("size=64m") else { return };
    let floor = format!("local.min_free={FLOOR}");
    let options = Options::new(&disk.path().join("state")).set(&floor).set("pool.min_instances=2");
    let daemon = options.start_warm(2);
    let filler = disk.path().join("filler");
    let mut accepted = Accepted::default();
    assert_eq!(ready(&daemon).0, 200);

    // to the floor, by uploads: no more are taken, and what is left is enough to finish those that were
    fill(&filler, FLOOR + 4 * MIB);
    // what somebody else writes is seen at the next look
    eventually("the daemon has seen it", SOON, || {
        daemon.metric("bellows_local_free_bytes").is_some_and(|free| free < (FLOOR + 5 * MIB) as f64)
    });
    accepted.until_refused(&daemon);
    assert!(accepted.0.len() > 10, "{} uploads", accepted.0.len());
    let (status, said) = ready(&daemon);
    assert!(status == 503 && said.starts_with("disk-low"), "{status} {said}");
    accepted.check(&daemon);
    assert_eq!(accepted.upload(&daemon).status, 507, "what was finished made no room");
    fs::remove_file(&filler).unwrap();
    until_ready(&daemon);

    // to the last byte, by somebody else, while accepted uploads wait: their results find room as soon as there is some
    let workers = daemon.workers();
    for worker in &workers {
        signal(*worker, Signal::STOP);
    }
    for _ in 0..10 {
        assert_eq!(accepted.upload(&daemon).status, 202);
    }
    fill(&filler, 0);
    accepted.until_refused(&daemon);
    for worker in workers {
        signal(worker, Signal::CONT);
    }
    std::thread::sleep(Duration::from_secs(1));
    fs::remove_file(&filler).unwrap();
    until_ready(&daemon);
    accepted.check(&daemon);
    assert_eq!(accepted.upload(&daemon).status, 202);
    accepted.check(&daemon);
}
