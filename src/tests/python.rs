//! Python for references: a virtual environment under target/, made once, with pinned packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Photographs and models that the project uses and does not ship: BELLOWS_SHARED, else beside the workspace. `None`,
/// said once, where there are none.
pub fn shared_models() -> Option<PathBuf> {
    let shared = std::env::var_os("BELLOWS_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let found = Some(shared.join("models")).filter(|models| models.join("images/labels.tsv").is_file());
    if found.is_none() {
        eprintln!("skipped: no photographs in {} (BELLOWS_SHARED names their folder)", shared.display());
    }
    found
}

/// Python with numpy, Pillow and ONNX Runtime as models/requirements.txt pins them.
pub fn python() -> PathBuf {
    let dir = root().join("target/reference-venv");
    let python = dir.join("bin/python");
    fs::create_dir_all(root().join("target")).expect("a target folder");
    let lock = File::create(root().join("target/reference-venv.lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let pins = fs::read_to_string(root().join("models/requirements.txt")).expect("models/requirements.txt");
    let ready = dir.join("ready");
    if fs::read_to_string(&ready).is_ok_and(|made| made == pins) {
        return python;
    }
    let _ = fs::remove_dir_all(&dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir));
    // onnx writes graphs; reading them takes only the engine.
    let wanted = pins.lines().filter(|pin| !pin.starts_with("onnx=="));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
    run(Command::new(&python).args(pip).args(wanted).env_remove("PIP_REQUIRE_VIRTUALENV"));
    fs::write(ready, pins).expect("a writable target folder");
    python
}

/// What a command prints.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("a command that starts");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
