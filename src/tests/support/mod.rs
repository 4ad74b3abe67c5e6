//! What the integration tests share: a daemon of their own, images, and a client.

pub mod client;
pub mod daemon;
pub mod images;
pub mod python;
pub mod raw;
pub mod shared;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The workspace's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where engine and models of the tests lie: fetched once, by the code under test.
pub fn data_dir() -> PathBuf {
    root().join("target/bellows-data")
}

/// The shared photographs and models; `None` (and a word about it) where they are not.
pub fn shared() -> Option<PathBuf> {
    let folder =
        std::env::var_os("BELLOWS_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from).join("models");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: the folder of shared photographs is not here (BELLOWS_SHARED names it)");
    None
}

/// A Python environment below target/ with the packages of `requirements`, made once: the path of its interpreter.
pub fn venv(name: &str, requirements: &str) -> PathBuf {
    let python = root().join("target").join(name).join("bin/python");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(root().join("target").join(name)));
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(install).arg(root().join(requirements)));
    python
}

/// Waits until `condition` holds; panics with `what` after `limit`.
pub fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
