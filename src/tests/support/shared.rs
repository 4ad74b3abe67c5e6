//! Daemons that many tests use at once. A static is never dropped, so a shell waits for the end of the test process and
//! removes what it leaves, whichever way it ends.

use super::daemon::{Daemon, Options};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::LazyLock;

pub struct Shared {
    daemon: Daemon,
    /// Closed when this process ends.
    _guard: ChildStdin,
}

impl Deref for Shared {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

fn start(settings: &[&str], workers: u32) -> Shared {
    let state: PathBuf = tempfile::tempdir().unwrap().keep();
    let options = settings.iter().fold(Options::new(&state), |options, setting| options.set(setting));
    let daemon = options.set(&format!("pool.min_instances={workers}")).start();
    let mut guard = Command::new("sh")
        .args(["-c", "read -r _; kill -9 $0; sleep 5; rm -rf \"$1\""])
        .arg(daemon.child.id().to_string())
        .arg(&state)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let shared = Shared { daemon, _guard: guard.stdin.take().unwrap() };
    // it outlives this process, so nobody waits for it
    std::mem::forget(guard);
    shared.wait_warm(workers);
    shared
}

/// As it is without configuration.
pub static PLAIN: LazyLock<Shared> = LazyLock::new(|| start(&[], 2));

/// Small limits, short deadlines, and a worker that takes 3 s an image while clients wait for 1 s.
pub static STRICT: LazyLock<Shared> = LazyLock::new(|| {
    let limits = ["web.header_timeout=1s", "web.body_timeout=2s", "web.max_body=1 MiB", "web.max_files=5"];
    start(&[&limits[..], &["web.wait=1s", "app.pause=3s", "pool.max_instances=1"]].concat(), 1)
});
