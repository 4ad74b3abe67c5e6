//! What every backend of an edge has to keep, run against every backend.

mod bucket;
mod crash;
mod disk;
mod memory;
mod queue;
mod threads;

use bellows::edge::host::Clock;
use bellows_core::time::Timestamp;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// 2026-11-24T00:00:00Z.
const TODAY: u64 = 1_795_478_400_000;

/// The backends that run on one machine without an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Local,
    Memory,
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
    };
}
use for_every_backend;

/// A runtime in real time: the local backends answer from threads, which a paused clock would not wait for.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A wall clock that moves when the test says so.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn new() -> Hands {
        Hands(Arc::new(AtomicU64::new(TODAY)))
    }

    fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.0))
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as u64, Ordering::SeqCst);
    }

    fn set_back(&self, span: Duration) {
        self.0.fetch_sub(span.as_millis() as u64, Ordering::SeqCst);
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bellows-contract-").tempdir().unwrap()
}
