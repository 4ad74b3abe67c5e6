//! `bellows batch`.

use super::liar::{self, Asked, http, right};
use super::{bellows, ended, pictures, run};
use crate::support::client::sha256;
use crate::support::daemon::Options;
use crate::support::emulator::{self, KEY, Place, REGION};
use crate::support::shared::PLAIN;
use crate::support::{eventually, images};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The rows of a table by file; no file has two.
fn rows(table: &Path) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for row in csv::Reader::from_path(table).unwrap().records() {
        let row: Vec<String> = row.unwrap().iter().map(str::to_owned).collect();
        let twice = rows.insert(row[0].clone(), row);
        assert_eq!(twice, None, "two rows of one file");
    }
    rows
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table, state) = (dir.path().join("in"), dir.path().join("labels.csv"), dir.path().join("state"));
    pictures(&folder, 40);
    std::fs::create_dir(folder.join("deep")).unwrap();
    std::fs::write(folder.join("deep/notes, no \"image\".jpg"), "milk and eggs").unwrap();
    let daemon = Options::new(&state).set("app.pause=100ms").start_warm(2);
    let metrics = daemon.metrics.replace("/metrics", "/");
    let arguments = ["batch", folder.to_str().unwrap(), "--out", table.to_str().unwrap(), "--url", &daemon.url];
    let arguments = [&arguments[..], &["--metrics", &metrics]].concat();

    let mut first = bellows(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let lines = || std::fs::read_to_string(&table).unwrap_or_default().lines().count();
    eventually("some answers are there", Duration::from_secs(60), || lines() > 10);
    first.kill().unwrap();
    first.wait().unwrap();
    // as a power cut may leave it
    let text = std::fs::read(&table).unwrap();
    std::fs::write(&table, &text[..text.len() - 3]).unwrap();
    let before = lines() - 2;
    assert!((5..40).contains(&before), "{before} rows");
    let submitted = || daemon.metric("bellows_requests_submitted_total").unwrap();
    eventually("what the first run sent is worked off", Duration::from_secs(60), || daemon.is_drained());
    let sent = submitted();

    let (code, _, err) = run(&arguments);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains(&format!("({before} were there)")), "{err}");
    // the text was refused before it was accepted, in one of the runs
    let missing = (41 - before) as f64;
    assert!((missing - 1.0..=missing).contains(&(submitted() - sent)), "only what is missing is asked for");
    let rows = rows(&table);
    assert_eq!(rows.len(), 41);
    for n in 0..40 {
        let (image, label) = images::numbered(n);
        let row = &rows[&format!("{n}.png")];
        assert_eq!(row[1..2], [label], "{row:?}");
        assert!(row[2].parse::<f32>().unwrap() > 0.1, "{row:?}");
        assert_eq!(row[3..], [sha256(&image), String::new()], "{row:?}");
    }
    let text = &rows["deep/notes, no \"image\".jpg"];
    assert_eq!(text[1..], [String::new(), String::new(), sha256(b"milk and eggs"), "unsupported-image".into()]);

    let (code, _, err) = run(&arguments);
    assert_eq!((code, err.contains("41 files, all in ")), (0, true), "{err}");
    // its table is what `load` expects, errors included
    let expect = ["load", &daemon.url, "--images", arguments[1], "--expect", arguments[3]];
    let (code, out, _) = run(&expect);
    assert_eq!((code, out.contains("right 41, wrong 0")), (0, true), "{out}");
}

#[test]
fn no_more_images_are_out_than_the_pool_has_slots() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("in");
    pictures(&folder, 40);
    let metrics = liar::start(|asked| {
        if asked.head.starts_with("GET /pool ") {
            http(200, "", r#"{"max_instances":3,"slots_an_instance":2}"#)
        } else {
            http(404, "", "")
        }
    });
    for (further, expected) in [(vec!["--metrics", metrics.as_str()], 6), (vec!["--concurrency", "2"], 2)] {
        let (out, most) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicI32::new(0)));
        let counted = most.clone();
        let url = liar::start(move |asked| {
            counted.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            out.fetch_sub(1, Ordering::SeqCst);
            http(200, "", &right(&asked.body, "black"))
        });
        let table = dir.path().join(format!("{expected}.csv"));
        let arguments = ["batch", folder.to_str().unwrap(), "--url", &url, "--out", table.to_str().unwrap()];
        let (code, _, err) = run(&[&arguments[..], &further].concat());
        assert_eq!((code, most.load(Ordering::SeqCst)), (0, expected), "{err}");
    }
}

/// One run over three images with a server that answers like this.
fn lied_to(answer: impl Fn(Asked) -> liar::Answer + Send + Sync + 'static) -> (i32, String, usize) {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = (dir.path().join("in"), dir.path().join("labels.csv"));
    pictures(&folder, 3);
    let url = liar::start(answer);
    let arguments = ["batch", folder.to_str().unwrap(), "--out", table.to_str().unwrap(), "--url", &url];
    let (code, _, err) = run(&[&arguments[..], &["--wait", "2s", "--concurrency", "1"]].concat());
    (code, err, rows(&table).len())
}

#[test]
fn what_is_no_answer_is_no_row() {
    let (code, err, rows) = lied_to(|_| http(200, "", &right(b"another image", "black")));
    assert!(code == 1 && rows == 0 && err.contains("3 left") && err.contains("another image"), "{err}");
    let (code, err, rows) = lied_to(|_| http(503, "Retry-After: 1\r\n", "{}"));
    assert!(code == 1 && rows == 0 && err.contains("given up") && err.contains("3 left"), "{err}");
    let (code, err, rows) = lied_to(|_| liar::closed());
    assert!(code == 1 && rows == 0 && err.contains("3 left"), "{err}");
    let (code, err, rows) = lied_to(|_| http(401, "", r#"{"error":"unauthorized"}"#));
    assert!(code == 1 && rows == 0 && err.contains("unauthorized") && err.contains("3 left"), "{err}");
    // a connection that breaks, and a full queue, are met with patience
    let (code, err, rows) = lied_to(|asked| match asked.n {
        0 => liar::closed(),
        2 => http(429, "Retry-After: 1\r\n", "{}"),
        _ => http(200, "", &right(&asked.body, "black")),
    });
    assert!(code == 0 && rows == 3 && err.contains("3 labelled, 0 with an error, 0 left"), "{err}");
}

/// What AWS tools find in the environment.
fn with_account(command: &mut std::process::Command, place: &Place) {
    command.envs([("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", KEY), ("AWS_REGION", REGION)]);
    command.env("AWS_ENDPOINT_URL", format!("{}/", place.endpoint)).env("AWS_EC2_METADATA_DISABLED", "true");
}

#[test]
fn what_lies_in_a_bucket_is_a_folder_too() {
    if !emulator::is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (place, table) = (Place::new(), dir.path().join("labels.csv"));
    let bucket = place.bucket("pictures");
    let put = |key: &str, bytes: Vec<u8>| place.put(&bucket, key, &bytes);
    put("2026/a.png", images::png([255, 0, 0], 1));
    put("2026/deep/b%20c.PNG", images::png([0, 0, 255], 2));
    put("2026/notes.txt", b"milk".to_vec());
    put("2026/broken.jpg", b"milk".to_vec());
    put("2025/old.png", images::png([0, 255, 0], 3));
    let place_of = |prefix: &str| format!("s3://{bucket}/{prefix}");
    let batch = |prefix: &str| {
        let from = place_of(prefix);
        let mut command = bellows(&["batch", &from, "--out", table.to_str().unwrap(), "--url", &PLAIN.url]);
        with_account(&mut command, &place);
        ended(&command.output().unwrap())
    };
    let (code, _, err) = batch("2026/");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("2 labelled, 1 with an error, 0 left"), "{err}");
    let rows = rows(&table);
    let labels: Vec<_> = rows.iter().map(|(file, row)| (file.as_str(), row[1].as_str(), row[4].as_str())).collect();
    let expected = [("a.png", "red", ""), ("broken.jpg", "", "unsupported-image"), ("deep/b c.PNG", "blue", "")];
    assert_eq!(labels, expected);
    let (code, _, err) = batch("2026/");
    assert!(code == 0 && err.contains("3 files, all in"), "{err}");
    let (code, _, err) = batch("nothing/");
    assert!(code == 64 && err.contains("no image is there"), "{err}");
}

#[test]
fn mistakes_are_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table, other) = (dir.path().join("in"), dir.path().join("labels.csv"), dir.path().join("other.csv"));
    pictures(&folder, 1);
    std::fs::write(&other, "a shopping list\n").unwrap();
    let [folder, table, other] = [&folder, &table, &other].map(|path| path.to_str().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{free}/");
    for (arguments, code, word) in [
        (vec!["s3://", "--out", table], 64, "expected s3://BUCKET/PREFIX"),
        (vec!["/absent", "--out", table], 64, "no folder is there"),
        (vec![folder], 64, "--out"),
        (vec![folder, "--out", other], 64, "is not one that `bellows batch` writes"),
        (vec![folder, "--out", "/absent/labels.csv"], 64, "/absent/labels.csv"),
        (vec![folder, "--out", table, "--url", &nobody], 69, "no connection to"),
    ] {
        let (exit, out, err) = run(&[&["batch"], &arguments[..]].concat());
        assert_eq!(exit, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
    assert_eq!(std::fs::read_to_string(other).unwrap(), "a shopping list\n");
}

#[test]
fn the_table_may_lie_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    pictures(dir.path(), 2);
    let mut command = bellows(&["batch", ".", "--out", "labels.csv", "--url", &PLAIN.url]);
    for _ in 0..2 {
        let (code, _, err) = ended(&command.current_dir(dir.path()).output().unwrap());
        assert_eq!(code, 0, "{err}");
        assert_eq!(rows(&dir.path().join("labels.csv")).len(), 2);
    }
}
