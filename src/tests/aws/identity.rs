//! What an instance is told by its metadata service, and what it does where that tells nothing.

use super::end_to_end::block_on;
use super::metadata::Metadata;
use super::stage::Stage;
use crate::support::emulator::{self, Place};
use bellows::edge::host::Host;
use bellows::edge::queue::{self, Queue};
use bellows_core::message::{self, Notice, Parsed, Report, WorkerState};
use bellows_core::pool::tag;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// `check-config` of the web role on AWS, where the metadata service is there.
fn check(endpoint: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.args(["check-config", "--set=backend=aws"]);
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint).env_remove("AWS_EC2_METADATA_DISABLED");
    command.envs(environment.iter().copied());
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(if output.status.success() { output.stdout.clone() } else { output.stderr.clone() }).unwrap()
}

const USER_DATA: &str = r#"
role = "web"
[queue.urls]
request = "https://sqs.test/1/request"
response = "https://sqs.test/1/response"
terminate_request = "https://sqs.test/1/terminate_request"
terminate_confirm = "https://sqs.test/1/terminate_confirm"
dead = "https://sqs.test/1/dead"
[bucket]
input = "in"
output = "out"
[pool]
max_instances = 7
min_instances = 2
[aws]
launch_template = "lt-0123"
"#;

#[test]
fn user_data_is_a_layer_between_files_and_environment() {
    let metadata = Metadata::start(&[("user-data", USER_DATA)]);
    let checked = check(&metadata.endpoint, &[("BELLOWS_POOL__MIN_INSTANCES", "1")]);
    let text = told(&checked);
    assert!(checked.status.success(), "{text}");
    assert!(text.contains("pool.max_instances = 7  # EC2 user data\n"), "{text}");
    assert!(text.contains("pool.min_instances = 1  # BELLOWS_POOL__MIN_INSTANCES\n"), "{text}");
    assert!(text.contains("backend = \"aws\"  # --set\n"), "{text}");
}

#[test]
fn what_is_wrong_in_user_data_is_told_with_its_line() {
    let wrong = USER_DATA.replace("max_instances = 7", "max_instances = \"many\"").replace("[bucket]", "[buckets]");
    let metadata = Metadata::start(&[("user-data", &wrong)]);
    let checked = check(&metadata.endpoint, &[]);
    let text = told(&checked);
    assert_eq!(checked.status.code(), Some(78), "{text}");
    assert!(text.contains("EC2 user data, line 13") && text.contains("max_instances"), "{text}");
    assert!(text.contains("unknown key buckets.input") && text.contains("EC2 user data"), "{text}");
    let metadata = Metadata::start(&[("user-data", "#!/bin/sh\necho hello\n")]);
    let text = told(&check(&metadata.endpoint, &[]));
    assert!(text.contains("no TOML") && text.contains("EC2 user data, line 2"), "{text}");
}

#[test]
fn a_file_takes_the_place_of_user_data_and_a_plain_machine_is_not_asked() {
    let metadata = Metadata::start(&[("user-data", USER_DATA)]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user-data.toml");
    std::fs::write(&file, USER_DATA.replace("max_instances = 7", "max_instances = 9")).unwrap();
    let text = told(&check(&metadata.endpoint, &[("BELLOWS_USER_DATA_FILE", file.to_str().unwrap())]));
    assert!(text.contains("pool.max_instances = 9  # EC2 user data"), "{text}");
    let text = told(&check(&metadata.endpoint, &[("AWS_EC2_METADATA_DISABLED", "true")]));
    assert!(text.contains("queue.urls.request"), "{text}");
    let text = told(&check(&metadata.endpoint, &[("BELLOWS_BACKEND", "local")]));
    assert!(text.contains("queue.urls.request"), "a flag is stronger: {text}");
}

/// `bellows run` on an instance: its standard error and exit code.
fn run(endpoint: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.args(["run", "--set=backend=aws", "--set=aws.region=us-east-1"]).args(arguments);
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint).env_remove("AWS_EC2_METADATA_DISABLED");
    command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn without_user_data_that_was_to_be_there_nothing_runs() {
    let begun = Instant::now();
    let (code, text) = run("http://127.0.0.1:9", &[]);
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("user data") && text.contains("AWS_EC2_METADATA_DISABLED"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_machine_that_trusts_nobody_is_told_so() {
    let metadata = Metadata::start(&[("user-data", USER_DATA)]);
    let nothing = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        command.args(["run", "--set=backend=aws", "--set=aws.region=us-east-1"]);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint).env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("SSL_CERT_DIR", nothing.path()).env_remove("SSL_CERT_FILE");
        command
    };
    let output = command().output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("ca-certificates") && text.contains("SSL_CERT_FILE"), "{text}");
    // what is spoken to in the clear needs none: it goes on, and stops at what does not answer
    let output = command().arg("--set=aws.endpoint=http://127.0.0.1:9").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 101) && !text.contains("ca-certificates"), "{text}");
}

#[test]
fn an_instance_whose_tags_name_no_id_says_what_it_found() {
    let ids = format!("meta-data/tags/instance/{}", tag::IDS);
    let metadata = Metadata::start(&[
        ("user-data", &USER_DATA.replace("\"web\"", "\"app\"")),
        ("meta-data/instance-id", "i-0123"),
        ("meta-data/ami-launch-index", "2"),
        (&ids, "4+9"),
    ]);
    let (code, text) = run(&metadata.endpoint, &[]);
    assert_eq!(code, Some(69), "{text}");
    assert!(
        text.contains("\"4+9\"") && text.contains("launch index \"2\"") && text.contains("app.app_tier_id"),
        "{text}"
    );
}

/// Waits for the next report of the queue.
async fn report(stage: &Stage) -> Report {
    let url = stage.place.queue("terminate_confirm");
    let host = Host::system();
    let queue = queue::aws::Queue::open(&stage.place.clients, &url, Duration::from_secs(30), &host);
    let (queue, never) = (Queue::Aws(queue), CancellationToken::new());
    let until = Instant::now() + Duration::from_mins(1);
    while Instant::now() < until {
        for delivery in queue.receive(1, Duration::from_secs(5), &never).await.unwrap() {
            queue.delete(&delivery.receipt).await.unwrap();
            if let Parsed::Ok(Notice::Report(report)) = message::parse::<Notice>(&delivery.body) {
                return report;
            }
        }
    }
    panic!("no report came");
}

#[test]
fn an_instance_that_is_taken_away_ends_and_one_that_is_advised_to_go_stays_a_while() {
    if !emulator::is_here() {
        return;
    }
    block_on(async {
        let stage = Stage::new(Place::new(), "[pool]\n[app]\nreport_every = \"10m\"", false).await;
        let (mut app, metadata) = stage.lone_app(&[("meta-data/instance-life-cycle", "spot")]);
        let ready = report(&stage).await;
        assert_eq!(
            (ready.state, ready.app_tier_id.0, ready.instance_id.0.as_str()),
            (WorkerState::Ready, 9, "i-0lone")
        );
        metadata.set("meta-data/events/recommendations/rebalance", r#"{"noticeTime": "2026-11-27T08:22:00Z"}"#);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(app.try_wait().unwrap().is_none(), "it is too young to follow advice");
        metadata.set("meta-data/spot/instance-action", r#"{"action": "terminate", "time": "2026-11-27T08:24:00Z"}"#);
        assert_eq!(report(&stage).await.state, WorkerState::Stopping);
        assert_eq!(app.wait().unwrap().code(), Some(80));
    });
}
