//! Which backend stands behind which edge, and which role gets which edge. The only place that names backends: what is
//! the same on all of them is here, `local` and `aws` have the rest.

#[cfg_attr(not(feature = "aws"), path = "wiring/no_aws.rs")]
mod aws;
mod local;
mod supervisor;

use crate::config::{self, Backend, Config, ConfigArgs, Sources};
use crate::edge::bucket::Bucket;
use crate::edge::fleet::Fleet;
use crate::edge::host::{Clock, Ending, Entropy, Host};
use crate::edge::queue::Queue;
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::model::{self, ModelSettings, PullPolicy, Sessions};
use crate::status::Status;
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
/// What responses are sent to, as messages name it.
const RESPONSES: &str = "response_queue";

/// What a lean build says to backend = "aws".
pub const NO_AWS: &str = "backend = \"aws\" is not part of this build; expected \"local\", or a build with AWS: \
    `cargo build --release --features aws`";

/// This process. In builds for debugging its clock can be set wrong by some seconds, to see two machines' clocks apart.
fn this_host() -> Host {
    let ahead = cfg!(debug_assertions).then(|| std::env::var("BELLOWS_DEBUG_CLOCK_AHEAD").ok()).flatten();
    match ahead.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => Host::new(Clock::Ahead(Duration::from_secs(seconds)), Entropy::System),
        None => Host::system(),
    }
}

/// Queues and buckets, of whichever kind.
struct Stores {
    requests: Queue,
    dead: Queue,
    responses: Queue,
    terminate_requests: Queue,
    notices: Queue,
    input: Bucket,
    output: Bucket,
}

/// Runs the web tier with its controller until it ends.
pub fn web(config: &Config, args: &ConfigArgs) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match config.backend {
            Backend::Local => local::web(config, args).await,
            Backend::Aws => aws::web(config).await,
        }
    })
}

/// Runs one app-tier process until it ends.
pub fn app(config: &Config) -> Ended {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match config.backend {
            Backend::Local => local::app(config, started).await,
            Backend::Aws => aws::app(config, started).await,
        }
    })
}

/// The output bucket, for commands beside the service. To be called inside a runtime. Makes nothing: where there is none
/// nobody has ever run.
pub async fn output_bucket(config: &Config) -> Result<Bucket, Box<dyn Error>> {
    match config.backend {
        Backend::Local => local::output_bucket(config),
        Backend::Aws => aws::output_bucket(config).await,
    }
}

/// A bucket that is no part of the service, as AWS tools find it. To be called inside a runtime.
pub async fn foreign_bucket(name: &str) -> Result<Bucket, Box<dyn Error>> {
    aws::foreign_bucket(name).await
}

/// The TOML document that this instance was handed at its launch; none where the configuration is not of AWS so far, or
/// somebody says that there is none. `patient`: a metadata service that does not answer is asked again.
pub fn user_data(sources: &Sources, patient: bool) -> Result<Option<String>, Box<dyn Error>> {
    let named = sources.variable("BELLOWS_USER_DATA_FILE").is_some_and(|path| !path.is_empty());
    if named || !matches!(Config::peek(sources), Some((_, Backend::Aws))) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(aws::user_data(patient))
}

/// Where the web tier listens.
struct Listeners {
    web: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Listeners, Box<dyn Error>> {
        raise_file_limit(config.web.max_connections);
        let web = bind(config.web.listen.0, "web.listen", "--listen 127.0.0.1:3001").await?;
        let metrics = bind(config.metrics.listen.0, "metrics.listen", "--set metrics.listen=127.0.0.1:9465").await?;
        println!("bellows listens on http://{}/", web.local_addr()?);
        println!("metrics http://{}/metrics", metrics.local_addr()?);
        Ok(Listeners { web, metrics })
    }
}

/// A web tier with its controller, on whichever backend.
struct WebTier {
    host: Host,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    stores: Stores,
    fleet: Fleet,
    /// How this process leads the pool.
    lead: controller::Settings,
}

impl WebTier {
    /// Serves until the process is stopped or must end.
    async fn serve(self, config: &Config, listeners: Listeners) -> Ended {
        let WebTier { host, metrics, status, stores, fleet, lead } = self;
        let web = web::Web::new(web_edges(&stores, &host), web_settings(config), metrics.clone(), status.clone());
        let stop_controller = CancellationToken::new();
        let controller = controller::run(
            controller_edges(stores, &host, fleet),
            lead,
            metrics,
            status,
            stop_controller.clone(),
            *config.app.job_deadline + GRACE,
        );
        web.start();
        let (pool_ended, pool_end) = tokio::sync::oneshot::channel();
        let controller = host.turning.watch("controller", controller);
        host.spawn("controller", async move {
            Box::pin(controller).await;
            let _ = pool_ended.send(());
        });
        let inside = host.turning.watch("metrics", web::serve_metrics(web.clone(), listeners.metrics));
        host.spawn("metrics", inside);
        host.spawn("signals", stop_on_signal(host.clone()));
        let serve = host.turning.watch("accept", web::serve(web, listeners.web));
        supervisor::serving(&host);
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
        supervisor::stopping();
        host.drain(Duration::from_secs(1)).await;
        Ok(failed.map_or(Exit::Success, exit_of))
    }
}

/// An app-tier process as its machine knows it.
struct Member {
    identity: app::Identity,
    /// Cancelled when the machine is to be taken away.
    evicted: CancellationToken,
}

/// The app tier on whichever backend, until it is stopped or must end.
async fn work(
    config: &Config,
    host: Host,
    member: Member,
    pull: PullPolicy,
    started: Instant,
    stores: impl AsyncFnOnce(&Host) -> Result<Stores, Box<dyn Error>>,
) -> Ended {
    host.spawn("signals", stop_on_signal(host.clone()));
    let sessions = config.sessions() as usize;
    let installed = model::ensure(&model_settings(config, pull), model::Progress::Silent)?;
    let loaded = Sessions::new(installed)?;
    let model = loaded.model();
    let engine = loaded.start(sessions)?;
    let Stores { requests, dead, responses, terminate_requests, notices, input, output } = stores(&host).await?;
    let edges = app::Edges {
        requests,
        dead,
        responses,
        terminate_requests,
        notices,
        input,
        output,
        engine,
        host: host.clone(),
    };
    let settings = app::Settings {
        identity: member.identity,
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
        evicted: member.evicted,
    };
    host.spawn("intake", host.turning.watch("intake", app::run(edges, settings)));
    supervisor::serving(&host);
    let ending = host.ended().await;
    supervisor::stopping();
    Ok(exit_of(ending))
}

fn exit_of(ending: Ending) -> Exit {
    match ending {
        Ending::Drained => Exit::Success,
        Ending::Retired => Exit::Retired,
        Ending::Stuck => Exit::Stuck,
        Ending::Unavailable => Exit::Unavailable,
    }
}

/// Which member of the pool this process is, where the configuration says so.
fn identity(config: &Config) -> Option<app::Identity> {
    let (id, instance) = (config.app.app_tier_id.set()?, config.app.instance_id.get()?);
    Some(app::Identity { app_tier_id: AppTierId(id), instance_id: InstanceId(instance.into()) })
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

async fn bind(address: SocketAddr, key: &str, remedy: &str) -> Result<TcpListener, Box<dyn Error>> {
    TcpListener::bind(address)
        .await
        .map_err(|e| format!("{key} = \"{address}\" cannot be listened on: {e}; choose another with {remedy}").into())
}

fn web_edges(stores: &Stores, host: &Host) -> web::Edges {
    web::Edges {
        requests: stores.requests.clone(),
        responses: stores.responses.clone(),
        input: stores.input.clone(),
        output: stores.output.clone(),
        host: host.clone(),
    }
}

fn controller_edges(stores: Stores, host: &Host, fleet: Fleet) -> controller::Edges {
    let Stores { requests, dead, responses, terminate_requests, notices, input, output } = stores;
    let host = host.clone();
    controller::Edges { requests, responses, terminate_requests, notices, dead, input, output, fleet, host }
}

/// How a process leads the pool on its backend.
struct Leading {
    /// Our name in the control object.
    owner: String,
    /// A lock says already that nobody else leads.
    entitled: bool,
    /// How long an instance that no list shows counts.
    unlisted_grace: Duration,
    /// How long an empty answer is waited for before the queue of terminate requests is believed to be empty.
    cancel_wait: Duration,
    /// Whether objects that came of age are ours to delete.
    deletes: bool,
}

/// What a controller of this configuration is told of its pool; for whoever simulates one.
pub fn pool(config: &Config) -> controller::Settings {
    let leading = Leading {
        owner: String::new(),
        entitled: false,
        unlisted_grace: Duration::ZERO,
        cancel_wait: Duration::ZERO,
        deletes: false,
    };
    controller_settings(config, leading)
}

/// Where the pool is on AWS and nobody says how long, the hold follows the boots that are measured.
fn hold(config: &Config) -> Hold {
    let span = config.hold(Duration::ZERO);
    if config.pool.hold.set().is_none() && !config.is_local() { Hold::Boots(span) } else { Hold::Fixed(span) }
}

/// What both kinds of controller are told; the rest is the backend's.
fn controller_settings(config: &Config, kind: Leading) -> controller::Settings {
    let pool = &config.pool;
    let rule = match config.policy() {
        config::Policy::PerRequest => Rule::PerRequest,
        config::Policy::Backlog => Rule::Backlog,
        config::Policy::Deadline => Rule::Deadline,
    };
    controller::Settings {
        owner: kind.owner,
        entitled: kind.entitled,
        policy: Policy {
            rule,
            min: pool.min_instances,
            max: config.max_instances(),
            hold: hold(config),
            latency_target: *pool.latency_target,
            counter_lag: config.counter_lag(),
        },
        tick: config.tick(),
        dry_run: pool.dry_run,
        instance_usd_per_hour: pool.instance_usd_per_hour.0,
        priors: Priors { service: *pool.service_prior, boot: config.boot_prior() },
        slots: config.sessions(),
        job_deadline: *config.app.job_deadline,
        report_every: config.report_every(0),
        unlisted_grace: kind.unlisted_grace,
        cancel_wait: kind.cancel_wait,
        visibility: *config.queue.visibility,
        max_backlog: config.web.max_backlog.set(),
        web_wait: *config.web.wait,
        retention: controller::Retention {
            request_ttl: *config.retention.request_ttl,
            objects: kind.deletes.then_some((*config.retention.inputs, *config.retention.results)),
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
