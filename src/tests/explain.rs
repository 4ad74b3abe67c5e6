//! What people ask of a running pool: why it is as it is, and that it stand still.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{ask, get, post};
use crate::support::{eventually, images};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const ASYNC: (&str, &str) = ("Prefer", "respond-async");

/// Exit code, and what was printed on both streams.
fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn why(daemon: &Daemon) -> String {
    said(&daemon.command("why", &[])).1
}

fn led(options: &Options) -> Daemon {
    let daemon = options.start();
    eventually("somebody leads", SOON, || daemon.pool_field("leads") == true);
    daemon
}

#[test]
fn a_paused_pool_takes_uploads_and_stands_still_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = led(&Options::new(dir.path()));
    let (code, text) = said(&daemon.command("pause", &["--by", "kim"]));
    assert!(code == 0 && text.starts_with("the pool is paused: "), "{text}");
    let (code, text) = said(&daemon.command("pause", &["--by", "lou"]));
    assert!(
        code == 0 && text.starts_with("the pool is paused already, since 2") && text.ends_with(" by kim\n"),
        "{text}"
    );
    eventually("the controller has seen it", SOON, || daemon.pool_field("pause")["by"] == "kim");
    let (image, label) = images::numbered(3);
    let accepted = post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[ASYNC]);
    assert_eq!(accepted.status, 202);
    eventually("why says so", SOON, || {
        why(&daemon).contains(", but the pool is paused: would have launched 1 instance")
    });
    assert_eq!((daemon.pool(), daemon.tree().len()), ([0; 4], 1));
    assert!(why(&daemon).contains("the pool was paused by kim"));
    let (code, text) = said(&daemon.command("resume", &[]));
    assert!(code == 0 && text.starts_with("the pool follows the queue again; it was paused since 2"), "{text}");
    assert_eq!(said(&daemon.command("resume", &[])), (0, "the pool is not paused\n".into()));
    let location = accepted.header("location").unwrap();
    eventually("it is answered", SOON, || get(&daemon.url, location).json()["label"] == label);
    let text = why(&daemon);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"));
    assert!(at("the pool was paused") < at("would have launched") && at("would have launched") < at("was resumed"));
    assert!(at("was resumed") < at(": launched 1 instance"));
}

#[test]
fn a_pause_outlives_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = led(&Options::new(dir.path()));
    daemon.stop();
    assert!(daemon.command("pause", &[]).status.success());
    let daemon = led(&Options::new(dir.path()));
    assert!(daemon.pool_field("pause")["since"].is_u64());
    assert!(daemon.command("resume", &[]).status.success());
    eventually("it follows the queue", SOON, || daemon.pool_field("pause").is_null());
}

#[test]
fn what_cannot_be_paused_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let pause = |state: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        said(&command.arg("pause").arg("--state-dir").arg(state).output().unwrap())
    };
    let (code, text) = pause(&state);
    assert!(code == 69 && text.contains("no bellows has run with the state folder"), "{text}");
    assert!(!state.exists(), "a look makes nothing");
    std::fs::create_dir_all(state.join("output/control")).unwrap();
    let (code, text) = pause(&state);
    assert!(code == 69 && text.contains("no controller has led this pool yet"), "{text}");
    let control = state.join("output/control/pool.json");
    for (contents, words) in [("{\"v\":99}", "a newer bellows leads this pool"), ("{", "does not read")] {
        std::fs::write(&control, contents).unwrap();
        let (code, text) = pause(&state);
        assert!(code == 69 && text.contains(words), "{text}");
        assert_eq!(std::fs::read_to_string(&control).unwrap(), contents, "it stays as it is");
    }
}

#[test]
fn decisions_are_told_from_a_number_on() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = led(&Options::new(dir.path()).set("pool.hold=0"));
    let (image, _) = images::numbered(1);
    assert_eq!(post(&daemon.url, "/", &[("myfile", "a.png", &image)], &[]).status, 200);
    eventually("the pool is at zero", SOON, || {
        why(&daemon).contains("asked 1 instance to retire") && daemon.is_at_rest()
    });
    let decisions = |query: &str| get(&daemon.metrics, &format!("/decisions{query}")).json();
    let seqs = |json: &Value| -> Vec<u64> {
        json["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
    };
    let all = decisions("?all=true");
    assert_eq!(seqs(&all), (0..all["next"].as_u64().unwrap()).collect::<Vec<_>>());
    let changes = decisions("");
    assert!(seqs(&changes).len() >= 3 && seqs(&changes).len() < seqs(&all).len());
    let from = seqs(&changes)[2];
    assert_eq!(seqs(&decisions(&format!("?since={from}"))), seqs(&changes)[2..]);
    let launched = changes["entries"].as_array().unwrap().iter().find(|entry| entry["done"]["launch"] == 1).unwrap();
    assert_eq!((&launched["demand"], &launched["inputs"]["max"]), (&1.into(), &2.into()));
    assert!(launched["words"].as_str().unwrap().starts_with("1 request waits or is worked on, 0 of 2 instances ready"));
    assert_eq!(ask(&daemon.metrics, "POST", "/decisions", &[], b"").status, 405);
    assert_eq!(ask(&daemon.metrics, "HEAD", "/decisions", &[], b"").status, 200);
    assert_eq!(get(&daemon.metrics, "/decisions?since=soon").status, 400);
    // the command says the same
    let lines = said(&daemon.command("why", &["--json"])).1;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..seqs(&changes).len()], changes["entries"].as_array().unwrap()[..]);
    assert!(said(&daemon.command("why", &["--all"])).1.contains("no request waits, 0 of 2 instances ready"));
}

#[test]
fn a_picture_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = led(&Options::new(dir.path()));
    let file = dir.path().join("pool.svg");
    eventually("something was decided", SOON, || {
        daemon.command("why", &["--svg", file.to_str().unwrap()]).status.success()
    });
    let drawn = std::fs::read_to_string(&file).unwrap();
    assert!(drawn.contains("pool.policy backlog · pool.latency_target 15s"), "{drawn}");
    let printed = daemon.command("why", &["--svg", "-"]).stdout;
    assert!(String::from_utf8(printed).unwrap().starts_with("<svg "));
}

#[test]
fn nobody_to_ask_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    let output = command.args(["why", "--set", &format!("metrics.listen={free}")]).output().unwrap();
    let expected = format!("bellows: nothing listens on {free}; `bellows run` starts the service\n");
    assert_eq!(said(&output), (69, expected));
}

#[test]
fn what_follows_goes_on_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options::new(dir.path()).set(&format!("metrics.listen={free}"));
    let mut daemon = led(&options);
    let mut follow = daemon.query("why", &["--follow"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().ends_with("this controller leads the pool now (epoch 1)"));
    daemon.stop();
    let daemon = led(&options);
    assert!(lines.next().unwrap().ends_with("this controller leads the pool now (epoch 2)"));
    assert!(daemon.command("pause", &["--by", "kim"]).status.success());
    assert!(lines.next().unwrap().ends_with("the pool was paused by kim"));
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(Client::new().get(&daemon.metrics).is_ok());
}
