//! Python for references: a virtual environment under target/, made once, with pinned packages.
#![expect(clippy::expect_used, reason = "a test without its reference has failed")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python with numpy, Pillow and ONNX Runtime as models/requirements.txt pins them.
pub fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (target, requirements) = (root.join("target"), root.join("models/requirements.txt"));
    let (dir, pins) = (target.join("ci-python"), fs::read_to_string(&requirements).expect("models/requirements.txt"));
    fs::create_dir_all(&target).expect("a target folder");
    // Several tests may ask at once, and of several processes.
    let lock = File::create(target.join("ci-python.lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let (python, ready) = (dir.join("bin/python"), dir.join("ready"));
    if fs::read_to_string(&ready).is_ok_and(|made| made == pins) {
        return python;
    }
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&dir));
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--requirement"];
    run(Command::new(&python).args(pip).arg(requirements));
    fs::write(ready, pins).expect("a writable target folder");
    python
}

/// What a command prints.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("a command that starts");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
