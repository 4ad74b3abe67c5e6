//! What stops a start, in words and exit codes that say how to go on.

use crate::support::daemon::Options;
use crate::support::disk::Disk;
use std::process::{Command, Output};

fn bellows(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellows")).args(arguments).output().unwrap()
}

/// Runs to the end and checks the exit code; returns what was said.
fn fails(options: &Options, code: i32) -> String {
    let output = options.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn one_state_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path()).set("pool.max_instances=1");
    let first = options.start();
    let said = fails(&options, 69);
    assert!(said.contains(&format!("process {} ", first.child.id())), "{said}");
    assert!(said.contains(dir.path().to_str().unwrap()) && said.contains("--state-dir"), "{said}");
}

#[test]
fn a_port_in_use_is_named_with_a_remedy() {
    let (dir, taken) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let mut options = Options::new(dir.path());
    options.listen.clone_from(&address);
    let said = fails(&options, 69);
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
    let options = Options::new(dir.path()).set(&format!("metrics.listen={address}"));
    let said = fails(&options, 69);
    assert!(said.contains(&address) && said.contains("--set metrics.listen="), "{said}");
}

#[test]
fn a_state_folder_that_cannot_be_written() {
    let Some(disk) = Disk::mount("ro,size=1m") else { return };
    for state in [disk.path().to_owned(), disk.path().join("state")] {
        let said = fails(&Options::new(&state), 69);
        assert!(said.contains(state.to_str().unwrap()) && said.contains("--state-dir"), "{said}");
        assert!(said.to_lowercase().contains("read-only"), "{said}");
    }
}

#[test]
fn what_is_not_meant_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let said = fails(&Options::new(dir.path()).set("web.lisen=127.0.0.1:1"), 78);
    assert!(said.contains("web.lisen") && said.contains("listen"), "{said}");
    let said = fails(&Options::new(dir.path()).set("web.wait=soon"), 78);
    assert!(said.contains("web.wait") && said.contains("soon"), "{said}");
    for arguments in [&["frobnicate"][..], &["run", "--no-such-flag"], &["classify"], &["health", "x"]] {
        assert_eq!(bellows(arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert!(bellows(&["--help"]).status.success());
}

#[test]
fn the_limit_of_open_files_is_raised_and_its_want_told() {
    for (limits, warned) in [("ulimit -Sn 300; ulimit -Hn 5000", false), ("ulimit -Sn 300; ulimit -Hn 1000", true)] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path()).set("pool.max_instances=1");
        let daemon = options.start_under(limits);
        let found = std::fs::read_to_string(format!("/proc/{}/limits", daemon.child.id())).unwrap();
        let open = found.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let numbers: Vec<&str> = open.split_whitespace().skip(3).take(2).collect();
        assert_eq!(numbers[0], numbers[1], "{open}");
        assert_eq!(daemon.printed().contains("web.max_connections needs"), warned, "{}", daemon.printed());
    }
}
