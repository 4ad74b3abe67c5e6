//! What every backend of an edge has to keep, run against every backend.

mod aws;
mod bucket;
mod crash;
mod disk;
mod memory;
mod queue;
mod threads;

use crate::support::emulator;
use bellows::edge::host::Clock;
use bellows_core::time::Timestamp;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// 2026-11-24T00:00:00Z.
const TODAY: u64 = 1_795_478_400_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Local,
    Memory,
    /// SQS and S3, as the emulator has them.
    Aws,
}

/// Makes one test a backend of each function named.
macro_rules! for_every_backend {
    ($($test:ident),* $(,)?) => {
        mod on_files {
            $(#[test] fn $test() { $crate::contract::block_on(super::$test($crate::contract::Backend::Local)); })*
        }
        mod in_memory {
            $(#[test] fn $test() { $crate::contract::block_on(super::$test($crate::contract::Backend::Memory)); })*
        }
        mod on_aws {
            $(#[test] fn $test() {
                if $crate::support::emulator::is_here() {
                    $crate::contract::block_on(super::$test($crate::contract::Backend::Aws));
                }
            })*
        }
    };
}
use for_every_backend;

/// A runtime in real time: the local backends answer from threads, which a paused clock would not wait for.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A wall clock that moves when the test says so, or the real one. Places of the emulator follow it.
#[derive(Clone)]
struct Hands {
    shown: Option<Arc<AtomicU64>>,
    followers: Arc<Mutex<Vec<emulator::Place>>>,
}

impl Hands {
    fn new() -> Hands {
        Hands { shown: Some(Arc::new(AtomicU64::new(TODAY))), followers: Arc::default() }
    }

    fn real() -> Hands {
        Hands { shown: None, followers: Arc::default() }
    }

    fn clock(&self) -> Clock {
        self.shown.as_ref().map_or(Clock::System, |shown| Clock::Manual(Arc::clone(shown)))
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn advance(&self, span: Duration) {
        self.shown.as_ref().unwrap().fetch_add(span.as_millis() as u64, Ordering::SeqCst);
        self.lead();
    }

    fn set_back(&self, span: Duration) {
        self.shown.as_ref().unwrap().fetch_sub(span.as_millis() as u64, Ordering::SeqCst);
        self.lead();
    }

    fn follow(&self, place: emulator::Place) {
        self.followers.lock().unwrap().push(place);
        self.lead();
    }

    fn lead(&self) {
        let clock = self.shown.as_ref().map(|shown| shown.load(Ordering::SeqCst));
        for place in &*self.followers.lock().unwrap() {
            place.instruct(&serde_json::json!({ "clock": clock }));
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bellows-contract-").tempdir().unwrap()
}
