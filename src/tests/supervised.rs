//! What systemd hears of a daemon: a socket of a test's own stands in for it.

use super::support::daemon::Options;
use super::support::eventually;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The socket of a stand-in for systemd, and what came in so far.
struct Supervisor {
    socket: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Supervisor {
    fn new(folder: &Path) -> Supervisor {
        let socket = folder.join("notify").to_str().unwrap().to_owned();
        let (listener, heard) = (UnixDatagram::bind(&socket).unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let into = heard.clone();
        std::thread::spawn(move || {
            let mut message = [0; 256];
            while let Ok(length) = listener.recv(&mut message) {
                into.lock().unwrap().push(String::from_utf8_lossy(&message[..length]).trim().to_owned());
            }
        });
        Supervisor { socket, heard }
    }

    /// Of a unit that waits a second for a sign of life.
    fn options(&self, state: &Path) -> Options {
        let variables = [("NOTIFY_SOCKET", self.socket.as_str()), ("WATCHDOG_USEC", "1000000")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Options { environment, ..Options::new(state) }
    }

    fn count(&self, message: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|heard| *heard == message).count()
    }
}

#[test]
fn systemd_hears_that_the_web_tier_serves_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(folder.path());
    let mut daemon = supervisor.options(&folder.path().join("state")).start_warm(1);
    eventually("it gives signs of life", Duration::from_secs(20), || supervisor.count("WATCHDOG=1") > 2);
    assert_eq!(supervisor.heard.lock().unwrap()[0], "READY=1");
    assert_eq!(supervisor.count("READY=1"), 1, "its workers have nothing to say: {:?}", supervisor.heard);
    assert_eq!(supervisor.count("STOPPING=1"), 0);
    assert!(daemon.stop().success());
    eventually("it says that it stops", Duration::from_secs(5), || supervisor.count("STOPPING=1") > 0);
}

#[test]
fn systemd_hears_of_an_app_process_once_its_model_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new(folder.path());
    let app = |options: &Options| {
        let mut command = options.command();
        command.args(["--role=app", "--set=app.app_tier_id=1", "--set=app.instance_id=one"]).stdin(Stdio::piped());
        command
    };
    let state = folder.path().join("state");
    std::fs::create_dir_all(state.join("pool")).unwrap();
    let options = supervisor.options(&state);
    let failed = app(&options.clone().set("model.engine=/nonexistent")).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("/nonexistent"), "{said}");
    assert_eq!(*supervisor.heard.lock().unwrap(), [""; 0], "it never served");
    let mut child = app(&options).spawn().unwrap();
    eventually("it serves", Duration::from_mins(1), || supervisor.count("READY=1") == 1);
    eventually("it gives signs of life", Duration::from_secs(20), || supervisor.count("WATCHDOG=1") > 2);
    // its parent is gone
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    eventually("it says that it stops", Duration::from_secs(5), || supervisor.count("STOPPING=1") > 0);
}
