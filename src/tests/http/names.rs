//! File names are data: in JSON as they were sent, else 400; never a header.

use crate::support::client::Answer;
use crate::support::images;
use crate::support::raw::{FORM, JSON, ask, post};
use crate::support::shared::PLAIN;

fn refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["error"], code, "{answer:?}");
}

#[test]
fn what_no_file_is_called() {
    let red = images::png([255, 0, 0], 20);
    for path in ["/classify/a%00b.png", "/classify/a%0Db.png", "/classify/a%0Ab.png", "/classify/%FF.png"] {
        refused(&ask(&PLAIN.url, "PUT", path, &[], &red), "bad-file-name");
    }
    let long = "x".repeat(1025);
    refused(&ask(&PLAIN.url, "PUT", &format!("/classify/{long}"), &[], &red), "file-name-too-long");
    refused(&post(&PLAIN.url, "/", &[("myfile", &long, &red)], &[JSON]), "file-name-too-long");
}

#[test]
fn what_no_form_names_a_file() {
    let red = images::png([255, 0, 0], 21);
    let named = |name: &[u8]| {
        let start = b"--XyZ42\r\nContent-Disposition: form-data; name=\"myfile\"; filename=\"";
        [start.as_slice(), name, b"\"\r\n\r\n", &red, b"\r\n--XyZ42--\r\n"].concat()
    };
    for (name, code) in
        [(b"a\xffb.png".as_slice(), "bad-file-name"), (b"a\0b.png", "bad-form"), (b"a\rb.png", "bad-form")]
    {
        refused(&ask(&PLAIN.url, "POST", "/", &[FORM, JSON], &named(name)), code);
    }
    // a line feed ends a header line: no name is left, and none of it becomes a header
    let answer = ask(&PLAIN.url, "POST", "/", &[FORM, JSON], &named(b"a\nX-Evil: 1\r\n\r\nb.png"));
    assert!(answer.header("x-evil").is_none() && (answer.status == 400 || answer.status == 415), "{answer:?}");
}

#[test]
fn a_name_that_only_its_extended_form_tells() {
    let red = images::png([255, 0, 0], 23);
    let sent = |names: &str| {
        let head = format!("--XyZ42\r\nContent-Disposition: form-data; {names}\r\n\r\n");
        let body = [head.as_bytes(), &red, b"\r\n--XyZ42--\r\n"].concat();
        ask(&PLAIN.url, "POST", "/classify", &[FORM, JSON], &body)
    };
    let extended = "filename*=UTF-8''gr%C3%B6%C3%9Fe%201.png";
    for (names, file) in [
        (format!("name=\"myfile\"; {extended}"), "größe 1.png"),
        (format!("name=x; {}", extended.to_lowercase()), "größe 1.png"),
        (format!("name=\"myfile\"; filename=\"plain.png\"; {extended}"), "plain.png"),
        ("name=\"myfile\"; filename*=utf-8'en'..%2F..%2Fup.png".into(), "up.png"),
    ] {
        let answer = sent(&names);
        assert_eq!((answer.status, &answer.json()["file"]), (200, &file.into()), "{names}");
    }
    for names in ["filename*=UTF-8''%FF.png", "filename*=ISO-8859-1''%E4.png", "filename*=x.png"] {
        refused(&sent(&format!("name=myfile; {names}")), "bad-file-name");
    }
    refused(&sent("name=myfile; filename*=UTF-8''a%0Db.png"), "bad-file-name");
}

#[test]
fn odd_names_stay_as_they_are() {
    let red = images::png([255, 0, 0], 22);
    let longest = "y".repeat(1024);
    for name in ["..", ".", "%2e%2e%2fx", "-rf *", "tab\there", "$(reboot).png", "👩‍🚀.png", &longest] {
        let answer = post(&PLAIN.url, "/", &[("myfile", name, &red)], &[JSON]);
        assert_eq!((answer.status, &answer.json()["file"]), (200, &name.into()));
    }
}
