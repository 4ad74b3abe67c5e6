//! Several images in one upload, answers that come later, and /results.

use crate::support::client::{Answer, sha256};
use crate::support::daemon::Options;
use crate::support::raw::{JSON, get, post};
use crate::support::shared::{PLAIN, STRICT};
use crate::support::{eventually, images};
use serde_json::Value;
use std::time::Duration;

const ASYNC: (&str, &str) = ("Prefer", "respond-async");
const SOON: Duration = Duration::from_mins(1);

/// Where the answer will be; every 202 says it, with a time to come again.
fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let again: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&again));
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("/results/"), "{location}");
    location.to_owned()
}

fn finished(url: &str, location: &str) -> Answer {
    let mut last = None;
    eventually("the result is there", SOON, || {
        let answer = get(url, location);
        if answer.status == 202 {
            assert_eq!(self::location(&answer), location);
        }
        let done = answer.status != 202;
        last = Some(answer);
        done
    });
    last.unwrap()
}

/// Four images, of which the second is none and the third is cut off.
fn mixed() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let cut = images::png([255, 0, 0], 9);
    vec![
        ("a", "one.png", images::png([255, 0, 0], 7)),
        ("b", "two.png", b"this is no image at all".to_vec()),
        ("c", "three.png", cut[..cut.len() / 2].to_vec()),
        ("d", "four.png", images::png([0, 0, 255], 8)),
    ]
}

fn parts<'a>(images: &'a [(&'a str, &'a str, Vec<u8>)]) -> Vec<(&'a str, &'a str, &'a [u8])> {
    images.iter().map(|(field, file, bytes)| (*field, *file, &bytes[..])).collect()
}

fn check_mixed(json: &Value, sent: &[(&str, &str, Vec<u8>)]) {
    let results = json["results"].as_array().unwrap();
    let files: Vec<&str> = results.iter().map(|r| r["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["one.png", "two.png", "three.png", "four.png"]);
    assert_eq!((&results[0]["label"], &results[0]["sha256"]), (&"red".into(), &sha256(&sent[0].2).into()));
    assert_eq!((&results[1]["error"], &results[1]["status"]), (&"unsupported-image".into(), &415.into()));
    assert_eq!((&results[2]["error"], &results[2]["status"]), (&"undecodable-image".into(), &422.into()));
    assert_eq!((&results[3]["label"], &results[3]["sha256"]), (&"blue".into(), &sha256(&sent[3].2).into()));
}

#[test]
fn several_files_in_the_order_sent_with_errors_in_their_places() {
    let sent = mixed();
    let answer = post(&PLAIN.url, "/classify", &parts(&sent), &[]);
    assert_eq!(answer.status, 200);
    check_mixed(&answer.json(), &sent);
    // nothing but errors is a list as well
    let answer = post(&PLAIN.url, "/classify", &parts(&sent[1..3]), &[]);
    assert_eq!((answer.status, answer.json()["results"].as_array().unwrap().len()), (200, 2));
}

#[test]
fn a_hundred_files_keep_their_order() {
    let images: Vec<_> = (0..100).map(images::numbered).collect();
    let names: Vec<String> = (0..100).map(|n| format!("{n}.png")).collect();
    let parts: Vec<(&str, &str, &[u8])> =
        names.iter().zip(&images).map(|(name, (image, _))| ("f", name.as_str(), &image[..])).collect();
    let answer = post(&PLAIN.url, "/classify", &parts, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 100);
    for (n, (result, (image, label))) in results.iter().zip(&images).enumerate() {
        assert_eq!((&result["file"], &result["label"]), (&format!("{n}.png").into(), &(*label).into()));
        assert_eq!(result["sha256"], sha256(image));
    }
}

#[test]
fn a_batch_that_is_not_waited_for() {
    let sent = mixed();
    let answer = post(&STRICT.url, "/classify", &parts(&sent), &[ASYNC]);
    let batch = location(&answer);
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for n in [0, 2, 3] {
        let (one, id) = (&results[n], results[n]["request_id"].as_str().unwrap());
        assert_eq!(one["location"], format!("/results/{id}"));
        assert_eq!(one.as_object().unwrap().len(), 3, "{one}");
        assert_ne!(batch, format!("/results/{id}"));
    }
    // known at once, so it is told at once
    assert_eq!(results[1]["error"], "unsupported-image");
    let early = get(&STRICT.url, &batch);
    assert_eq!(location(&early), batch);
    assert_eq!(early.json()["results"].as_array().unwrap().len(), 4);
    let done = finished(&STRICT.url, &batch);
    assert_eq!(done.status, 200);
    check_mixed(&done.json(), &sent);
}

#[test]
fn one_file_that_is_not_waited_for() {
    let image = images::png([0, 255, 255], 10);
    let parts: [(&str, &str, &[u8]); 1] = [("inputFile", "a ü.png", &image)];
    let answer = post(&STRICT.url, "/", &parts, &[ASYNC]);
    let text = location(&answer);
    assert_eq!(answer.body, format!("pending: {text}"));
    let answer = post(&STRICT.url, "/", &parts, &[ASYNC, JSON]);
    let (json, place) = (answer.json(), location(&answer));
    assert_eq!(json["location"], place);
    assert_eq!(place, format!("/results/{}", json["request_id"].as_str().unwrap()));
    assert_eq!(json["file"], "a ü.png");
    let pending = get(&STRICT.url, &place);
    assert_eq!((pending.status, pending.json()), (202, json));
    for place in [text, place] {
        let done = finished(&STRICT.url, &place).json();
        assert_eq!((&done["label"], &done["file"]), (&"cyan".into(), &"a ü.png".into()));
    }
}

#[test]
fn a_wait_that_is_too_short() {
    let image = images::png([255, 0, 255], 11);
    let answer = post(&STRICT.url, "/", &[("myfile", "a.png", &image)], &[]);
    let place = location(&answer);
    assert_eq!(answer.body, format!("pending: {place}"));
    assert_eq!(finished(&STRICT.url, &place).json()["label"], "magenta");
}

#[test]
fn a_failed_image_keeps_its_status() {
    let cut = images::jpeg([255, 0, 0]);
    let answer = post(&PLAIN.url, "/", &[("myfile", "cut.jpg", &cut[..cut.len() / 2])], &[ASYNC]);
    let failed = finished(&PLAIN.url, &location(&answer));
    assert_eq!(failed.status, 422);
    let json = failed.json();
    assert_eq!(json["error"], "undecodable-image");
    assert_eq!(format!("/results/{}", json["request_id"].as_str().unwrap()), location(&answer));
    assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
}

#[test]
fn ids_that_nobody_has() {
    for path in ["/results/8d5a6b1e-0c1d-4a51-9b1d-3f6f0b1d2c3e", "/results/nonsense", "/results/", "/results/../x"] {
        let answer = get(&PLAIN.url, path);
        assert_eq!((answer.status, &answer.json()["error"]), (404, &"not-found".into()), "{path}");
    }
}

#[test]
fn results_outlive_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path()).set("pool.max_instances=1");
    let mut first = options.start_warm(1);
    let sent = mixed();
    let one = post(&first.url, "/classify", &parts(&sent[..1]), &[]).json();
    let batch = location(&post(&first.url, "/classify", &parts(&sent), &[ASYNC]));
    assert!(first.stop().success());
    let second = options.start();
    let place = format!("/results/{}", one["request_id"].as_str().unwrap());
    assert_eq!(get(&second.url, &place).json(), one);
    check_mixed(&finished(&second.url, &batch).json(), &sent);
}
