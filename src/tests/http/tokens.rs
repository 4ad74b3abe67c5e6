//! Who is let in, who is not, and that no token is ever told.

use crate::support::contract::Contract;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{FORM, JSON, Raw, ask, get, head, post};
use crate::support::{eventually, images};
use base64::prelude::{BASE64_STANDARD, Engine};
use std::process::Command;
use std::time::Duration;

/// What `bellows token new` prints: the token, and its entry in the configuration.
fn new_token(arguments: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bellows")).args(["token", "new"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let (token, line) = printed.trim().split_once('\n').unwrap();
    let entry = line.strip_prefix("web.tokens = [\"").unwrap().strip_suffix("\"]").unwrap();
    assert!(!entry.contains(token));
    (token.to_owned(), entry.to_owned())
}

fn start(dir: &tempfile::TempDir, entries: &[&str]) -> Daemon {
    let tokens = format!("web.tokens={entries:?}");
    Options::new(dir.path()).set(&tokens).set("pool.max_instances=1").set("log.level=trace").start_warm(1)
}

/// Where it is written for whoever looks: log, output, and everything that is kept.
fn is_told(daemon: &Daemon, token: &str) -> bool {
    let found = Command::new("grep").args(["-rqF", token]).arg(&daemon.state).status().unwrap();
    found.success() || daemon.printed().contains(token)
}

#[test]
fn without_a_token_nobody_uploads_or_reads() {
    let dir = tempfile::tempdir().unwrap();
    let ((token, entry), (other, _)) = (new_token(&["ci"]), new_token(&["ci"]));
    let daemon = start(&dir, &[&entry]);
    let url = &daemon.url;
    let (image, label) = images::numbered(3);
    let parts: [(&str, &str, &[u8]); 1] = [("myfile", "a.png", &image)];
    let bearer = format!("Bearer {token}");
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("me:{token}")));
    let wrong =
        [format!("Bearer {other}"), format!("Bearer {token}x"), format!("Basic {token}"), bearer.to_uppercase()];
    let contract = Contract::load();
    for credentials in wrong.iter().map(String::as_str).chain([""]) {
        let with = ("Authorization", credentials);
        let answer = post(url, "/", &parts, &[JSON, with]);
        assert_eq!((answer.status, &answer.json()["error"]), (401, &"unauthorized".into()), "{credentials}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bellows\""));
        contract.allows("POST", "/", &answer);
        assert_eq!(ask(url, "PUT", "/classify/a.png", &[with], &image).status, 401);
        assert_eq!(ask(url, "GET", "/results/8d5a6b1e-0c1d-4a51-9b1d-3f6f0b1d2c3e", &[with], b"").status, 401);
        assert_ne!(ask(url, "GET", "/live", &[with], b"").status, 200);
    }
    // nobody waits for the body of a stranger
    let unsent = [FORM, ("Content-Length", "9000000"), ("Expect", "100-continue")];
    let answer = Raw::with(url, head("POST", "/", &unsent).as_bytes()).answer(false);
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    for credentials in [&bearer, &basic] {
        let with = ("Authorization", credentials.as_str());
        assert_eq!(post(url, "/", &parts, &[with]).body, label);
        let done = post(url, "/", &parts, &[JSON, with]).json();
        let place = format!("/results/{}", done["request_id"].as_str().unwrap());
        assert_eq!((get(url, &place).status, ask(url, "GET", &place, &[with], b"").json()), (401, done));
    }
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(get(url, path).status, 200, "{path}");
    }
    assert_eq!((get(url, "/metrics").status, get(url, "/nothing").status), (404, 404));
    inside(&daemon, &token);
    assert!(daemon.metric("bellows_http_requests_total{route=\"POST /\",status=\"401\"}") >= Some(6.0));
    assert!(!is_told(&daemon, &token) && !is_told(&daemon, &other));
}

/// The metrics listener guards what is decided, and `bellows why` shows a token.
fn inside(daemon: &Daemon, token: &str) {
    for path in ["/pool", "/decisions"] {
        let at = daemon.metrics.trim_end_matches("/metrics");
        assert_eq!(get(at, path).status, 401, "{path}");
        assert_eq!(ask(at, "GET", path, &[("Authorization", &format!("Bearer {token}"))], b"").status, 200, "{path}");
    }
    let why = |variable: &str, arguments: &[&str]| {
        let output = daemon.query("why", arguments).env("BELLOWS_TOKEN", variable).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, words) = why("", &[]);
    assert!(code == Some(69) && words.contains("BELLOWS_TOKEN"), "{words}");
    let (code, words) = why("wrong", &[]);
    assert!(code == Some(69) && words.contains("does not know this token"), "{words}");
    assert_eq!(why(token, &[]).0, Some(0));
    assert_eq!(why("wrong", &["--token", token]).0, Some(0));
    assert_eq!(daemon.command("health", &["--listen", crate::support::raw::host(&daemon.url)]).status.code(), Some(0));
}

#[test]
fn a_token_has_only_so_many_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (few, many) = (new_token(&["few", "--max-outstanding", "2"]), new_token(&["many"]));
    let daemon = start(&dir, &[&few.1, &many.1]);
    assert!(daemon.command("pause", &[]).status.success());
    // the warm worker works on, so it is taken away
    for pid in daemon.workers() {
        crate::support::daemon::signal(pid, rustix::process::Signal::STOP);
    }
    let image = images::png([0, 0, 255], 1);
    let upload = |token: &str, n: usize| {
        let parts = vec![("a", "a.png", &image[..]); n];
        let bearer = format!("Bearer {token}");
        post(&daemon.url, "/classify", &parts, &[("Prefer", "respond-async"), ("Authorization", &bearer)])
    };
    assert_eq!(upload(&few.0, 3).status, 429);
    assert_eq!((upload(&few.0, 1).status, upload(&few.0, 2).status, upload(&few.0, 1).status), (202, 429, 202));
    let answer = upload(&few.0, 1);
    assert_eq!((answer.status, &answer.json()["error"]), (429, &"too-many-outstanding".into()));
    let again: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&again) && answer.body.contains("at most 2 images"), "{answer:?}");
    Contract::load().allows("POST", "/classify", &answer);
    assert_eq!(upload(&many.0, 5).status, 202);
    for pid in daemon.workers() {
        crate::support::daemon::signal(pid, rustix::process::Signal::CONT);
    }
    assert!(daemon.command("resume", &[]).status.success());
    eventually("there is room again", Duration::from_mins(1), || upload(&few.0, 2).status == 202);
    assert!(!is_told(&daemon, &few.0) && !is_told(&daemon, &many.0));
}

#[test]
fn a_public_address_without_tokens_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path());
    options.listen = "0.0.0.0:0".into();
    let output = options.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("web.tokens") && said.contains("bellows token new") && said.contains("allow_anonymous"));
    let open = options.set("web.allow_anonymous=true").start();
    assert!(open.printed().contains("whoever reaches it may upload"), "{}", open.printed());
}
