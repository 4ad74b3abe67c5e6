//! What strangers send, each followed by a good photograph that must be answered right.

use crate::support::client::form;
use crate::support::daemon::{Daemon, Options};
use crate::support::python::{python, run};
use crate::support::raw::{FORM, JSON, Raw, ask, head, post};
use crate::support::{eventually, images, odd, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A daemon that lives in a folder of its own, in which nothing but its state may appear.
struct Target {
    daemon: Daemon,
    folder: TempDir,
    /// How long the good photographs took.
    took: Vec<Duration>,
}

impl Target {
    fn new(settings: &[&str]) -> Target {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("a/b/c");
        std::fs::create_dir_all(&home).unwrap();
        let options = Options::new(&folder.path().join("a/b/state")).set("pool.min_instances=1");
        let options = settings.iter().fold(options, |options, setting| options.set(setting));
        let daemon = options.start_under(&format!("cd '{}'", home.display()));
        daemon.wait_warm(1);
        Target { daemon, folder, took: Vec::new() }
    }

    fn url(&self) -> &str {
        &self.daemon.url
    }

    /// A good photograph is answered right after `what`.
    fn good(&mut self, what: &str) {
        let (image, label) = images::numbered(self.took.len() as u32);
        let began = Instant::now();
        let answer = post(self.url(), "/", &[("myfile", "good.png", &image)], &[]);
        assert_eq!((answer.status, answer.body.as_str()), (200, label), "after {what}");
        self.took.push(began.elapsed());
    }

    /// Sends an image; its status and, where it has one, its label.
    fn send(&self, name: &str, bytes: &[u8]) -> (u16, String) {
        let answer = ask(self.url(), "PUT", &format!("/classify/{name}"), &[], bytes);
        let label = answer.json()["label"].as_str().unwrap_or_default().to_owned();
        (answer.status, label)
    }

    /// Nobody waits, nothing panicked, nothing lies outside the state folder, and the good ones were quick.
    fn unharmed(mut self) {
        eventually("nobody waits", Duration::from_secs(90), || self.daemon.metric("bellows_waiters") == Some(0.0));
        let printed = self.daemon.printed();
        assert!(!printed.contains("panicked"), "{printed}");
        let state = &self.daemon.state;
        let outside: Vec<_> = files(self.folder.path()).into_iter().filter(|path| !path.starts_with(state)).collect();
        assert!(outside.is_empty(), "{outside:?}");
        self.took.sort_unstable();
        let (median, most) = (self.took[self.took.len() / 2], self.took[self.took.len() - 1]);
        println!("{} good photographs: median {median:?}, most {most:?}", self.took.len());
        // 2 s and 0.2 s are asked for of a machine that does nothing else
        assert!(most < Duration::from_secs(10) && median < Duration::from_secs(1), "median {median:?}, most {most:?}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map_while(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_format_cut_off_anywhere() {
    let mut target = Target::new(&[]);
    for (name, format) in odd::FORMATS {
        let whole = odd::red(format);
        assert_eq!(target.send(&format!("whole.{name}"), &whole), (200, "red".into()), "{name}");
        for part in 1..50 {
            let (status, _) = target.send(&format!("cut.{name}"), &whole[..whole.len() * part / 50]);
            assert!([415, 422].contains(&status), "{name}, {part}/50: {status}");
        }
        let (status, _) = target.send(&format!("four.{name}"), &whole[..4]);
        assert_eq!(status, 415, "{name}");
        target.good(name);
    }
    target.unharmed();
}

#[test]
fn odd_images_get_the_label_of_plain_ones() {
    let mut target = Target::new(&[]);
    let written = tempfile::tempdir().unwrap();
    run(Command::new(python()).arg(root().join("src/tests/reference/odd_images.py")).arg(written.path()));
    let mut odd: Vec<(String, Vec<u8>)> = files(written.path())
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    assert_eq!(odd.len(), 8);
    odd.extend(odd::deep_and_clear().into_iter().enumerate().map(|(n, image)| (format!("deep-{n}"), image)));
    odd.extend((0..=9).map(|n| (format!("turned-{n}"), odd::turned(n))));
    odd.push(("frames".into(), odd::frames(10_000)));
    for (name, format) in odd::FORMATS {
        odd.push((format!("trailing.{name}"), [odd::red(format), vec![0x55; 4 << 20]].concat()));
    }
    for (name, image) in &odd {
        assert_eq!(target.send(name, image), (200, "red".into()), "{name}");
        target.good(name);
    }
    target.unharmed();
}

#[test]
fn heads_that_promise_too_much_and_things_that_are_no_images() {
    let mut target = Target::new(&[]);
    for (name, image) in odd::huge() {
        let began = Instant::now();
        assert_eq!(target.send(name, &image).0, 422, "{name}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
        target.good(name);
    }
    for bytes in [
        b"<!doctype html><title>photo.jpg</title>".as_slice(),
        b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0",
        b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0",
        b"GIF8",
        b"\x89PNG",
        b"BM\0\0",
        b"II*\0",
        b"\0\0\0\0",
    ] {
        assert_eq!(target.send("photo.jpg", bytes).0, 415, "{:?}", String::from_utf8_lossy(bytes));
    }
    target.good("no images");
    target.unharmed();
}

#[test]
fn names_reach_nothing() {
    let mut target = Target::new(&[]);
    let image = odd::red(image::ImageFormat::Png);
    let marked = format!("bellows-hostile-{}", std::process::id());
    let tmp = std::env::temp_dir().join(&marked);
    let names = [
        format!("../../{marked}"),
        format!("../../../../../../../..{}", tmp.display()),
        tmp.display().to_string(),
        format!("..\\..\\{marked}"),
        format!("; touch {marked}"),
        format!("$(touch {marked}).png"),
        format!("`touch {marked}`"),
        format!("| touch {marked}"),
        "../../controller.lock".into(),
        "../output/control/pool.json".into(),
        "a'b.png".into(),
        "写真.png".into(),
        "صورة.jpg".into(),
        "фото.jpg".into(),
        "%00.png".into(),
        "CON".into(),
    ];
    for name in &names {
        let answer = post(target.url(), "/", &[("myfile", name, &image)], &[JSON]);
        assert_eq!((answer.status, &answer.json()["label"]), (200, &"red".into()), "{name}");
        let told = answer.json()["file"].as_str().unwrap().to_owned();
        assert!(name.ends_with(&told) && !told.contains('/'), "{name}: {told}");
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let answer = ask(target.url(), "PUT", &format!("/classify/{encoded}"), &[], &image);
        assert_eq!((answer.status, &answer.json()["label"]), (200, &"red".into()), "{name}");
    }
    let long = "n".repeat(4000);
    for name in [long.as_str(), "a\0b", "a\rb", "a\nb", "a\r\nX-Evil: 1", "a\"; name=\"b"] {
        let answer = post(target.url(), "/", &[("myfile", name, &image)], &[JSON]);
        assert!([200, 400].contains(&answer.status), "{name:?}: {answer:?}");
        assert!(answer.header("x-evil").is_none(), "{answer:?}");
        target.good(name);
    }
    assert!(!tmp.exists());
    target.unharmed();
}

/// One answer at most, a refusal, and then the end of the connection: nothing behind it is taken for a request.
#[test]
fn heads_and_chunks_that_are_wrong() {
    let mut target = Target::new(&["web.header_timeout=2s", "web.body_timeout=3s"]);
    let chunked = "PUT /classify HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks =
        ["ZZ\r\n", "-1\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n", "5\r\nabc", "5\r\nabcdefgh\r\n0\r\n\r\n", "\r\n\r\n"];
    let endless = format!("5;{}", "x".repeat(1 << 20));
    let heads = [
        "PUT /classify HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\nContent-Length: 4\r\n\r\nabcd",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nContent-Length: -4\r\n\r\nabcd",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nabcd",
        "PUT /classify HTTP/1.1\r\nHost: h\r\nContent-Length: 4 \t5\r\n\r\nabcd",
        "GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        "BREW /pot HTTP/1.1\r\nHost\r\n\r\n",
    ];
    let bodies = chunks.iter().copied().chain([endless.as_str()]).map(|body| format!("{chunked}{body}"));
    for sent in heads.iter().map(|head| (*head).to_owned()).chain(bodies) {
        let sent = sent + &head("GET", "/healthz", &[]);
        let mut raw = Raw::connect(target.url());
        // a server that has seen enough may close while we still send
        let _ = std::io::Write::write_all(&mut raw.stream, sent.as_bytes());
        raw.half_close();
        let mut all = Vec::new();
        let _ = std::io::Read::read_to_end(&mut raw.stream, &mut all);
        let all = String::from_utf8_lossy(&all);
        let shown = &sent[..sent.len().min(200)];
        assert!(all.matches("HTTP/1.1 ").count() <= 1, "{shown:?}: {all}");
        assert!(all.is_empty() || all.starts_with("HTTP/1.1 4") || all.starts_with("HTTP/1.1 505"), "{shown:?}: {all}");
        target.good(shown);
    }
    target.unharmed();
}

#[test]
fn forms_that_want_too_much() {
    let mut target = Target::new(&[]);
    let image = odd::red(image::ImageFormat::Png);
    let many = vec![("a", "a.png", &image[..64]); 10_000];
    assert_eq!(post(target.url(), "/", &many, &[JSON]).status, 413);
    target.good("10,000 parts");
    let whole = form(&[("myfile", "a.png", &image)]);
    for (length, status) in [(71, 400), (1_000, 400), (12_000, 400), (20_000, 431)] {
        let kind = format!("multipart/form-data; boundary={}", "b".repeat(length));
        let answer = ask(target.url(), "POST", "/", &[("Content-Type", &kind), JSON], &whole);
        assert_eq!(answer.status, status, "{length}: {answer:?}");
    }
    target.good("overlong boundaries");
    let open = b"--XyZ42\r\nContent-Disposition: form-data; name=\"myfile\"; filename=\"a\"\r\n";
    let endless = [open.as_slice(), b"X: ", &vec![b'x'; 1 << 20]].concat();
    let lines = [open.as_slice(), &b"X-Y: z\r\n".repeat(100_000)].concat();
    let never = vec![b'-'; 1 << 20];
    for body in [endless, lines, never, open.to_vec(), b"--XyZ42--\r\n".to_vec(), b"\r\n".repeat(1 << 19)] {
        let answer = ask(target.url(), "POST", "/", &[FORM, JSON], &body);
        assert_eq!(answer.status, 400, "{:?}: {answer:?}", String::from_utf8_lossy(&body[..body.len().min(60)]));
        target.good("a form");
    }
    target.unharmed();
}

/// Sockets of this process: 2,000 of them are more than a shell allows by itself.
fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn crowds_that_say_nothing_little_or_half() {
    many_files();
    let mut target = Target::new(&["web.header_timeout=5s", "web.body_timeout=5s", "pool.max_instances=1"]);
    let (image, length) = (images::png([255, 0, 0], 1), "30000");
    let idle: Vec<Raw> = (0..2000).map(|_| Raw::connect(target.url())).collect();
    target.good("2,000 idle connections");
    let put = |length: &str| head("PUT", "/classify/crowd.png", &[("Content-Length", length)]);
    let mut slow: Vec<Raw> =
        (0..100).map(|_| Raw::with(target.url(), &[put(length).as_bytes(), &image].concat())).collect();
    target.good("100 uploads that stand still");
    drop((0..100).map(|_| Raw::with(target.url(), &[put(length).as_bytes(), &image].concat())).collect::<Vec<_>>());
    target.good("100 that hang up during the upload");
    let own = image.len().to_string();
    let waiting: Vec<Raw> =
        (0..50).map(|_| Raw::with(target.url(), &[put(&own).as_bytes(), &image].concat())).collect();
    drop(waiting);
    target.good("50 that hang up and do not wait");
    let mut half: Vec<Raw> =
        (0..20).map(|_| Raw::with(target.url(), &[put(&own).as_bytes(), &image].concat())).collect();
    half.iter().for_each(Raw::half_close);
    assert!(half.iter_mut().all(|raw| raw.answer(false).json()["label"] == "red"));
    target.good("20 that half-close");
    assert!(slow.iter_mut().all(|raw| raw.answer(false).status == 408));
    for mut raw in idle {
        assert!(raw.until_closed() < Duration::from_secs(30));
    }
    target.good("all of them");
    target.unharmed();
}
