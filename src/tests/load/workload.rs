//! `bellows load`.

use super::liar::{self, Asked, http, right};
use super::{pictures, run};
use crate::support::shared::{PLAIN, STRICT};
use serde_json::Value;
use std::time::{Duration, Instant};

fn load(arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(&[&["load", "--json"], arguments].concat());
    let report = serde_json::from_str(&out).unwrap_or_else(|e| panic!("no report ({e}), exit {code}: {out}{err}"));
    (code, report)
}

#[test]
fn every_pattern_and_every_field_is_answered_rightly() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = (dir.path().join("images"), dir.path().join("labels.csv"));
    std::fs::write(&table, pictures(&folder, 12)).unwrap();
    let (folder, table) = (folder.to_str().unwrap(), table.to_str().unwrap());
    for (pattern, field, connections) in [
        ("closed", "myfile", 4),
        ("all-at-once", "raw", 30),
        ("rate=60/s", "inputFile", 8),
        ("batches=7", "raw", 7),
        ("ramp=10..100/s", "myfile", 8),
    ] {
        let connections = connections.to_string();
        let common = [&PLAIN.url, "--images", folder, "--expect", table, "--requests", "30"];
        let wanted = ["--pattern", pattern, "--field", field, "--connections", &connections];
        let (code, report) = load(&[&common[..], &wanted].concat());
        assert_eq!((code, &report["right"]), (0, &30.into()), "{pattern}: {report}");
        assert_eq!(report["statuses"], serde_json::json!({ "200": 30 }));
        let instances = report["instances"].as_object().unwrap();
        assert_eq!(instances.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 30);
        let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
        assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99_9") && latency("p99_9") <= latency("max"));
    }
}

#[test]
fn who_has_seen_enough_gets_a_report_of_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 3);
    let arguments = ["load", "--json", &PLAIN.url, "--requests", "1000000", "--connections", "2", "--images"];
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_bellows"));
    let child = child.args(arguments).arg(dir.path()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    crate::support::daemon::signal(child.id(), rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && report["right"].as_u64().unwrap() > 3, "{report}");
    assert_eq!(report["requests"], report["right"], "what was under way counts nowhere: {report}");
}

#[test]
fn a_duration_ends_a_closed_loop() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 3);
    let began = Instant::now();
    let arguments = [&PLAIN.url, "--images", dir.path().to_str().unwrap(), "--duration", "1s", "--connections", "2"];
    let (code, report) = load(&arguments);
    assert!(code == 0 && report["right"].as_u64().unwrap() > 3, "{report}");
    assert!(began.elapsed() > Duration::from_secs(1));
}

#[test]
fn a_promise_is_followed_up_for_as_long_as_told() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 1);
    let folder = dir.path().to_str().unwrap();
    let (code, report) = load(&[&STRICT.url, "--images", folder]);
    assert_eq!((code, &report["right"], &report["followed"]), (0, &1.into(), &1.into()), "{report}");
    assert_eq!(report["statuses"], serde_json::json!({ "202": 1 }));
    let (code, report) = load(&[&STRICT.url, "--images", folder, "--wait", "1500ms"]);
    assert_eq!((code, &report["lost"]), (1, &1.into()), "{report}");
}

#[test]
fn a_wrong_label_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = (dir.path().join("images"), dir.path().join("labels.csv"));
    pictures(&folder, 2);
    std::fs::write(&table, "file,label\n0.png,octarine\n").unwrap();
    let (folder, table) = (folder.to_str().unwrap(), table.to_str().unwrap());
    let (code, out, _) = run(&["load", &PLAIN.url, "--images", folder, "--expect", table]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("right 1, wrong 1") && out.contains("fault: 0.png: black; expected octarine"), "{out}");
}

/// One upload to a server that answers like this.
fn lied_to(answer: impl Fn(Asked) -> liar::Answer + Send + Sync + 'static, further: &[&str]) -> (i32, Value) {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 1);
    let url = liar::start(answer);
    load(&[&[url.as_str(), "--images", dir.path().to_str().unwrap(), "--field", "raw"], further].concat())
}

#[test]
fn without_a_url_it_asks_the_service_of_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("images"), dir.path().join("labels.csv"));
    pictures(&images, 1);
    let url = liar::start(|asked| http(200, "", &right(&asked.body, "black")));
    let listen = url.trim_start_matches("http://").trim_end_matches('/');
    let (images, listen) = (images.to_str().unwrap(), &format!("web.listen={listen}"));
    let (code, report) = load(&["--images", images, "--field", "raw", "--set", listen]);
    assert_eq!((code, &report["right"]), (0, &1.into()), "{report}");
    // its metrics listener is asked as well, and nobody is there: that is no failure
    let quiet = "--set=metrics.listen=127.0.0.1:1";
    let (code, _, told) = run(&["batch", images, "--out", out.to_str().unwrap(), "--set", listen, quiet]);
    assert_eq!(code, 0, "{told}");
    let (code, _, told) = run(&["load", "--images", images, "--set", "web.listen=nowhere"]);
    assert!(code == 78 && told.contains("web.listen"), "{code}: {told}");
}

#[test]
fn every_lie_is_found_out() {
    let (code, report) = lied_to(|asked| http(200, "", &right(&asked.body, "black")), &["--requests", "5"]);
    assert_eq!((code, &report["right"]), (0, &5.into()), "an honest one: {report}");

    let (code, report) = lied_to(|_| http(200, "", &right(b"another image", "black")), &[]);
    assert_eq!((code, &report["wrong"]), (1, &1.into()));
    assert!(report["faults"][0].as_str().unwrap().contains("another image"), "{report}");

    let (code, report) = lied_to(|_| liar::closed(), &[]);
    assert_eq!((code, &report["lost"]), (1, &1.into()), "{report}");

    let error = r#"{"error":"internal","message":"no","request_id":"1"}"#;
    let (code, report) = lied_to(move |_| http(500, "", error), &[]);
    assert_eq!((code, &report["wrong"], &report["faults"][0]), (1, &1.into(), &"0.png: status 500, internal".into()));

    let (code, report) = lied_to(|_| http(200, "", "black"), &[]);
    assert_eq!((code, &report["wrong"]), (1, &1.into()), "{report}");

    let (code, report) = lied_to(|_| http(202, "", ""), &[]);
    assert_eq!((code, &report["lost"]), (1, &1.into()), "a promise without a place: {report}");

    // half an answer, and one that breaks off after others were right
    let (code, report) = lied_to(|_| "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{".into(), &["--wait", "1s"]);
    assert_eq!((code, &report["lost"]), (1, &1.into()), "{report}");
    let late = |asked: Asked| if asked.n == 3 { liar::closed() } else { http(200, "", &right(&asked.body, "black")) };
    let (code, report) = lied_to(late, &["--requests", "6", "--connections", "1"]);
    assert_eq!((code, &report["right"], &report["lost"]), (1, &5.into(), &1.into()), "{report}");
}

#[test]
fn refusals_are_counted_and_repeated_where_wanted() {
    let busy = |asked: Asked| match asked.n {
        0 => http(429, "Retry-After: 1\r\n", "{}"),
        1 => http(503, "Retry-After: 1\r\n", "{}"),
        _ => http(200, "", &right(&asked.body, "black")),
    };
    let (code, report) = lied_to(busy, &["--retry"]);
    assert_eq!((code, &report["right"], &report["retries"]), (0, &1.into(), &2.into()), "{report}");
    assert_eq!(report["statuses"], serde_json::json!({ "200": 1, "429": 1, "503": 1 }));
    assert!(report["latency_ms"]["max"].as_f64().unwrap() > 2000.0, "the whole wait counts: {report}");

    let (code, report) = lied_to(busy, &["--requests", "3", "--connections", "1"]);
    assert_eq!((code, &report["right"], &report["refused"]), (0, &1.into(), &2.into()), "{report}");
    let never = |_| http(503, "Retry-After: 18446744073709551615\r\n", "{}");
    let (code, report) = lied_to(never, &["--retry"]);
    assert_eq!((code, &report["refused"]), (1, &1.into()), "nobody waits so long: {report}");
}

#[test]
fn a_stall_counts_for_every_upload_that_it_held_up() {
    let stall = |asked: Asked| {
        if asked.n == 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        http(200, "", &right(&asked.body, "black"))
    };
    let rate = ["--requests", "20", "--pattern", "rate=50/s", "--connections", "1"];
    let (code, report) = lied_to(stall, &rate);
    // 20 uploads were due within 400 ms of a stall of 1 s: all of them waited for more than half of it
    assert!(code == 0 && report["latency_ms"]["p50"].as_f64().unwrap() > 500.0, "{report}");
    assert!(report["late"].as_u64().unwrap() >= 15, "{report}");
    // a closed loop sees it once
    let (_, report) = lied_to(stall, &["--requests", "20", "--connections", "1"]);
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() < 500.0, "{report}");
}

#[test]
fn mistakes_are_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 1);
    let folder = dir.path().to_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}/");
    for (arguments, code, word) in [
        (vec![nobody.as_str(), "--images", folder], 69, "no connection to"),
        (vec!["https://a/", "--images", folder], 64, "TLS is not part of this build"),
        (vec![&nobody], 64, "--images"),
        (vec![&nobody, "--images", "/absent"], 64, "/absent"),
        (vec![&nobody, "--images", folder, "--pattern", "rate=fast"], 64, "ramp=A..B/s"),
        (vec![&nobody, "--images", folder, "--requests", "0"], 64, "--requests"),
        (vec![&nobody, "--images", folder, "--duration", "soon"], 64, "250ms"),
        (vec![&nobody, "--images", folder, "--expect", "/absent.csv"], 64, "/absent.csv"),
        (vec![&nobody, "--images", folder, "--token", "@/absent"], 64, "/absent"),
    ] {
        let (exit, out, err) = run(&[&["load"], &arguments[..]].concat());
        assert_eq!(exit, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
}

#[test]
fn a_token_is_shown_and_never_printed() {
    let token = |asked: Asked| {
        let known = asked.head.to_ascii_lowercase().contains("authorization: bearer s3cret\r\n");
        http(if known { 200 } else { 401 }, "", &right(&asked.body, "black"))
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let (code, report) = lied_to(token, &["--token", &format!("@{}", file.display())]);
    assert_eq!(code, 0, "{report}");
    let (code, report) = lied_to(token, &["--token", "wr0ng"]);
    assert!(code == 1 && !report.to_string().contains("wr0ng"), "{report}");
}
