//! terraform/, deployed into the emulated account and taken down again.

use crate::support::python::venv;
use crate::support::root;
use std::process::{Command, Stdio};

/// deploy.py's exit code where terraform has no provider.
const NOT_TO_BE_HAD: i32 = 75;

/// Two deployments side by side, second plans, the daemon's own check of their user data, destroy under load. deploy.py
/// says what it shows, and can be run by itself.
#[test]
fn end_to_end_terraform() {
    if !is_here() {
        return;
    }
    let python = match venv("moto", "src/tests/aws/requirements.txt") {
        Ok(python) => python,
        Err(e) => return skip(&format!("the emulator cannot be had: {e}")),
    };
    let mut deploy = Command::new(python);
    deploy.arg(root().join("src/tests/aws/deploy.py")).args(["--bellows", env!("CARGO_BIN_EXE_bellows")]);
    let status = deploy.stdin(Stdio::null()).status().unwrap();
    if status.code() == Some(NOT_TO_BE_HAD) {
        return skip("terraform has no AWS provider");
    }
    assert!(status.success(), "{deploy:?}: {status}");
}

/// Whether terraform is on the path; where not, what needs it is skipped.
pub fn is_here() -> bool {
    let version = Command::new("terraform").arg("version").stdin(Stdio::null()).output();
    version.inspect_err(|e| skip(&format!("terraform is not here: {e}"))).is_ok()
}

fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    println!("skipped: {why}");
}
