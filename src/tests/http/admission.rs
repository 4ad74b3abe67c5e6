//! A full backlog: who is refused, with which words, and for how long.

use crate::support::client::{Answer, form};
use crate::support::contract::Contract;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{FORM, JSON, Raw, ask, head, post};
use crate::support::{eventually, images};
use std::path::Path;
use std::time::Duration;

const ASYNC: (&str, &str) = ("Prefer", "respond-async");
/// The least that may be configured.
const MOST: usize = 1000;
const BATCH: usize = 100;

fn batch(daemon: &Daemon) -> Answer {
    let images: Vec<_> = (0..BATCH as u32).map(|n| images::numbered(n).0).collect();
    let parts: Vec<_> = images.iter().map(|image| ("f", "a.png", &image[..])).collect();
    post(&daemon.url, "/classify", &parts, &[ASYNC])
}

/// Images and batches that were stored.
fn stored(state: &Path) -> (usize, usize) {
    let entries = |folder: &str| {
        let entries = std::fs::read_dir(state.join(folder)).map(|entries| entries.map_while(Result::ok).collect());
        let entries: Vec<std::fs::DirEntry> = entries.unwrap_or_default();
        entries.iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    };
    (entries("input"), entries("output/batches"))
}

fn check(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    Contract::load().allows("POST", "/classify", answer);
    let again: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&again), "{again}");
    assert!(answer.body.contains("backlog-full") && answer.body.contains(&format!("{again} s")), "{answer:?}");
}

#[test]
fn a_full_backlog_refuses_before_it_reads_and_takes_again_when_it_is_worked_off() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::new(dir.path()).set("web.max_backlog=1000").start();
    eventually("somebody leads", Duration::from_secs(10), || daemon.pool_field("leads") == true);
    assert!(daemon.command("pause", &[]).status.success());
    eventually("the pool is paused", Duration::from_secs(10), || !daemon.pool_field("pause").is_null());
    for _ in 1..MOST / BATCH {
        assert_eq!(batch(&daemon).status, 202);
    }
    // this one is let in, and is too slow
    let image = images::png([255, 0, 0], 1);
    let whole = form(&[("a", "a.png", &image), ("b", "b.png", &image)]);
    let length = whole.len().to_string();
    let slow = head("POST", "/classify", &[FORM, ("Content-Length", &length), ("Expect", "100-continue")]);
    let mut slow = Raw::with(&daemon.url, slow.as_bytes());
    assert_eq!(slow.answer(true).status, 100);
    assert_eq!(batch(&daemon).status, 202);
    // the metrics have it a moment before uploads are judged by it
    eventually("all are counted", Duration::from_secs(10), || daemon.pool_field("queue")["visible"] == MOST);
    slow.send(&whole);
    check(&slow.answer(false));
    // these are not, and nobody waits for their bodies
    let unsent = [FORM, ("Content-Length", "9000000")];
    let unread = Raw::with(&daemon.url, head("POST", "/", &unsent).as_bytes()).answer(false);
    check(&unread);
    assert_eq!(unread.header("connection"), Some("close"));
    check(&post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[JSON]));
    check(&ask(&daemon.url, "PUT", "/classify/a.png", &[], &image));
    check(&batch(&daemon));
    assert_eq!(stored(dir.path()), (MOST, MOST / BATCH));
    assert_eq!(daemon.metric("bellows_requests_submitted_total"), Some(MOST as f64));
    assert_eq!(daemon.metric("bellows_http_requests_total{route=\"/classify\",status=\"429\"}"), Some(2.0));
    assert!(daemon.metric("bellows_queue_oldest_age_seconds") > Some(0.05));
    assert!(daemon.command("resume", &[]).status.success());
    eventually("an upload is taken", Duration::from_mins(1), || {
        let answer = post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[]);
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        answer.status == 200 && answer.body == "red"
    });
    eventually("all is answered", Duration::from_mins(2), || {
        daemon.metric("bellows_jobs_total{outcome=\"classified\"}") == Some(MOST as f64 + 1.0)
    });
    eventually("nothing waits", Duration::from_secs(10), || {
        daemon.metric("bellows_queue_oldest_age_seconds") == Some(0.0)
    });
}
