//! How much memory uploads take while they wait, and who is refused where there is none.

use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{Raw, head, post};
use crate::support::{eventually, images};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// The most memory that the web process ever had.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A service whose pool stands still.
fn paused(settings: &[&str]) -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = settings.iter().fold(Options::new(dir.path()), |options, setting| options.set(setting)).start_ready();
    eventually("somebody leads", Duration::from_secs(10), || daemon.pool_field("leads") == true);
    assert!(daemon.command("pause", &[]).status.success());
    eventually("the pool is paused", Duration::from_secs(10), || !daemon.pool_field("pause").is_null());
    (dir, daemon)
}

/// What looks like an image to the web tier.
fn noise(length: usize) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &vec![0xa5; length - 16]].concat()
}

fn put(url: &str, bytes: &[u8]) -> Raw {
    let length = bytes.len().to_string();
    Raw::with(url, &[head("PUT", "/classify/a.png", &[("Content-Length", &length)]).as_bytes(), bytes].concat())
}

#[test]
fn a_thousand_uploads_wait_in_200_mib() {
    let (_dir, daemon) = paused(&["web.body_timeout=5m"]);
    let image = noise(100_000);
    let start = std::sync::Barrier::new(50);
    let waiting = std::thread::scope(|scope| {
        let some = (0..50).map(|_| {
            scope.spawn(|| {
                start.wait();
                (0..20).map(|_| put(&daemon.url, &image)).collect::<Vec<_>>()
            })
        });
        some.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    eventually("all of them wait", Duration::from_mins(3), || {
        daemon.metric("bellows_requests_submitted_total") == Some(1000.0)
    });
    assert_eq!(daemon.metric("bellows_waiters"), Some(1000.0));
    println!("1,000 waiting uploads of 100 KB: at most {} MiB", peak(&daemon) / MIB);
    assert!(peak(&daemon) < 200 * MIB, "{} MiB", peak(&daemon) / MIB);
    drop(waiting);
}

/// More than the budget holds several times over: who does not fit waits a while for room, and is told to come again.
#[test]
fn large_uploads_take_no_more_than_their_budget() {
    let (_dir, daemon) = paused(&["web.body_budget=192 MiB", "local.min_free=0"]);
    let image = noise(20_000_000);
    let (mut taken, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..30)
            .map(|n| {
                let (url, image) = (&daemon.url, &image);
                scope.spawn(move || {
                    let asynchronous = ("Prefer", "respond-async");
                    let length = image.len().to_string();
                    if n % 2 == 0 {
                        return post(url, "/", &[("myfile", "a.png", image)], &[asynchronous]).status;
                    }
                    let mut raw = Raw::with(
                        url,
                        head("PUT", "/classify", &[asynchronous, ("Content-Length", &length)]).as_bytes(),
                    );
                    raw.send(image);
                    raw.answer(false).status
                })
            })
            .collect();
        for thread in all {
            match thread.join().unwrap() {
                202 => taken += 1,
                503 => refused += 1,
                other => panic!("{other}"),
            }
        }
    });
    println!("30 uploads of 20 MB: {taken} taken, {refused} told to come again, at most {} MiB", peak(&daemon) / MIB);
    assert!(taken >= 9, "{taken}");
    assert!(peak(&daemon) < 300 * MIB, "{} MiB", peak(&daemon) / MIB);
}

/// A body that says it is large, and does not come, keeps others waiting no longer than a part of its time.
#[test]
fn who_says_much_is_coming_has_to_send_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["web.body_budget=4 MiB", "web.max_body=4 MiB", "web.body_timeout=24s", "pool.max_instances=1"];
    let daemon = settings.iter().fold(Options::new(dir.path()), |options, setting| options.set(setting)).start_warm(1);
    let large = |length: u64| {
        let length = length.to_string();
        Raw::with(&daemon.url, head("PUT", "/classify", &[("Content-Length", &length)]).as_bytes())
    };
    let (mut stalled, began) = (large(4 << 20), Instant::now());
    stalled.send(b"\x7fPNG");
    let (image, label) = images::numbered(1);
    assert_eq!(post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[]).body, label);
    assert_eq!(stalled.answer(false).status, 408);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    // one that comes in jerks, and yet in time, is taken
    let mut jerky = large(2 << 20);
    jerky.send(&vec![7; 1 << 19]);
    std::thread::sleep(Duration::from_secs(6));
    jerky.send(&vec![7; (2 << 20) - (1 << 19)]);
    assert_eq!(jerky.answer(false).status, 415);
}

/// A body that does not say how long it is takes memory as it comes: slow ones keep nobody out.
#[test]
fn who_does_not_say_how_much_is_coming_holds_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["web.body_budget=4 MiB", "web.max_body=4 MiB", "web.body_timeout=60s", "pool.max_instances=1"];
    let daemon = settings.iter().fold(Options::new(dir.path()), |options, setting| options.set(setting)).start_warm(1);
    let chunked = head("PUT", "/classify", &[("Transfer-Encoding", "chunked")]);
    let mut slow: Vec<Raw> =
        (0..32).map(|_| Raw::with(&daemon.url, format!("{chunked}4\r\n\x7fPNG\r\n").as_bytes())).collect();
    let (image, label) = images::numbered(1);
    assert_eq!(post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[]).body, label);
    let part = [format!("{:x}\r\n", 2_200_000).as_bytes(), &vec![7; 2_200_000], b"\r\n0\r\n\r\n"].concat();
    let (most, end) = part.split_at(part.len() - 5);
    let another = || {
        let mut raw = Raw::with(&daemon.url, chunked.as_bytes());
        // the answer may come before all is sent
        let _ = std::io::Write::write_all(&mut raw.stream, &part);
        raw.answer(false).status
    };
    assert_eq!(another(), 415);
    // one holds more than half of what there is, and is not at its end
    slow[0].send(most);
    eventually("another one is refused", Duration::from_secs(30), || another() == 503);
    slow[0].send(end);
    assert_eq!(slow[0].answer(false).status, 415);
    assert_eq!(another(), 415, "what it held is there again");
}
