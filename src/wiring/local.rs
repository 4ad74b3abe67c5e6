//! One machine: queues in SQLite files, objects in folders, workers in child processes, all below the state folder.

use super::{
    Ended, GRACE, Leading, Listeners, Member, RESPONSES, Stores, WebTier, controller_settings, identity,
    model_settings, this_host, work,
};
use crate::config::{Config, ConfigArgs, Pull};
use crate::edge::bucket::{self, Bucket};
use crate::edge::fleet::{self, Fleet};
use crate::edge::host::{Clock, Ending, Host};
use crate::edge::queue::{self, Queue};
use crate::edge::{self, disk};
use crate::metrics::{Loop, Metrics};
use crate::model::{self, PullPolicy};
use crate::status::{Installed, Status};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const OUTPUT: &str = "output";
const DISK_EVERY: Duration = Duration::from_secs(1);

/// What lies below the state folder.
struct Local {
    stores: Stores,
    /// Once more, for what only folders need.
    buckets: [bucket::local::Bucket; 2],
}

impl Local {
    /// Opens, and creates where absent, what lies below the state folder. Only uploads wait for the disk.
    fn open(config: &Config) -> edge::Result<Local> {
        let state = config.state_dir();
        let folder = state.join("queues");
        disk::create_folders(&folder).map_err(|e| edge::Error::io("state.open", folder.display(), e))?;
        let open = |file: &str| queue::local::Store::open(folder.join(file), Clock::System);
        let settings = |name: &str| queue::Settings {
            name: name.into(),
            visibility: *config.queue.visibility,
            retention: *config.queue.retention,
            dead_letters: None,
        };
        let requests = open("request.db")?;
        let dead = queue::Settings { retention: *config.queue.dead_retention, ..settings("dead_letter_queue") };
        let dead_letters = Some((config.queue.max_receives, dead.name.clone()));
        let request = queue::Settings { dead_letters, ..settings("request_queue") };
        let relaxed = |file: &str, name: &str| Ok(Queue::Local(open(file)?.queue(settings(name), false)?));
        let bucket = |name: &str| bucket::local::Bucket::open(state.join(name), Clock::System);
        let (input, output) = (bucket("input")?, bucket(OUTPUT)?);
        let stores = Stores {
            dead: Queue::Local(requests.queue(dead, false)?),
            requests: Queue::Local(requests.queue(request, true)?),
            responses: relaxed("response.db", RESPONSES)?,
            terminate_requests: relaxed("terminate_request.db", "terminate_request_queue")?,
            notices: relaxed("terminate_confirm.db", "terminate_confirm_queue")?,
            input: Bucket::Local(input.clone()),
            output: Bucket::Local(output.clone()),
        };
        Ok(Local { stores, buckets: [input, output] })
    }
}

/// The local system: web tier and controller here, app tier in child processes.
pub(super) async fn web(config: &Config, args: &ConfigArgs) -> Ended {
    let host = this_host();
    let _lock = own_state(config)?;
    let listeners = Listeners::bind(config).await?;
    println!("state   {}", config.state_dir().display());
    let local = Local::open(config).map_err(|e| state_error(config, &e))?;
    let metrics = Arc::new(Metrics::new(host.clock.now()));
    let status = Arc::new(Status::new(config.local.min_free.0));
    metrics.set_local_min_free_bytes(config.local.min_free.0);
    status.set_model(Some("it is being fetched and checked".into()));
    // the first upload may come before the first look
    status.set_free(disk::free_bytes(&config.state_dir())?);
    let fleet = local_fleet(config, args, &host, &local.buckets)?;
    host.spawn("disk", watch_disk(config.state_dir(), host.stop.clone(), metrics.clone(), status.clone()));
    fetch_model(config, listeners.web.local_addr()?, &host, &metrics, &status, &fleet);
    // `controller.lock` is the lease, counters and lists are exact
    let leading = Leading {
        owner: format!("local-{}", host.entropy.uuid().simple()),
        entitled: true,
        unlisted_grace: Duration::ZERO,
        cancel_wait: Duration::ZERO,
        deletes: true,
    };
    let lead = controller_settings(config, leading);
    WebTier { host, metrics, status, stores: local.stores, fleet, lead }.serve(config, listeners).await
}

/// One app-tier process, a child of the web tier.
pub(super) async fn app(config: &Config, started: Instant) -> Ended {
    let host = this_host();
    let identity = identity(config).ok_or(
        "role = \"app\" on one machine: the web tier starts its app processes itself; \
        expected role = \"web\" (or app.app_tier_id and app.instance_id, as the web tier passes them)",
    )?;
    let _lock = fleet::local::join(&pool_dir(config), identity.app_tier_id, &identity.instance_id)?;
    fleet::local::watch_parent(&host)?;
    // the web tier has fetched the model
    let stores = async |_: &Host| Ok(Local::open(config)?.stores);
    // nobody takes this machine away from its own processes
    let member = Member { identity, evicted: CancellationToken::new() };
    work(config, host, member, PullPolicy::Never, started, stores).await
}

/// The folder of results, where there is one.
pub(super) fn output_bucket(config: &Config) -> Result<Bucket, Box<dyn Error>> {
    let (state, folder) = (config.state_dir(), config.state_dir().join(OUTPUT));
    if !folder.is_dir() {
        let state = state.display();
        return Err(
            format!("no bellows has run with the state folder {state}; name its own with --state-dir DIR").into()
        );
    }
    let opened = bucket::local::Bucket::open(folder, Clock::System);
    Ok(Bucket::Local(opened.map_err(|e| format!("the state folder {} cannot be used: {}", state.display(), e.detail))?))
}

fn pool_dir(config: &Config) -> PathBuf {
    config.state_dir().join("pool")
}

/// Makes sure that one controller, and so one web tier, uses the state folder.
fn own_state(config: &Config) -> Result<fleet::local::lock::Lock, Box<dyn Error>> {
    let state = config.state_dir();
    let made = disk::create_folders(&state).map_err(|e| edge::Error::io("state.open", state.display(), e));
    made.map_err(|e| state_error(config, &e))?;
    disk::refuse_network(&state).map_err(|e| state_error(config, &e))?;
    let lock = fleet::local::lock::Lock::take(&state.join("controller.lock"), "controller");
    lock.map_err(|e| match e.kind {
        edge::Kind::Conflict => format!(
            "another bellows uses the state folder {}: {}; stop it, or name another folder with --state-dir",
            state.display(),
            e.detail
        )
        .into(),
        _ => state_error(config, &e),
    })
}

fn state_error(config: &Config, e: &edge::Error) -> Box<dyn Error> {
    let state = config.state_dir();
    format!("the state folder {} cannot be used: {}; name another with --state-dir DIR", state.display(), e.detail)
        .into()
}

/// Children are this program with this configuration, role app, and no leave to fetch anything.
fn local_fleet(
    config: &Config,
    args: &ConfigArgs,
    host: &Host,
    buckets: &[bucket::local::Bucket; 2],
) -> Result<Fleet, Box<dyn Error>> {
    let mut arguments = vec!["run".into()];
    arguments.extend(args.to_arguments());
    let fixed = ["--role=app".into(), "--set=model.pull=never".into()];
    arguments.extend(fixed);
    arguments.push(format!("--state-dir={}", config.state_dir().display()).into());
    let settings = fleet::local::Settings {
        pool_dir: pool_dir(config),
        program: std::env::current_exe()?,
        arguments,
        kill_after: *config.app.job_deadline + GRACE,
    };
    let swept = buckets.clone();
    let sweep: fleet::local::Sweep = Arc::new(move |pid| Box::pin(sweep(swept.clone(), Some(pid))));
    host.spawn("sweep", self::sweep(buckets.clone(), None));
    Ok(Fleet::Local(fleet::local::Fleet::new(settings, host.clone(), sweep)?))
}

/// Removes what killed processes left half-written: those of one, or of all that are gone.
async fn sweep(buckets: [bucket::local::Bucket; 2], pid: Option<u32>) {
    for bucket in buckets {
        if let Err(e) = bucket.sweep_temporary(pid).await {
            tracing::warn!(error = %e, "temporary files are left to the next start");
        }
    }
}

/// Fetches what is missing beside the running server; the pool starts when it is there.
fn fetch_model(
    config: &Config,
    listen: SocketAddr,
    host: &Host,
    metrics: &Arc<Metrics>,
    status: &Arc<Status>,
    fleet: &Fleet,
) {
    let pull = if config.model.pull == Pull::Never { PullPolicy::Never } else { PullPolicy::Missing };
    let settings = model_settings(config, pull);
    let (metrics, status, changed, ending) = (metrics.clone(), status.clone(), fleet.changed(), host.clone());
    let fetch = move || match model::ensure(&settings, model::Progress::stderr()) {
        Ok(installed) => {
            let (engine, name) = (installed.library.version.as_str(), installed.model.name());
            metrics.set_build(engine, name);
            status.set_installed(Installed { name: name.into(), engine: format!("onnxruntime {engine}") });
            println!("model   {name}, engine ONNX Runtime {engine}");
            println!("try     curl -F myfile=@photo.jpg http://{listen}/");
            status.set_model(None);
            changed.notify_one();
        }
        Err(e) => {
            eprintln!("bellows: {e}\n{}", e.remedy());
            ending.end(Ending::Unavailable);
        }
    };
    if let Err(e) = std::thread::Builder::new().name("model".into()).spawn(fetch) {
        tracing::error!(error = %e, "no thread to fetch the model with");
        host.end(Ending::Unavailable);
    }
}

/// Looks at the disk's free space, so that probes and uploads need not.
async fn watch_disk(state: PathBuf, stop: CancellationToken, metrics: Arc<Metrics>, status: Arc<Status>) {
    let mut ticks = tokio::time::interval(DISK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        metrics.loop_tick(Loop::Disk);
        match disk::free_bytes(&state) {
            Ok(free) => {
                metrics.set_local_free_bytes(free);
                status.set_free(free);
            }
            Err(e) => tracing::warn!(error = %e, "free disk space cannot be read"),
        }
    }
}
