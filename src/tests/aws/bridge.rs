//! What stands in for EC2's boot: every pending or running instance of a pool gets one real app process, with a metadata
//! service of its own. The process ends with its instance, and the instance with a process that powers itself off.

use super::metadata::Metadata;
use crate::support::daemon::signal;
use crate::support::emulator::{KEY, Place};
use aws_sdk_ec2::types::{Filter, Instance, InstanceAttributeName, InstanceStateName};
use base64::Engine;
use bellows_core::pool::tag;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From the end of its process to the end of an instance: the controller hears of it before.
const POWER_OFF: Duration = Duration::from_secs(10);
/// The exit code of a process that powers its instance off.
const RETIRED: i32 = 80;

/// How an app process is started beside what its metadata service tells.
#[derive(Clone)]
pub struct Boot {
    pub pool: String,
    /// `/etc/bellows/bellows.toml` of the image.
    pub image: PathBuf,
    /// Where each process writes what it says.
    pub logs: PathBuf,
    pub environment: Vec<(String, String)>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Most instances at once that somebody would pay for.
    pub most: usize,
    pub instances: BTreeSet<String>,
    /// App-tier ids that two of them had at once. Never to happen.
    pub conflicts: Vec<String>,
    pub now: usize,
    /// The process of each instance that runs one.
    pub processes: BTreeMap<String, u32>,
    /// Process ends by exit code; none: killed.
    pub ends: BTreeMap<Option<i32>, u32>,
}

pub struct Bridge {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    /// Watches the account of `place` over a way without faults.
    pub fn start(place: &Place, boot: Boot) -> Bridge {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let watching = Watching {
            place: place.clone(),
            boot,
            seen: seen.clone(),
            processes: BTreeMap::new(),
            powering_off: BTreeMap::new(),
        };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(watching.run(&stopped));
        });
        Bridge { stop, seen, thread: Some(thread) }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// What kills (-9) the app process that a call came from.
    pub fn killer(&self) -> impl Fn(&str) + Send + 'static {
        let seen = self.seen.clone();
        move |told| {
            let processes = seen.lock().unwrap().processes.clone();
            let named = processes.iter().find(|(id, _)| told.contains(id.as_str()));
            signal(*named.unwrap_or_else(|| panic!("of no instance: {told}")).1, Signal::KILL);
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watching {
    place: Place,
    boot: Boot,
    seen: Arc<Mutex<Seen>>,
    processes: BTreeMap<String, Process>,
    /// Instances whose process has ended for good, and when they are off.
    powering_off: BTreeMap<String, Instant>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Watching {
    async fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&mut self) {
        let paid = self.paid().await;
        self.note(&paid);
        self.seen.lock().unwrap().processes =
            self.processes.iter().map(|(id, process)| (id.clone(), process.0.id())).collect();
        for (id, _) in self.powering_off.extract_if(.., |_, at| *at <= Instant::now()) {
            // the controller may have ended it meanwhile
            let _ = self.place.clients.ec2.terminate_instances().instance_ids(id).send().await;
        }
        let gone: Vec<String> = self.processes.keys().filter(|id| !paid.contains_key(*id)).cloned().collect();
        for id in gone {
            self.processes.remove(&id);
            self.ended(None);
        }
        for (id, instance) in &paid {
            if self.powering_off.contains_key(id) {
                continue;
            }
            match self.processes.get_mut(id).map(|process| process.0.try_wait().unwrap()) {
                None => self.start(id, instance).await,
                Some(None) => {}
                Some(Some(status)) => {
                    self.ended(status.code());
                    self.processes.remove(id);
                    // anything else is started again, as its unit says
                    if status.code() == Some(RETIRED) {
                        self.powering_off.insert(id.clone(), Instant::now() + POWER_OFF);
                    }
                }
            }
        }
    }

    fn ended(&self, code: Option<i32>) {
        *self.seen.lock().unwrap().ends.entry(code).or_default() += 1;
    }

    /// Instances of the pool that somebody would pay for.
    async fn paid(&self) -> BTreeMap<String, Instance> {
        let pool = Filter::builder().name(format!("tag:{}", tag::POOL)).values(&self.boot.pool).build();
        let found = self.place.clients.ec2.describe_instances().filters(pool).send().await.unwrap();
        let instances =
            found.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
        let lives = |instance: &Instance| {
            let name = instance.state().and_then(|state| state.name());
            matches!(name, Some(InstanceStateName::Pending | InstanceStateName::Running))
        };
        instances.filter(lives).map(|instance| (instance.instance_id.clone().unwrap(), instance)).collect()
    }

    fn note(&self, paid: &BTreeMap<String, Instance>) {
        let mut seen = self.seen.lock().unwrap();
        seen.most = seen.most.max(paid.len());
        seen.now = paid.len();
        seen.instances.extend(paid.keys().cloned());
        let mut ids = BTreeSet::new();
        for instance in paid.values() {
            let id = tag::id(&value(instance, tag::IDS), index(instance));
            if !ids.insert(id) {
                seen.conflicts.push(format!("{id:?} is on two of {:?}", paid.keys()));
            }
        }
    }

    async fn start(&mut self, id: &str, instance: &Instance) {
        let user_data = self.user_data(id).await;
        let ids = format!("meta-data/tags/instance/{}", tag::IDS);
        let metadata = Metadata::start(&[
            ("user-data", &user_data),
            ("meta-data/instance-id", id),
            ("meta-data/ami-launch-index", &index(instance).to_string()),
            ("meta-data/instance-life-cycle", "on-demand"),
            (&ids, &value(instance, tag::IDS)),
        ]);
        let log = File::options().create(true).append(true).open(self.boot.logs.join(format!("{id}.log"))).unwrap();
        let mut command = daemon(&self.boot.image, &metadata);
        command.envs(self.boot.environment.iter().map(|(name, value)| (name, value)));
        // no secret, and so its calls can be told from others'
        command.env("AWS_ACCESS_KEY_ID", id);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.insert(id.to_owned(), Process(command.spawn().unwrap()));
    }

    /// What the instance was handed by its launch template.
    async fn user_data(&self, id: &str) -> String {
        let call = self.place.clients.ec2.describe_instance_attribute().instance_id(id);
        let told = call.attribute(InstanceAttributeName::UserData).send().await.unwrap();
        let encoded = told.user_data.and_then(|data| data.value).unwrap();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
    }
}

/// `bellows run` on an instance: the image's file, the metadata service, and the instance's role as keys.
pub fn daemon(image: &Path, metadata: &Metadata) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
    command.arg("run").arg("--config").arg(image);
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint).env_remove("AWS_EC2_METADATA_DISABLED");
    command.envs([("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", KEY)]).stdin(Stdio::null());
    command
}

fn value(instance: &Instance, key: &str) -> String {
    let tag = instance.tags().iter().find(|tag| tag.key() == Some(key));
    tag.and_then(|tag| tag.value()).unwrap_or_default().to_owned()
}

fn index(instance: &Instance) -> u32 {
    instance.ami_launch_index().unwrap_or_default().try_into().unwrap()
}
