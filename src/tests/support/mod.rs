//! What the integration tests share: a daemon of their own, images, and a client.

pub mod browser;
pub mod client;
pub mod contract;
pub mod daemon;
pub mod disk;
pub mod emulator;
pub mod images;
pub mod odd;
pub mod python;
pub mod raw;
pub mod shared;

use std::path::PathBuf;
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
        std::env::var_os("BELLOWS_DEBUG_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from).join("models");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: the folder of shared photographs is not here (BELLOWS_DEBUG_SHARED names it)");
    None
}

/// The shared recorded traffic; `None` (and a word about it) where it is not.
pub fn traces() -> Option<PathBuf> {
    let shared = std::env::var_os("BELLOWS_DEBUG_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    if !shared.join("traces").is_dir() {
        println!("skipped: the folder of shared traces is not here (BELLOWS_DEBUG_SHARED names it)");
    }
    Some(shared.join("traces")).filter(|folder| folder.is_dir())
}

/// Waits until `condition` holds; panics with `what` after `limit`.
pub fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
