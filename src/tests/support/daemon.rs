//! A whole local system of a test's own: its state folder, its ports, its processes.

use super::client::Client;
use super::{data_dir, eventually, root};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the daemon has printed so far, both streams.
pub type Printed = Arc<Mutex<String>>;

pub struct Daemon {
    pub child: Child,
    pub state: PathBuf,
    pub url: String,
    pub metrics: String,
    pub output: Printed,
}

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub state: PathBuf,
    pub settings: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub listen: String,
    /// Where engine and models lie.
    pub model_dir: PathBuf,
}

impl Options {
    /// The fixture model, two workers, any port.
    pub fn new(state: &Path) -> Options {
        let manifest = format!("model.manifest={}", root().join("models/fixture-colours.toml").display());
        Options {
            state: state.to_owned(),
            settings: vec![manifest, "pool.max_instances=2".into(), "metrics.listen=127.0.0.1:0".into()],
            environment: Vec::new(),
            listen: "127.0.0.1:0".into(),
            model_dir: data_dir(),
        }
    }

    #[must_use]
    pub fn set(mut self, setting: &str) -> Options {
        self.settings.push(setting.into());
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        command.args(["run", "--listen", &self.listen, "--state-dir"]).arg(&self.state);
        command.arg(format!("--set=model.dir={}", self.model_dir.display()));
        command.args(self.settings.iter().map(|setting| format!("--set={setting}")));
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts and waits until it listens.
    pub fn start(&self) -> Daemon {
        watch(self.command().spawn().unwrap(), &self.state)
    }

    /// The same, after what a shell does first (`ulimit`).
    pub fn start_under(&self, first: &str) -> Daemon {
        let plain = self.command();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(plain.get_program()).args(plain.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        watch(command.spawn().unwrap(), &self.state)
    }

    /// Starts and waits until it takes uploads.
    pub fn start_ready(&self) -> Daemon {
        let daemon = self.start();
        eventually("it takes uploads", Duration::from_mins(2), || {
            assert!(!daemon.printed().contains("bellows: "), "it cannot run: {}", daemon.printed());
            Client::new().get(&format!("{}/readyz", daemon.url)).is_ok_and(|answer| answer.status == 200)
        });
        daemon
    }

    /// Starts and waits until `workers` have reported that they are warm; so many are kept.
    pub fn start_warm(&self, workers: u32) -> Daemon {
        let daemon = self.clone().set(&format!("pool.min_instances={workers}")).start();
        daemon.wait_warm(workers);
        daemon
    }
}

/// A daemon with piped streams, once it listens; `state` is among the arguments of all its processes.
pub fn watch(mut child: Child, state: &Path) -> Daemon {
    let output = Printed::default();
    collect(child.stdout.take().unwrap(), output.clone());
    collect(child.stderr.take().unwrap(), output.clone());
    let mut daemon = Daemon { child, state: state.to_owned(), url: String::new(), metrics: String::new(), output };
    eventually("the daemon says where it listens", Duration::from_secs(20), || {
        assert!(daemon.child.try_wait().unwrap().is_none(), "it ended: {}", daemon.printed());
        daemon.printed().contains("metrics http")
    });
    let url = daemon.word_after("bellows listens on ");
    url.trim_end_matches('/').clone_into(&mut daemon.url);
    daemon.metrics = daemon.word_after("metrics ");
    daemon
}

fn collect(stream: impl std::io::Read + Send + 'static, output: Printed) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

impl Daemon {
    pub fn printed(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    fn word_after(&self, before: &str) -> String {
        let printed = self.printed();
        let rest = &printed[printed.find(before).unwrap() + before.len()..];
        rest.split_whitespace().next().unwrap().to_owned()
    }

    pub fn wait_warm(&self, workers: u32) {
        eventually("the workers are warm", Duration::from_mins(2), || {
            assert!(!self.printed().contains("bellows: "), "it cannot run: {}", self.printed());
            self.metric("bellows_pool_instances{state=\"running\"}") >= Some(f64::from(workers))
        });
    }

    /// The value of one series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = Client::new().get(&self.metrics).ok()?.body;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// The live instances by state: pending, running, retiring, terminating.
    pub fn pool(&self) -> [u32; 4] {
        let text = Client::new().get(&self.metrics).map(|answer| answer.body).unwrap_or_default();
        ["pending", "running", "retiring", "terminating"].map(|state| {
            let series = format!("bellows_pool_instances{{state=\"{state}\"}}");
            text.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse().ok()).unwrap_or(0)
        })
    }

    /// The queues that are not empty, as the metrics name them; none where nothing can be read.
    pub fn messages(&self) -> Option<Vec<String>> {
        let text = Client::new().get(&self.metrics).ok()?.body;
        let messages: Vec<&str> = text.lines().filter(|line| line.starts_with("bellows_queue_messages")).collect();
        let full = messages.iter().filter(|line| !line.ends_with(" 0")).map(|line| (*line).to_owned()).collect();
        (messages.len() == 15).then_some(full)
    }

    /// No message is in any queue.
    pub fn is_drained(&self) -> bool {
        self.messages().is_some_and(|messages| messages.is_empty())
    }

    /// No instance, no message: what a quiet system comes to.
    pub fn is_at_rest(&self) -> bool {
        self.pool() == [0; 4] && self.is_drained() && self.tree().iter().all(|pid| *pid == self.child.id())
    }

    /// One field of `/pool`.
    pub fn pool_field(&self, field: &str) -> serde_json::Value {
        Client::new().get(&self.metrics.replace("/metrics", "/pool")).unwrap().json()[field].clone()
    }

    /// A command that asks or tells this daemon something.
    pub fn query(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        let metrics = format!("metrics.listen={}", super::raw::host(&self.metrics));
        command.arg(name).args(["--set", &metrics, "--state-dir"]).arg(&self.state).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// The same, once it has ended.
    pub fn command(&self, name: &str, arguments: &[&str]) -> Output {
        self.query(name, arguments).output().unwrap()
    }

    /// This daemon and its app processes.
    pub fn tree(&self) -> Vec<u32> {
        let mut pids = processes_of(&self.state);
        pids.sort_unstable();
        pids
    }

    /// Its app processes.
    pub fn workers(&self) -> Vec<u32> {
        self.tree().into_iter().filter(|pid| *pid != self.child.id()).collect()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(&mut self) -> ExitStatus {
        signal(self.child.id(), Signal::TERM);
        self.wait()
    }

    /// The wait for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not stop: {}", self.printed());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        for pid in processes_of(&self.state) {
            signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("the daemon printed:\n{}", self.printed());
        }
    }
}

pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Processes that have this state folder among their arguments.
pub fn processes_of(state: &Path) -> Vec<u32> {
    let state = state.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(state)
    })
    .collect()
}
