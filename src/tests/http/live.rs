//! GET /live: server-sent events, for as many as there are places for, until the service drains.

use crate::support::contract::Contract;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{JSON, get, head, host, post};
use crate::support::shared::PLAIN;
use crate::support::{eventually, images};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PLACES: usize = 64;

/// Somebody who follows, and the answer's head.
struct Follower {
    lines: Lines<BufReader<TcpStream>>,
    head: String,
}

impl Follower {
    fn new(daemon: &Daemon) -> Follower {
        let mut stream = TcpStream::connect(host(&daemon.url)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(head("GET", "/live", &[]).as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines();
        let head: Vec<String> = lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        Follower { lines, head: head.join("\n") + "\n" }
    }

    fn line(&mut self, start: &str) -> Option<String> {
        let lines = self.lines.by_ref().map_while(Result::ok);
        lines.into_iter().find_map(|line| line.strip_prefix(start).map(str::to_owned))
    }

    /// The next event's name and data; none at the end.
    fn event(&mut self) -> Option<(String, Value)> {
        let name = self.line("event: ")?;
        Some((name, serde_json::from_str(&self.line("data: ")?).unwrap()))
    }

    fn status(&mut self) -> Value {
        loop {
            let (name, data) = self.event().unwrap();
            if name == "status" {
                return data;
            }
        }
    }
}

#[test]
fn a_status_each_second_and_the_newest_decisions() {
    let contract = Contract::load();
    let mut follower = Follower::new(&PLAIN);
    assert!(follower.head.starts_with("HTTP/1.1 200 OK\n"), "{}", follower.head);
    for header in ["content-type: text/event-stream\n", "cache-control: no-store\n", "x-request-id: "] {
        assert!(follower.head.contains(header), "{}", follower.head);
    }
    let (name, first) = follower.event().unwrap();
    assert_eq!(name, "status");
    contract.holds("Status", &first);
    assert_eq!((&first["not_ready"], first["model"]["name"].as_str().unwrap()), (&Value::Null, "fixture-colours"));
    let (name, decisions) = follower.event().unwrap();
    assert_eq!(name, "decisions");
    contract.holds("Decisions", &decisions);
    assert!(decisions.as_array().is_some_and(|d| d.is_sorted_by(|a, b| a["seq"].as_u64() > b["seq"].as_u64())));
    post(&PLAIN.url, "/", &[("myfile", "a.png", &images::png([0; 3], 70))], &[]);
    let began = Instant::now();
    let later = [follower.status(), follower.status(), follower.status()];
    assert!((1500..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    contract.holds("Status", &later[2]);
    for total in ["accepted", "answered"] {
        assert!(later[2][total].as_u64() > first[total].as_u64(), "{first} {later:?}");
    }
    assert!(later[2]["pool"]["ready"].as_u64() >= Some(1), "{later:?}");
}

#[test]
fn no_more_than_there_are_places_for_and_none_once_it_drains() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Options::new(dir.path()).start_warm(1);
    let mut followers: Vec<Follower> = (0..PLACES).map(|_| Follower::new(&daemon)).collect();
    let refused = crate::support::raw::ask(&daemon.url, "GET", "/live", &[JSON], b"");
    assert_eq!((refused.status, &refused.json()["error"]), (503, &"too-many-listeners".into()));
    assert!(refused.header("retry-after").is_some());
    // whoever leaves makes room
    followers.truncate(PLACES - 1);
    eventually("a place is free again", Duration::from_secs(20), || {
        Follower::new(&daemon).head.starts_with("HTTP/1.1 200 ")
    });
    assert_eq!(get(&daemon.url, "/healthz").status, 200);
    let began = Instant::now();
    assert!(daemon.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10), "those who follow keep nobody waiting: {:?}", began.elapsed());
    for follower in &mut followers {
        while follower.event().is_some() {}
    }
}
