//! Connections of every kind: silent, slow, half-closed, smuggled, dropped, and a hundred at once.

use crate::support::client::{form, sha256};
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{FORM, JSON, Raw, ask, get, head, post};
use crate::support::shared::{PLAIN, STRICT};
use crate::support::{eventually, images};
use std::time::{Duration, Instant};

#[test]
fn a_connection_without_a_whole_head_is_closed_at_the_deadline() {
    for sent in ["", "GET / HTTP/1.1\r\nHo"] {
        let closed = Raw::with(&STRICT.url, sent.as_bytes()).until_closed();
        assert!((800..5000).contains(&closed.as_millis()), "{sent:?}: {closed:?}");
    }
}

#[test]
fn one_connection_for_many_requests() {
    let mut raw = Raw::connect(&PLAIN.url);
    let (image, label) = images::numbered(30);
    let body = form(&[("myfile", "a.png", &image)]);
    let upload = |length: &str| head("POST", "/", &[FORM, ("Content-Length", length)]);
    for _ in 0..3 {
        raw.send(&[upload(&body.len().to_string()).as_bytes(), &body].concat());
        assert_eq!(raw.answer(false).body, label);
        raw.send(head("GET", "/nothing", &[]).as_bytes());
        assert_eq!(raw.answer(false).status, 404);
    }
    // an image that was read to its end and refused costs no connection either
    let no_image = form(&[("myfile", "a.png", b"no image is in here")]);
    raw.send(&[upload(&no_image.len().to_string()).as_bytes(), &no_image].concat());
    assert_eq!(raw.answer(false).status, 415);
    // two heads in one packet: two answers, in order
    raw.send((head("GET", "/healthz", &[]) + &head("GET", "/nothing", &[])).as_bytes());
    assert_eq!((raw.answer(false).status, raw.answer(false).status), (200, 404));
}

#[test]
fn a_half_closed_connection_gets_its_answer() {
    let (image, label) = images::numbered(31);
    let body = form(&[("myfile", "a.png", &image)]);
    let length = body.len().to_string();
    let request = [head("POST", "/", &[FORM, ("Content-Length", &length)]).as_bytes(), &body].concat();
    let mut raw = Raw::with(&PLAIN.url, &request);
    raw.half_close();
    assert_eq!(raw.answer(false).body, label);
    assert_eq!(raw.rest(), "");
    // also one that has to wait for longer than anybody looks whether it is there
    let mut raw = Raw::with(&STRICT.url, &request);
    raw.half_close();
    assert_eq!(raw.answer(false).status, 202);
}

#[test]
fn an_upload_that_breaks_off_is_refused() {
    let mut raw = Raw::with(&PLAIN.url, head("PUT", "/classify", &[("Content-Length", "5000")]).as_bytes());
    raw.send(b"\x89PNG\r\n\x1a\nand no more");
    raw.half_close();
    assert!(raw.rest().starts_with("HTTP/1.1 400 "));
}

#[test]
fn what_is_smuggled_is_not_answered() {
    let smuggled = head("GET", "/healthz", &[]);
    for sent in [
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "POST /classify HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 5\r\n\r\nabcd",
        "PUT /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabcd",
    ] {
        let mut raw = Raw::with(&PLAIN.url, format!("{sent}{smuggled}").as_bytes());
        raw.half_close();
        let all = raw.rest();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{sent:?}: {all}");
        assert!(all.starts_with("HTTP/1.1 4"), "{all}");
    }
}

#[test]
fn a_head_of_a_megabyte_is_refused_in_words() {
    let long = "x".repeat(1 << 20);
    let answer = ask(&PLAIN.url, "GET", "/", &[("X-Long", &long)], b"");
    assert!(matches!(answer.status, 400 | 431), "{answer:?}");
    let many: Vec<(String, String)> = (0..500).map(|n| (format!("X-{n}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert!(matches!(ask(&PLAIN.url, "GET", "/", &many, b"").status, 400 | 431));
    let path = format!("/{}", "p".repeat(100_000));
    assert!(matches!(get(&PLAIN.url, &path).status, 404 | 414 | 431));
}

#[test]
fn ids_of_clients_come_back() {
    let image = images::png([0; 3], 32);
    let parts: [(&str, &str, &[u8]); 1] = [("myfile", "a.png", &image)];
    let long = "i".repeat(128);
    for id in ["abc-1", "with space {\"}", &long] {
        let answer = post(&PLAIN.url, "/", &parts, &[JSON, ("X-Request-Id", id)]);
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_ne!(answer.json()["request_id"], id, "never a key");
        assert_eq!(ask(&PLAIN.url, "GET", "/nothing", &[JSON, ("X-Request-Id", id)], b"").json()["request_id"], id);
    }
    for id in ["grün", &"i".repeat(129)] {
        let answer = post(&PLAIN.url, "/", &parts, &[("X-Request-Id", id)]);
        assert!(answer.header("x-request-id").is_some_and(|own| own.len() == 36), "{answer:?}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    for path in ["/", "/healthz", "/readyz", "/results/nonsense", "/nothing"] {
        let (with, mut raw) =
            (get(&PLAIN.url, path), Raw::with(&PLAIN.url, head("HEAD", path, &[("Accept", "*/*")]).as_bytes()));
        raw.half_close();
        let without = raw.answer(true);
        assert_eq!(without.status, with.status, "{path}");
        assert_eq!(without.header("content-length"), with.header("content-length"));
        assert_eq!(raw.rest(), "");
    }
    assert_eq!(ask(&PLAIN.url, "HEAD", "/classify", &[], b"").status, 405);
}

/// Sends the `n`-th image in the `n`-th of all spellings, and checks that the answer is its own.
fn one_of_many(url: &str, n: u32) {
    let (image, label) = images::numbered(n);
    let (name, digest) = (format!("test_{n}.png"), sha256(&image));
    match n % 5 {
        0 => assert_eq!(post(url, "/", &[("myfile", &name, &image)], &[]).body, label),
        1 => assert_eq!(post(url, "/", &[("inputFile", &name, &image)], &[]).body, format!("test_{n}:{label}")),
        2 => {
            let json = post(url, "/", &[("file", &name, &image)], &[JSON]).json();
            assert_eq!((&json["label"], &json["sha256"]), (&label.into(), &digest.into()));
        }
        3 => {
            let json = ask(url, "PUT", &format!("/classify/{name}"), &[], &image).json();
            assert_eq!((&json["file"], &json["label"]), (&name.into(), &label.into()));
            assert_eq!(json["sha256"], digest);
        }
        _ => {
            let other = images::png([255, 255, 255], n);
            let json = post(url, "/classify", &[("a", &name, &image), ("b", "w.png", &other)], &[]).json();
            let results = &json["results"];
            assert_eq!((&results[0]["label"], &results[0]["sha256"]), (&label.into(), &digest.into()), "{json}");
            assert_eq!((&results[1]["label"], &results[1]["sha256"]), (&"white".into(), &sha256(&other).into()));
        }
    }
}

#[test]
fn a_hundred_at_once_each_get_their_own() {
    let start = std::sync::Barrier::new(100);
    std::thread::scope(|scope| {
        for n in 0..100 {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                one_of_many(&PLAIN.url, n);
            });
        }
    });
}

fn waiters(daemon: &Daemon) -> f64 {
    daemon.metric("bellows_waiters").unwrap()
}

/// The id of the only input object called `name`.
fn id_of(daemon: &Daemon, name: &str) -> String {
    let ids = std::fs::read_dir(daemon.state.join("input")).unwrap().map(|id| id.unwrap());
    let mut found: Vec<_> = ids.filter(|id| id.path().join(name).exists()).collect();
    assert_eq!(found.len(), 1);
    found.pop().unwrap().file_name().into_string().unwrap()
}

#[test]
fn whoever_hangs_up_is_not_waited_with_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::new(dir.path()).set("pool.max_instances=1").set("app.pause=8s").start_warm(1);
    let (image, label) = images::numbered(33);
    let length = image.len().to_string();
    let upload = |name: &str| {
        let head = head("PUT", &format!("/classify/{name}"), &[("Content-Length", &length)]);
        Raw::with(&daemon.url, &[head.as_bytes(), &image].concat())
    };
    let (reset, closed) = (upload("reset.png"), upload("closed.png"));
    eventually("both wait", Duration::from_secs(5), || waiters(&daemon) >= 2.0);
    let began = Instant::now();
    // a close with unread data, or of a process that was killed with its network, is a reset
    rustix::net::sockopt::set_socket_linger(&reset.stream, Some(Duration::ZERO)).unwrap();
    drop(reset);
    eventually("the reset one is not waited with", Duration::from_secs(5), || waiters(&daemon) <= 1.0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(daemon.metric("bellows_http_requests_total{route=\"/classify/{name}\",status=\"499\"}"), Some(1.0));
    // one that is closed looks like one that is half-closed: its answer ends the wait
    drop(closed);
    for name in ["reset.png", "closed.png"] {
        let place = format!("/results/{}", id_of(&daemon, name));
        eventually("its result is there", Duration::from_secs(40), || get(&daemon.url, &place).status == 200);
        assert_eq!(get(&daemon.url, &place).json()["label"], label);
    }
    eventually("nobody waits", Duration::from_secs(5), || waiters(&daemon) == 0.0);
}

#[test]
fn connections_beyond_the_bound_wait_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["web.max_connections=4", "web.header_timeout=30s", "pool.max_instances=1"];
    let daemon = settings.iter().fold(Options::new(dir.path()), |options, setting| options.set(setting)).start();
    let mut held: Vec<Raw> = (0..4).map(|_| Raw::connect(&daemon.url)).collect();
    for raw in &mut held {
        raw.send(head("GET", "/healthz", &[]).as_bytes());
        assert_eq!(raw.answer(false).status, 200);
    }
    let mut fifth = Raw::with(&daemon.url, head("GET", "/healthz", &[]).as_bytes());
    fifth.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert!(fifth.stream.peek(&mut [0]).is_err(), "it was answered while four were open");
    held.pop();
    fifth.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(fifth.answer(false).status, 200);
}
