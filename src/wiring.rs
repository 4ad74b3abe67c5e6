//! Which backend stands behind which edge, and which role gets which edge. The only file that names backends.

use crate::config::{self, Config, ConfigArgs, Pull};
use crate::edge::bucket::{self, Bucket};
use crate::edge::fleet::{self, Fleet};
use crate::edge::host::{Clock, Ending, Host};
use crate::edge::queue::{self, Queue};
use crate::edge::{self, disk};
use crate::exit::Exit;
use crate::metrics::{Loop, Metrics};
use crate::model::{self, ModelSettings, PullPolicy, Sessions};
use crate::status::{Installed, Status};
use crate::{app, controller, web};
use bellows_core::estimate::Priors;
use bellows_core::pool::{AppTierId, InstanceId};
use bellows_core::scale::{Hold, Policy, Rule};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Ended = Result<Exit, Box<dyn Error>>;

/// How long an instance that shall end may take beyond the longest job.
const GRACE: Duration = Duration::from_secs(30);
/// Files and sockets beside those of clients: queues, objects being written, workers' pipes, the metrics listener.
const SPARE_FILES: u64 = 256;
/// Where the system sets no limit of its own.
const MOST_FILES: u64 = 1 << 20;
const DISK_EVERY: Duration = Duration::from_secs(1);

/// What a lean build says to backend = "aws".
pub const NO_AWS: &str = "backend = \"aws\" is not part of this build; expected \"local\", or a build with AWS: \
    cargo build --release --features aws";

/// Queues and buckets of one machine.
struct Local {
    requests: Queue,
    dead: Queue,
    responses: Queue,
    terminate_requests: Queue,
    notices: Queue,
    input: bucket::local::Bucket,
    output: bucket::local::Bucket,
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
        Ok(Local {
            dead: Queue::Local(requests.queue(dead, false)?),
            requests: Queue::Local(requests.queue(request, true)?),
            responses: relaxed("response.db", RESPONSES)?,
            terminate_requests: relaxed("terminate_request.db", "terminate_request_queue")?,
            notices: relaxed("terminate_confirm.db", "terminate_confirm_queue")?,
            input: bucket("input")?,
            output: bucket(OUTPUT)?,
        })
    }
}

const RESPONSES: &str = "response_queue";
const OUTPUT: &str = "output";

/// The local system: web tier and controller here, app tier in child processes.
pub fn web(config: &Config, args: &ConfigArgs) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let host = Host::system();
        let _lock = own_state(config)?;
        raise_file_limit(config.web.max_connections);
        let listener = bind(config.web.listen.0, "web.listen", "--listen 127.0.0.1:3001").await?;
        let metrics_listener =
            bind(config.metrics.listen.0, "metrics.listen", "--set metrics.listen=127.0.0.1:9465").await?;
        say_hello(config, listener.local_addr()?, metrics_listener.local_addr()?);
        let local = Local::open(config).map_err(|e| state_error(config, &e))?;
        let metrics = Arc::new(Metrics::new(host.clock.now()));
        let status = Arc::new(Status::new(config.local.min_free.0));
        status.set_model(Some("it is being fetched and checked".into()));
        // the first upload may come before the first look
        status.set_free(disk::free_bytes(&config.state_dir())?);
        let web = web::Web::new(web_edges(&local, &host), web_settings(config), metrics.clone(), status.clone());
        let fleet = local_fleet(config, args, &host, &local)?;
        let stop_controller = CancellationToken::new();
        let controller = controller::run(
            controller_edges(&local, &host, &fleet),
            controller_settings(config, &host),
            metrics.clone(),
            status.clone(),
            stop_controller.clone(),
            *config.app.job_deadline + GRACE,
        );
        web.start();
        let (pool_ended, pool_end) = tokio::sync::oneshot::channel();
        host.spawn("controller", async move {
            controller.await;
            let _ = pool_ended.send(());
        });
        host.spawn("disk", watch_disk(config.state_dir(), host.stop.clone(), metrics.clone(), status.clone()));
        host.spawn("metrics", web::serve_metrics(web.clone(), metrics_listener));
        host.spawn("signals", stop_on_signal(host.clone()));
        fetch_model(config, listener.local_addr()?, &host, &metrics, &status, &fleet);
        let serve = web::serve(web, listener);
        let failed = tokio::select! {
            biased;
            ending = host.ended() => Some(ending),
            () = serve => None,
        };
        stop_controller.cancel();
        // whoever asks a second time does not wait for the workers: they finish what they hold by themselves
        let failed = if failed.is_some() {
            failed
        } else {
            tokio::select! {
                biased;
                ending = host.ended() => Some(ending),
                _ = pool_end => None,
            }
        };
        host.end(Ending::Drained);
        host.drain(Duration::from_secs(1)).await;
        Ok(failed.map_or(Exit::Success, exit_of))
    })
}

/// One app-tier process.
pub fn app(config: &Config) -> Ended {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let host = Host::system();
        let identity = identity(config)?;
        let _lock = fleet::local::join(&pool_dir(config), identity.app_tier_id, &identity.instance_id)?;
        fleet::local::watch_parent(&host)?;
        host.spawn("signals", stop_on_signal(host.clone()));
        let sessions = config.sessions() as usize;
        let installed = model::ensure(&model_settings(config, PullPolicy::Never), model::Progress::Silent)?;
        let loaded = Sessions::new(installed)?;
        let model = loaded.model();
        let engine = loaded.start(sessions)?;
        let local = Local::open(config)?;
        let edges = app::Edges {
            requests: local.requests,
            dead: local.dead,
            responses: local.responses,
            terminate_requests: local.terminate_requests,
            notices: local.notices,
            input: Bucket::Local(local.input),
            output: Bucket::Local(local.output),
            engine,
            host: host.clone(),
        };
        let settings = app::Settings {
            identity,
            sessions,
            model,
            job_deadline: *config.app.job_deadline,
            pause: *config.app.pause,
            visibility: *config.queue.visibility,
            heartbeat: *config.queue.heartbeat,
            request_ttl: *config.retention.request_ttl,
            label_objects: config.web.label_objects,
            report_every: config.report_every(1),
            started,
        };
        host.spawn("intake", app::run(edges, settings));
        Ok(exit_of(host.ended().await))
    })
}

/// The output bucket, for commands beside the service. Makes nothing: where there is none nobody has ever run.
pub fn output_bucket(config: &Config) -> Result<Bucket, Box<dyn Error>> {
    if !config.is_local() {
        return Err(NO_AWS.into());
    }
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

fn exit_of(ending: Ending) -> Exit {
    match ending {
        Ending::Drained => Exit::Success,
        Ending::Retired => Exit::Retired,
        Ending::Stuck => Exit::Stuck,
        Ending::Unavailable => Exit::Unavailable,
    }
}

fn identity(config: &Config) -> Result<app::Identity, Box<dyn Error>> {
    match (config.app.app_tier_id.set(), config.app.instance_id.get()) {
        (Some(id), Some(instance)) => {
            Ok(app::Identity { app_tier_id: AppTierId(id), instance_id: InstanceId(instance.into()) })
        }
        _ => Err("role = \"app\" on one machine: the web tier starts its app processes itself; \
            expected role = \"web\" (or app.app_tier_id and app.instance_id, as the web tier passes them)"
            .into()),
    }
}

fn pool_dir(config: &Config) -> PathBuf {
    config.state_dir().join("pool")
}

/// Lets this process have as many files and sockets as the system allows: the soft limit is often 1,024, for programs
/// that use select(2).
fn raise_file_limit(max_connections: u32) {
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.unwrap_or(MOST_FILES);
    if limits.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limits.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(error = %e, "the limit of open files cannot be raised");
        }
    }
    let needed = u64::from(max_connections) + SPARE_FILES;
    let Some(current) = getrlimit(Resource::Nofile).current.filter(|current| *current < needed) else { return };
    tracing::warn!(
        files.limit = current,
        files.needed = needed,
        "fewer files may be open than web.max_connections needs: raise the hard limit (ulimit -Hn, LimitNOFILE=), or \
        lower web.max_connections"
    );
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

async fn bind(address: SocketAddr, key: &str, remedy: &str) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address)
        .await
        .map_err(|e| format!("{key} = \"{address}\" cannot be listened on: {e}; choose another with {remedy}").into())
}

fn web_edges(local: &Local, host: &Host) -> web::Edges {
    web::Edges {
        requests: local.requests.clone(),
        responses: local.responses.clone(),
        input: Bucket::Local(local.input.clone()),
        output: Bucket::Local(local.output.clone()),
        host: host.clone(),
    }
}

fn controller_edges(local: &Local, host: &Host, fleet: &Fleet) -> controller::Edges {
    controller::Edges {
        requests: local.requests.clone(),
        responses: local.responses.clone(),
        terminate_requests: local.terminate_requests.clone(),
        notices: local.notices.clone(),
        dead: local.dead.clone(),
        input: Bucket::Local(local.input.clone()),
        output: Bucket::Local(local.output.clone()),
        fleet: fleet.clone(),
        host: host.clone(),
    }
}

/// One machine: `controller.lock` is the lease, counters and lists are exact.
fn controller_settings(config: &Config, host: &Host) -> controller::Settings {
    let pool = &config.pool;
    let rule = match pool.policy {
        config::Policy::PerRequest => Rule::PerRequest,
        config::Policy::Backlog => Rule::Backlog,
        config::Policy::Deadline => Rule::Deadline,
    };
    controller::Settings {
        owner: format!("local-{}", host.entropy.uuid().simple()),
        entitled: true,
        policy: Policy {
            rule,
            min: pool.min_instances,
            max: config.max_instances(),
            hold: Hold::Fixed(config.hold(Duration::ZERO)),
            latency_target: *pool.latency_target,
            counter_lag: config.counter_lag(),
        },
        tick: config.tick(),
        dry_run: pool.dry_run,
        priors: Priors { service: *pool.service_prior, boot: config.boot_prior() },
        slots: config.sessions(),
        job_deadline: *config.app.job_deadline,
        report_every: config.report_every(0),
        unlisted_grace: Duration::ZERO,
        cancel_wait: Duration::ZERO,
        max_backlog: config.web.max_backlog.set(),
        web_wait: *config.web.wait,
        retention: controller::Retention {
            request_ttl: *config.retention.request_ttl,
            objects: Some((*config.retention.inputs, *config.retention.results)),
        },
    }
}

fn web_settings(config: &Config) -> web::Settings {
    web::Settings {
        wait: *config.web.wait,
        drain: *config.web.drain,
        header_timeout: *config.web.header_timeout,
        body_timeout: *config.web.body_timeout,
        max_body: config.web.max_body.0,
        max_files: config.web.max_files as usize,
        max_connections: config.web.max_connections as usize,
        body_budget: config.web.body_budget.0,
        response_format: config.web.response_format,
        tokens: config.web.tokens.clone(),
        allow_anonymous: config.web.allow_anonymous,
        request_ttl: *config.retention.request_ttl,
        reply_to: RESPONSES.into(),
        barrier: barrier(),
    }
}

/// A folder in which tests see which messages are durable, and can hold the web tier there. Not in release builds.
fn barrier() -> Option<PathBuf> {
    cfg!(debug_assertions).then(|| std::env::var_os("BELLOWS_DEBUG_BARRIER").map(PathBuf::from)).flatten()
}

/// Children are this program with this configuration, role app, and no leave to fetch anything.
fn local_fleet(config: &Config, args: &ConfigArgs, host: &Host, local: &Local) -> Result<Fleet, Box<dyn Error>> {
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
    let (input, output) = (local.input.clone(), local.output.clone());
    let sweep: fleet::local::Sweep = Arc::new(move |pid| Box::pin(sweep([input.clone(), output.clone()], Some(pid))));
    host.spawn("sweep", self::sweep([local.input.clone(), local.output.clone()], None));
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

/// The section `model` as the model's module takes it.
pub fn model_settings(config: &Config, pull: PullPolicy) -> ModelSettings {
    ModelSettings {
        name: config.model.name.0.clone(),
        manifest: config.model.manifest.get().map(Path::to_path_buf),
        pull,
        dir: Some(config.model_dir()),
        engine: config.model.engine.get().map(Path::to_path_buf),
        max_pixels: config.model.max_pixels.0,
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

fn say_hello(config: &Config, web: SocketAddr, metrics: SocketAddr) {
    println!("bellows listens on http://{web}/");
    println!("metrics http://{metrics}/metrics");
    println!("state   {}", config.state_dir().display());
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

/// The first SIGTERM or SIGINT asks to finish, a second one ends at once.
async fn stop_on_signal(host: Host) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return tracing::error!("signals cannot be heard");
    };
    for first in [true, false] {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = host.ended() => return,
        }
        if first {
            tracing::info!("stopping: what is in hand is finished");
            host.stop.cancel();
        } else {
            host.end(Ending::Unavailable);
        }
    }
}
