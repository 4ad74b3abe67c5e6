//! What the documents tell people to type does what they say.

use crate::support::client::Client;
use crate::support::images;
use crate::support::raw::{get, post};
use crate::support::root;
use crate::support::shared::PLAIN;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The block of code in this language under a heading, made to ask the tests' service.
fn block(document: &str, heading: &str, language: &str) -> String {
    let section = document.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let code = section.split_once(&format!("```{language}\n")).unwrap().1.split("```").next().unwrap();
    code.replace("http://127.0.0.1:3000", &PLAIN.url)
}

/// Runs `code` with `program` among photographs; none where it is not here.
fn run(program: &str, arguments: &[&str], code: &str, folder: &Path) -> Option<Output> {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(code).current_dir(folder).stdin(Stdio::null()).output();
    if output.is_err() {
        println!("skipped: {program} is not here");
    }
    output.ok()
}

fn photographs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["photo.jpg", "test_0.JPEG", "1.jpg", "2.jpg"] {
        std::fs::write(folder.path().join(name), images::jpeg([255, 0, 0])).unwrap();
    }
    folder
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn snippets_for_programs_run_as_they_stand() {
    let (operating, folder) = (document("docs/OPERATING.md"), photographs());
    let block = |language| block(&operating, "Ask it from a program", language);
    let curl = run("sh", &["-c"], &block("sh"), folder.path()).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&printed(&curl)).unwrap();
    assert_eq!((&answer["file"], &answer["label"]), (&"photo.jpg".into(), &"red".into()));
    let python = run("python3", &["-c"], &block("python"), folder.path()).unwrap();
    assert!(printed(&python).starts_with("red 0.9") || printed(&python).starts_with("red 1"), "{python:?}");
    if let Some(node) = run("node", &["-e"], &block("js"), folder.path()) {
        assert_eq!(printed(&node), "red\n");
    }
}

#[test]
fn what_the_readme_asks_is_answered() {
    let (readme, folder) = (document("README.md"), photographs());
    let made =
        post(&PLAIN.url, "/", &[("myfile", "a", &images::png([255, 0, 0], 90))], &[("Accept", "application/json")]);
    let id = made.json()["request_id"].as_str().unwrap().to_owned();
    let commands = block(&readme, "Ask it", "sh").replace("<id>", &id).replace("curl ", "curl -sS --fail ");
    let mut answers = Vec::new();
    for command in commands.lines() {
        answers.push(printed(&run("sh", &["-c"], command, folder.path()).unwrap()));
    }
    assert_eq!(answers[..2], ["red", "test_0:red"], "{commands}");
    assert_eq!(answers.len(), 7);
    for (answer, words) in answers[2..].iter().zip(["sha256", "photo.jpg", "2.jpg", "pending: /results/", "red"]) {
        assert!(answer.contains(words), "{words} is not in {answer}");
    }
}

#[test]
fn the_configuration_of_a_server_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellows.toml");
    std::fs::write(&file, block(&document("docs/OPERATING.md"), "Install", "toml")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_bellows"));
    let shown = printed(&check.arg("check-config").arg("--config").arg(&file).output().unwrap());
    assert!(shown.contains("local.state_dir = \"/var/lib/bellows/state\"  # "), "{shown}");
}

#[test]
fn every_metric_is_explained() {
    let operating = document("docs/OPERATING.md");
    let metrics = Client::new().get(&PLAIN.metrics).unwrap().body;
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    let missing: Vec<&str> = names.filter(|name| !operating.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/OPERATING.md does not explain {missing:?}");
    // so is each way in which work ends
    let endings =
        metrics.lines().filter_map(|line| line.strip_prefix("bellows_jobs_total{outcome=\"")?.split('"').next());
    let missing: Vec<&str> = endings.filter(|ending| !operating.contains(&format!("`{ending}`"))).collect();
    assert!(missing.is_empty(), "docs/OPERATING.md does not explain {missing:?}");
    // and each that it names is there
    let told = operating.split('`').filter(|word| word.starts_with("bellows_"));
    for name in told.map(|word| word.split(['{', ' ']).next().unwrap()) {
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} is not in /metrics");
    }
}

/// The picture of the page stays small enough for a page that shows it.
#[test]
fn pictures_are_small() {
    let size = std::fs::metadata(root().join("docs/page.png")).unwrap().len();
    assert!(size < 300_000, "{size}");
    assert!(get(&PLAIN.url, "/").body.contains("<title>bellows</title>"));
}
