//! Every way to send one image, and every way its answer looks.

use crate::support::client::{form, sha256};
use crate::support::daemon::{Daemon, Options};
use crate::support::images;
use crate::support::raw::{FORM, JSON, Raw, ask, head, post};
use crate::support::shared::PLAIN;
use serde_json::Value;

const TEXT: &str = "text/plain; charset=utf-8";

#[test]
fn fields_of_the_upload_form() {
    let red = images::png([255, 0, 0], 1);
    for (field, expected) in [("myfile", "red"), ("file", "red"), ("inputFile", "test_0:red")] {
        let answer = post(&PLAIN.url, "/", &[(field, "test_0.JPEG", &red)], &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
        assert_eq!(answer.header("content-type"), Some(TEXT));
    }
    // other fields are no files, wherever they stand
    let answer = post(&PLAIN.url, "/", &[("note", "", b"hello"), ("inputFile", "a.b.png", &red), ("x", "", b"")], &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "a.b:red"));
}

#[test]
fn a_part_with_a_content_type_and_a_name_beyond_ascii() {
    let blue = images::png([0, 0, 255], 2);
    let mut body = "--XyZ42\r\nContent-Disposition: form-data; name=\"inputFile\"; filename=\"größe 1.png\"\r\n\
        Content-Type: application/x-nonsense\r\n\r\n"
        .as_bytes()
        .to_vec();
    body.extend([&blue[..], b"\r\n--XyZ42--\r\n"].concat());
    let answer = ask(&PLAIN.url, "POST", "/", &[FORM], &body);
    assert_eq!((answer.status, answer.body.as_str()), (200, "größe 1:blue"));
}

/// The names of an object's fields, in the order in which they are written.
fn fields(json: &str) -> Vec<String> {
    let keys = json.match_indices('"').map(|(at, _)| at).collect::<Vec<_>>();
    let mut depth = 0;
    let mut names = Vec::new();
    let mut quotes = keys.chunks_exact(2).peekable();
    for (at, c) in json.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ':' if depth == 1 => {
                while quotes.peek().is_some_and(|pair| pair[1] + 1 < at) {
                    quotes.next();
                }
                if let Some([from, to]) = quotes.peek().filter(|pair| pair[1] + 1 == at) {
                    names.push(json[from + 1..*to].to_owned());
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn json_with_the_fields_of_the_contract() {
    let green = images::png([0, 255, 0], 3);
    let answer = post(&PLAIN.url, "/", &[("myfile", "dir/leaf.png", &green)], &[JSON]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let expected =
        ["request_id", "file", "sha256", "label", "predictions", "model", "worker", "timings_ms"].map(str::to_owned);
    assert_eq!(fields(&answer.body), expected);
    let json = answer.json();
    assert_eq!((&json["file"], &json["label"]), (&"leaf.png".into(), &"green".into()));
    assert_eq!(json["sha256"], sha256(&green));
    let predictions = json["predictions"].as_array().unwrap();
    let numbers: Vec<f64> = predictions.iter().map(|p| p["probability"].as_f64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a >= b) && numbers[0] <= 1.0, "{numbers:?}");
    assert_eq!(predictions[0]["label"], "green");
    assert!(predictions[0]["index"].is_u64());
    for (object, names) in [
        ("model", &["name", "sha256", "engine"][..]),
        ("worker", &["app_tier_id", "instance_id"]),
        ("timings_ms", &["queue", "fetch", "decode", "infer", "total"]),
    ] {
        let found: Vec<&String> = json[object].as_object().unwrap().keys().collect();
        assert_eq!(found.len(), names.len());
        assert!(names.iter().all(|name| !json[object][*name].is_null()), "{object}: {json}");
    }
    assert!(json["timings_ms"].as_object().unwrap().values().all(|v| v.as_f64().unwrap() >= 0.0));
    // the same object for ever after
    let id = json["request_id"].as_str().unwrap();
    assert_eq!(ask(&PLAIN.url, "GET", &format!("/results/{id}"), &[], b"").json(), json);
    assert_eq!(ask(&PLAIN.url, "GET", &format!("/results/{id}"), &[("Accept", "text/plain")], b"").body, "green");
}

fn check_one(json: &Value, file: &str, label: &str, image: &[u8]) {
    assert_eq!((&json["file"], &json["label"]), (&file.into(), &label.into()), "{json}");
    assert_eq!(json["sha256"], sha256(image));
}

#[test]
fn a_raw_body_by_put_and_post() {
    for (n, method) in ["PUT", "POST"].into_iter().enumerate() {
        let (image, label) = images::numbered(n as u32);
        for (path, file) in [
            ("/classify", "image"),
            ("/classify/photo.png", "photo.png"),
            ("/classify/gr%C3%B6%C3%9Fe%20%251.png", "größe %1.png"),
            ("/classify/a%2Fb%5Cc.png", "c.png"),
            ("/classify/x%3Btouch%20PWNED%3B.JPEG", "x;touch PWNED;.JPEG"),
        ] {
            let answer = ask(&PLAIN.url, method, path, &[], &image);
            assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
            check_one(&answer.json(), file, label, &image);
        }
        // as `curl --data-binary` declares it
        let declared = [("Content-Type", "application/x-www-form-urlencoded")];
        check_one(&ask(&PLAIN.url, method, "/classify", &declared, &image).json(), "image", label, &image);
    }
}

#[test]
fn a_put_that_asks_first_and_a_chunked_one() {
    let (image, label) = images::numbered(4);
    let length = image.len().to_string();
    let expect = [("Content-Length", length.as_str()), ("Expect", "100-continue")];
    let mut raw = Raw::with(&PLAIN.url, head("PUT", "/classify/a.png", &expect).as_bytes());
    assert_eq!(raw.answer(false).status, 100);
    raw.send(&image);
    check_one(&raw.answer(false).json(), "a.png", label, &image);

    let mut raw = Raw::with(&PLAIN.url, head("PUT", "/classify/b.png", &[("Transfer-Encoding", "chunked")]).as_bytes());
    for chunk in image.chunks(50) {
        raw.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    raw.send(b"0\r\n\r\n");
    check_one(&raw.answer(false).json(), "b.png", label, &image);
}

#[test]
fn a_form_at_classify_takes_any_field_name() {
    let (image, label) = images::numbered(5);
    for field in ["myfile", "picture", ""] {
        let answer = post(&PLAIN.url, "/classify", &[(field, "a.png", &image)], &[]);
        check_one(&answer.json(), "a.png", label, &image);
    }
    // one without a file name holds no file there, and POST / knows only its own names
    let body = form(&[("picture", "a.png", &image)]);
    assert_eq!(ask(&PLAIN.url, "POST", "/", &[FORM], &body).status, 400);
}

#[test]
fn every_format_that_is_read() {
    use image::ImageFormat as F;
    let picture = image::RgbImage::from_pixel(40, 30, image::Rgb([255, 255, 0]));
    for format in [F::Jpeg, F::Png, F::Gif, F::WebP, F::Bmp, F::Tiff] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        let answer = post(&PLAIN.url, "/", &[("myfile", "a.txt", bytes.get_ref())], &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "yellow"), "{format:?}");
    }
}

fn with_format(format: &str) -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path()).set("pool.max_instances=1").set(&format!("web.response_format={format}"));
    let daemon = options.start_warm(1);
    (dir, daemon)
}

#[test]
fn the_answers_of_the_original() {
    let image = images::png([255, 0, 0], 6);
    let parts: [(&str, &str, &[u8]); 1] = [("myfile", "test_0.JPEG", &image)];
    let (_dir, daemon) = with_format("tuple");
    let answer = post(&daemon.url, "/", &parts, &[]);
    assert_eq!((answer.body.as_str(), answer.header("content-type")), ("(test_0,red)", Some(TEXT)));
    assert_eq!(post(&daemon.url, "/", &parts, &[JSON]).json()["label"], "red");

    let (_dir, daemon) = with_format("original");
    let answer = post(&daemon.url, "/", &parts, &[]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let rest = answer.body.strip_prefix("{\"").unwrap();
    let (stamp, rest) = rest.split_at("2024-02-29 12:00:00.123000".len());
    assert_eq!(rest, r#" message":"Classification result: test_0.JPEG,red\n"}"#);
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00.000000");
}
