//! terraform/, deployed into the emulated account and taken down again.

use crate::support::python::venv;
use crate::support::root;
use std::process::{Command, Stdio};

/// Two deployments side by side, second plans, the daemon's own check of their user data, destroy under load. deploy.py
/// says what it shows, and can be run by itself.
#[test]
fn end_to_end_terraform() {
    let version = Command::new("terraform").arg("version").stdin(Stdio::null()).output();
    if let Err(e) = version {
        assert!(std::env::var_os("CI").is_none(), "terraform is not here: {e}");
        println!("skipped: terraform is not here: {e}");
        return;
    }
    let python = venv("moto", "src/tests/aws/requirements.txt").unwrap();
    let mut deploy = Command::new(python);
    deploy.arg(root().join("src/tests/aws/deploy.py")).args(["--bellows", env!("CARGO_BIN_EXE_bellows")]);
    let status = deploy.stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{deploy:?}: {status}");
}
