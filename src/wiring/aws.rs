//! AWS: queues on SQS, objects on S3, instances of EC2, all of them made by somebody else (terraform/).

use super::{Ended, Leading, Listeners, Stores, WebTier, controller_settings, identity, work};
use crate::config::{Config, Pull, Text};
use crate::edge::aws::{Clients, Settings};
use crate::edge::bucket::{self, Bucket};
use crate::edge::fleet::Fleet;
use crate::edge::host::Host;
use crate::edge::queue::{self, Queue};
use crate::metrics::Metrics;
use crate::model::PullPolicy;
use crate::status::Status;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// SQS's short poll asks only some of its servers, a waiting one all of them.
const CANCEL_WAIT: Duration = Duration::from_secs(1);
/// DescribeInstances lags: an instance that it does not show is not gone.
const UNLISTED_GRACE: Duration = Duration::from_mins(10);
/// Objects that are read whole: images, results, the control object.
const LEAST_LARGEST: u64 = 64 << 20;
const LARGEST_FOREIGN: u64 = 256 << 20;

async fn clients(config: &Config) -> Result<Clients, Box<dyn Error>> {
    let set = |text: &Text| text.get().map(str::to_owned);
    let (aws, endpoints) = (&config.aws, &config.aws.endpoints);
    let settings = Settings {
        region: set(&aws.region),
        endpoint: set(&aws.endpoint),
        s3: set(&endpoints.s3),
        sqs: set(&endpoints.sqs),
        ec2: set(&endpoints.ec2),
    };
    Ok(Clients::open(&settings).await?)
}

fn bucket(config: &Config, clients: &Clients, name: &str) -> Bucket {
    Bucket::Aws(bucket::aws::Bucket::open(clients, name, config.web.max_body.0.max(LEAST_LARGEST)))
}

fn stores(config: &Config, clients: &Clients, host: &Host) -> Stores {
    let (urls, visibility) = (&config.queue.urls, *config.queue.visibility);
    let queue = |url: &str| Queue::Aws(queue::aws::Queue::open(clients, url, visibility, host));
    Stores {
        requests: queue(&urls.request),
        dead: queue(&urls.dead),
        responses: queue(&urls.response),
        terminate_requests: queue(&urls.terminate_request),
        notices: queue(&urls.terminate_confirm),
        input: bucket(config, clients, &config.bucket.input),
        output: bucket(config, clients, &config.bucket.output),
    }
}

/// The web tier with its controller. No disk is ours to watch, and no model is needed; the buckets' lifecycle rules
/// delete what came of age.
pub(super) async fn web(config: &Config) -> Ended {
    let host = Host::system();
    let clients = clients(config).await?;
    let owner = owner(config)?;
    let fleet = fleet(config, &clients, &host)?;
    let listeners = Listeners::bind(config).await?;
    let leading =
        Leading { owner, entitled: false, unlisted_grace: UNLISTED_GRACE, cancel_wait: CANCEL_WAIT, deletes: false };
    let lead = controller_settings(config, leading);
    let metrics = Arc::new(Metrics::new(host.clock.now()));
    let stores = stores(config, &clients, &host);
    WebTier { host, metrics, status: Arc::new(Status::new(0)), stores, fleet, lead }.serve(config, listeners).await
}

/// One instance of the app tier.
pub(super) async fn app(config: &Config, started: Instant) -> Ended {
    let identity = identity(config).ok_or("app.app_tier_id and app.instance_id are not set")?;
    let clients = clients(config).await?;
    let pull = if config.model.pull == Pull::Never { PullPolicy::Never } else { PullPolicy::Missing };
    let stores = async |host: &Host| Ok(stores(config, &clients, host));
    work(config, Host::system(), identity, pull, started, stores).await
}

pub(super) async fn output_bucket(config: &Config) -> Result<Bucket, Box<dyn Error>> {
    Ok(bucket(config, &clients(config).await?, &config.bucket.output))
}

/// Somebody's bucket, with what environment and profile say.
pub(super) async fn foreign_bucket(name: &str) -> Result<Bucket, Box<dyn Error>> {
    let clients = Clients::open(&Settings::default()).await?;
    Ok(Bucket::Aws(bucket::aws::Bucket::open(&clients, name, LARGEST_FOREIGN)))
}

/// Our name in the control object: one daemon an instance, so whoever finds its own takes over at once.
fn owner(config: &Config) -> Result<String, Box<dyn Error>> {
    Ok(config.app.instance_id.get().ok_or("app.instance_id is not set")?.to_owned())
}

/// The pool's instances.
fn fleet(_config: &Config, _clients: &Clients, _host: &Host) -> Result<Fleet, Box<dyn Error>> {
    Err("backend = \"aws\": this build cannot launch instances yet".into())
}
