//! Python for references: a virtual environment under target/, made once, with pinned packages.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python with numpy, Pillow and ONNX Runtime as models/requirements.txt pins them.
#[expect(clippy::expect_used, reason = "a test without its reference has failed")]
pub fn python() -> PathBuf {
    venv("ci-python", "models/requirements.txt").expect("Python with the packages of models/requirements.txt")
}

/// Python in a virtual environment target/`name` with the packages that the file `requirements` pins.
pub fn venv(name: &str, requirements: &str) -> io::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (target, requirements) = (root.join("target"), root.join(requirements));
    let (dir, pins) = (target.join(name), fs::read_to_string(&requirements)?);
    fs::create_dir_all(&target)?;
    // Several tests may ask at once, and of several processes.
    let lock = File::create(target.join(format!("{name}.lock")))?;
    lock.lock()?;
    let (python, ready) = (dir.join("bin/python"), dir.join("ready"));
    if fs::read_to_string(&ready).is_ok_and(|made| made == pins) {
        return Ok(python);
    }
    if !python.exists() {
        try_run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--requirement"];
    try_run(Command::new(&python).args(pip).arg(requirements))?;
    fs::write(ready, pins)?;
    Ok(python)
}

/// What a command prints.
#[expect(clippy::expect_used, reason = "a test without its reference has failed")]
pub fn run(command: &mut Command) -> String {
    try_run(command).expect("a command that succeeds")
}

fn try_run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}
