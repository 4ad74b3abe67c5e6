//! SIGTERM: nobody new, and nobody without an answer.

use crate::support::daemon::{Daemon, Options, signal};
use crate::support::raw::{FORM, JSON, Raw, get, head, host};
use crate::support::{client, eventually, images};
use rustix::process::Signal;
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn options(dir: &tempfile::TempDir, settings: &[&str]) -> Options {
    settings.iter().fold(Options::new(dir.path()).set("pool.max_instances=1"), |options, setting| options.set(setting))
}

/// Connections that wait for an answer, `n` of them.
fn waiting(daemon: &Daemon, n: u32) -> Vec<Raw> {
    let raws: Vec<Raw> = (0..n)
        .map(|n| {
            let body = client::form(&[("myfile", &format!("{n}.png"), &images::numbered(n).0)]);
            let length = body.len().to_string();
            let head = head("POST", "/", &[FORM, ("Content-Length", &length)]);
            Raw::with(&daemon.url, &[head.as_bytes(), &body].concat())
        })
        .collect();
    let all = f64::from(n);
    eventually("all of them wait", Duration::from_secs(10), || daemon.metric("bellows_waiters") == Some(all));
    raws
}

fn is_refused(daemon: &Daemon) -> bool {
    TcpStream::connect(host(&daemon.url)).is_err()
}

#[test]
fn those_who_wait_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = options(&dir, &["app.pause=1500ms"]).start_warm(1);
    // a request that has begun when the stop comes
    let whole = head("POST", "/", &[FORM, JSON, ("Content-Length", "10")]);
    let (first, last) = whole.split_at(30);
    let mut late = Raw::with(&daemon.url, first.as_bytes());
    let mut raws = waiting(&daemon, 2);
    signal(daemon.child.id(), Signal::TERM);
    eventually("new connections are refused", Duration::from_secs(5), || is_refused(&daemon));
    late.send(last.as_bytes());
    let answer = late.answer(false);
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"draining".into()));
    assert!(answer.header("retry-after").is_some());
    for (n, raw) in raws.iter_mut().enumerate() {
        let answer = raw.answer(false);
        assert_eq!((answer.status, answer.body.as_str()), (200, images::numbered(n as u32).1));
        assert_eq!(raw.rest(), "", "and the connection ends");
    }
    assert!(daemon.wait().success());
}

#[test]
fn those_who_would_wait_too_long_are_told_where_their_answer_will_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = options(&dir, &["app.pause=4s", "web.drain=1s"]).start_warm(1);
    let mut raws = waiting(&daemon, 3);
    let began = Instant::now();
    signal(daemon.child.id(), Signal::TERM);
    let answers: Vec<_> = raws.iter_mut().map(|raw| raw.answer(false)).collect();
    let took = began.elapsed().as_millis();
    assert!((900..4000).contains(&took), "{took} ms");
    let places: Vec<String> = answers.iter().map(|a| a.header("location").unwrap().to_owned()).collect();
    for (answer, place) in answers.iter().zip(&places) {
        assert_eq!((answer.status, answer.body.clone()), (202, format!("pending: {place}")));
    }
    // what is in hand is finished before the end, the rest stays in the queue
    assert!(daemon.wait().success());
    let again = options(&dir, &[]).start();
    for (n, place) in places.iter().enumerate() {
        eventually("its result is there", Duration::from_mins(1), || get(&again.url, place).status == 200);
        assert_eq!(get(&again.url, place).json()["label"], images::numbered(n as u32).1);
    }
}

#[test]
fn whoever_asks_twice_means_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = options(&dir, &["app.pause=10s"]).start_warm(1);
    let _waiting = waiting(&daemon, 1);
    signal(daemon.child.id(), Signal::TERM);
    eventually("it stops", Duration::from_secs(5), || is_refused(&daemon));
    let began = Instant::now();
    assert!(daemon.stop().code().is_some_and(|code| code != 0), "it says that it was not done");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // also while it waits for its workers only
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = options(&dir, &["app.pause=10s", "web.drain=0"]).start_warm(1);
    let mut raws = waiting(&daemon, 1);
    signal(daemon.child.id(), Signal::TERM);
    assert_eq!(raws[0].answer(false).status, 202);
    // by now it waits for nothing but its workers
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    daemon.stop();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
