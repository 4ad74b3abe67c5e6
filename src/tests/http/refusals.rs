//! Every error of the contract, as JSON or text, and what it leaves of the connection.

use crate::support::client::{Answer, form};
use crate::support::daemon::Options;
use crate::support::raw::{FORM, JSON, Raw, ask, get, head, post};
use crate::support::shared::{PLAIN, STRICT};
use crate::support::{eventually, images};
use std::process::Command;
use std::time::{Duration, Instant};

/// An error answer: status and code, in JSON with three fields and the id that the client sent, and as text.
fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    if answer.header("content-type") == Some("application/json") {
        let json = answer.json();
        assert_eq!(json["error"], code, "{json}");
        assert!(json["message"].as_str().is_some_and(|text| text.len() > 5));
        assert!(json["request_id"].as_str().is_some_and(|id| !id.is_empty()));
        assert_eq!(json.as_object().unwrap().len(), 3);
    } else {
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(answer.body.starts_with(&format!("{code}: ")), "{answer:?}");
    }
    if let Some(again) = answer.header("retry-after") {
        assert!((1..=600).contains(&again.parse::<u32>().unwrap()));
    }
    assert_eq!(answer.header("retry-after").is_some(), status == 503);
}

#[test]
fn no_file() {
    let url = &PLAIN.url;
    let text = ask(url, "POST", "/", &[], b"");
    check(&text, 400, "no-file");
    check(&post(url, "/", &[], &[JSON]), 400, "no-file");
    check(&post(url, "/", &[("myfile", "", b"")], &[JSON]), 400, "no-file");
    check(&post(url, "/", &[("myfile", "empty.png", b"")], &[JSON]), 400, "no-file");
    check(&post(url, "/", &[("other", "a.png", &images::png([0; 3], 1))], &[]), 400, "no-file");
    let encoded = [("Content-Type", "application/x-www-form-urlencoded"), JSON, ("X-Request-Id", "mine")];
    let answer = ask(url, "POST", "/", &encoded, b"myfile=photo.jpg");
    check(&answer, 400, "no-file");
    assert_eq!(answer.json()["request_id"], "mine");
    check(&ask(url, "PUT", "/classify", &[], b""), 400, "no-file");
}

#[test]
fn forms_that_cannot_be_read() {
    let whole = form(&[("myfile", "a.png", &images::png([0; 3], 1))]);
    for body in [&whole[..whole.len() - 10], &whole[..40], b"hello", b"--XyZ42"] {
        check(&ask(&PLAIN.url, "POST", "/", &[FORM, JSON], body), 400, "bad-form");
    }
    let no_boundary = [("Content-Type", "multipart/form-data"), JSON];
    check(&ask(&PLAIN.url, "POST", "/", &no_boundary, &whole), 400, "bad-form");
}

#[test]
fn what_is_not_here_and_what_is_not_done() {
    let url = &PLAIN.url;
    for path in ["/metrics", "/pool", "/nothing", "/classifyx", "//"] {
        check(&get(url, path), 404, "not-found");
        check(&ask(url, "POST", path, &[JSON], b"hello"), 404, "not-found");
    }
    for (method, path, allow) in [
        ("DELETE", "/", "GET, HEAD, POST"),
        ("PUT", "/", "GET, HEAD, POST"),
        ("GET", "/classify", "POST, PUT"),
        ("DELETE", "/classify/a.png", "POST, PUT"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/readyz", "GET, HEAD"),
        ("DELETE", "/results/8d5a6b1e-0c1d-4a51-9b1d-3f6f0b1d2c3e", "GET, HEAD"),
    ] {
        let answer = ask(url, method, path, &[JSON], b"");
        check(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn what_is_no_image_is_neither_stored_nor_sent() {
    let text = b"An ordinary text that calls itself a photograph.".as_slice();
    let (heic, avif) = (images::container("heic"), images::container("avif"));
    let png = images::png([0; 3], 1);
    for (bytes, code, word) in [
        (text, "unsupported-image", "JPEG"),
        (&png[..4], "unsupported-image", "JPEG"),
        (b"\xff\xd8\xff\xe0", "unsupported-image", "JPEG"),
        (&heic, "convert-first", "heif-convert"),
        (&avif, "convert-first", "AVIF"),
    ] {
        let answer = post(&PLAIN.url, "/", &[("myfile", "photo.marked.jpg", bytes)], &[JSON]);
        check(&answer, 415, code);
        assert!(answer.body.contains(word), "{answer:?}");
        check(&post(&PLAIN.url, "/", &[("myfile", "photo.marked.jpg", bytes)], &[]), 415, code);
        check(&ask(&PLAIN.url, "PUT", "/classify/photo.marked.jpg", &[], bytes), 415, code);
    }
    let stored = std::fs::read_dir(PLAIN.state.join("input")).unwrap().map(|id| id.unwrap().path());
    let found: Vec<_> = stored.filter(|id| id.join("photo.marked.jpg").exists()).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn images_that_cannot_be_decoded() {
    let (png, jpeg) = (images::png([255, 0, 0], 1), images::jpeg([255, 0, 0]));
    for bytes in [&png[..png.len() / 2], &png[..40], &jpeg[..jpeg.len() / 2], &jpeg[..20]] {
        check(&post(&PLAIN.url, "/", &[("myfile", "a", bytes)], &[JSON]), 422, "undecodable-image");
    }
    check(&post(&PLAIN.url, "/", &[("myfile", "a", &jpeg[..30])], &[]), 422, "undecodable-image");
    check(&post(&PLAIN.url, "/", &[("myfile", "a", &images::huge())], &[JSON]), 422, "too-many-pixels");
}

#[test]
fn a_body_that_is_too_slow() {
    let mut raw = Raw::with(&STRICT.url, head("PUT", "/classify", &[("Content-Length", "5000")]).as_bytes());
    let began = Instant::now();
    let drip = raw.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        // every byte would reset a timer between bytes
        while (&drip).write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let answer = raw.answer(false);
    check(&answer, 408, "body-too-slow");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!((1500..8000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(raw.rest(), "");
}

#[test]
fn a_body_declared_too_large_is_not_asked_for() {
    let declared = [("Content-Length", "1048577"), ("Expect", "100-continue"), JSON];
    let mut raw = Raw::with(&STRICT.url, head("PUT", "/classify", &declared).as_bytes());
    let answer = raw.answer(false);
    check(&answer, 413, "too-large");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(raw.rest(), "", "no 100, and nothing after the answer");
    let limit = [("Content-Length", "1048576"), ("Expect", "100-continue")];
    assert_eq!(Raw::with(&STRICT.url, head("PUT", "/classify", &limit).as_bytes()).answer(false).status, 100);
}

/// A client that sends all of its body before it reads still gets to read the answer.
#[test]
fn whoever_sends_on_reads_the_refusal() {
    let length = (24 << 20).to_string();
    for headers in [[("Content-Length", length.as_str()), JSON], [("Transfer-Encoding", "chunked"), JSON]] {
        let mut raw = Raw::with(&STRICT.url, head("PUT", "/classify", &headers).as_bytes());
        let chunk = [b"100000\r\n".as_slice(), &vec![7; 1 << 20], b"\r\n"].concat();
        let chunked = headers[0].1 == "chunked";
        for _ in 0..24 {
            raw.send(if chunked { &chunk } else { &chunk[8..][..1 << 20] });
        }
        let answer = raw.answer(false);
        check(&answer, 413, "too-large");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(raw.rest(), "");
    }
}

#[test]
fn too_many_parts() {
    let image = images::png([0; 3], 1);
    let five = [("a", "a.png", &image[..]); 5];
    assert_eq!(post(&STRICT.url, "/classify", &five, &[("Prefer", "respond-async")]).status, 202);
    let fields = [("field", "", &b"x"[..]); 5];
    check(&post(&STRICT.url, "/", &[&fields[..], &five[..1]].concat(), &[JSON]), 413, "too-many-files");
}

/// The words and exit code of `bellows health` for a service at `url`.
fn health(url: &str) -> (Option<i32>, String) {
    let listen = url.trim_start_matches("http://");
    let output = Command::new(env!("CARGO_BIN_EXE_bellows")).args(["health", "--listen", listen]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned())
}

#[test]
fn while_the_model_is_fetched() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // whoever fetches holds this lock, so the daemon waits for us
    let lock = std::fs::File::create(data.path().join("pull.lock")).unwrap();
    lock.lock().unwrap();
    let mut options = Options::new(dir.path());
    options.model_dir = data.path().to_owned();
    let daemon = options.start();
    let ready = get(&daemon.url, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with("model-loading: "), "{ready:?}");
    assert_eq!(get(&daemon.url, "/healthz").status, 200);
    let image = images::png([0; 3], 1);
    let answer = post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[JSON]);
    check(&answer, 503, "model-loading");
    let (code, words) = health(&daemon.url);
    assert_eq!(code, Some(69));
    assert!(words.starts_with("not ready: model-loading"), "{words}");
}

#[test]
fn while_the_disk_is_nearly_full() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Options::new(dir.path()).set("local.min_free=1000000 GiB").set("pool.max_instances=1").start();
    let mut ready = get(&daemon.url, "/readyz");
    eventually("the model is there and the disk was looked at", Duration::from_secs(30), || {
        ready = get(&daemon.url, "/readyz");
        !ready.body.starts_with("model-loading")
    });
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with("disk-low: "), "{ready:?}");
    let answer = post(&daemon.url, "/", &[("myfile", "a.png", &images::png([0; 3], 1))], &[JSON]);
    check(&answer, 507, "disk-low");
    let (code, words) = health(&daemon.url);
    assert_eq!((code, words.starts_with("not ready: disk-low: ")), (Some(69), true), "{words}");
}

#[test]
fn a_ready_service_is_healthy() {
    assert_eq!(health(&PLAIN.url), (Some(0), "ready".into()));
    let (code, words) = health("http://127.0.0.1:9");
    assert_eq!((code, words.starts_with("nothing listens on 127.0.0.1:9")), (Some(69), true), "{words}");
}
