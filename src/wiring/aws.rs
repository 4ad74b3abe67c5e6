//! AWS: queues on SQS, objects on S3, instances of EC2, all of them made by somebody else (terraform/).

mod instance;

pub(super) use instance::user_data;

use super::{Ended, Leading, Listeners, Stores, WebTier, controller_settings, this_host, work};
use crate::config::{Config, Pull, Text};
use crate::edge::aws::{Clients, Settings};
use crate::edge::bucket::{self, Bucket};
use crate::edge::fleet::{self, Fleet};
use crate::edge::host::Host;
use crate::edge::queue::{self, Queue};
use crate::metrics::Metrics;
use crate::model::PullPolicy;
use crate::status::Status;
use bellows_core::pool::Place;
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
    let host = this_host();
    let clients = clients(config).await?;
    let owner = instance::owner(config, &host).await?;
    let fleet = fleet(config, &clients, &host);
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
    let host = this_host();
    let member = instance::member(config, &host).await?;
    let clients = clients(config).await?;
    let pull = if config.model.pull == Pull::Never { PullPolicy::Never } else { PullPolicy::Missing };
    let stores = async |host: &Host| Ok(stores(config, &clients, host));
    work(config, host, member, pull, started, stores).await
}

pub(super) async fn output_bucket(config: &Config) -> Result<Bucket, Box<dyn Error>> {
    Ok(bucket(config, &clients(config).await?, &config.bucket.output))
}

/// Somebody's bucket, with what environment and profile say.
pub(super) async fn foreign_bucket(name: &str) -> Result<Bucket, Box<dyn Error>> {
    let clients = Clients::open(&Settings::default()).await?;
    Ok(Bucket::Aws(bucket::aws::Bucket::open(&clients, name, LARGEST_FOREIGN)))
}

/// The pool's instances.
fn fleet(config: &Config, clients: &Clients, host: &Host) -> Fleet {
    let aws = &config.aws;
    let texts = |given: &[Text]| given.iter().map(ToString::to_string).collect::<Vec<_>>();
    let settings = fleet::aws::Settings {
        pool: config.pool.name.to_string(),
        template: aws.launch_template.get().unwrap_or_default().to_owned(),
        version: aws.launch_template_version.get().unwrap_or("$Default").to_owned(),
        places: Place::all(&texts(&aws.instance_types), &texts(&aws.subnets), aws.spot, aws.spot_fallback),
    };
    Fleet::Aws(fleet::aws::Fleet::open(clients, settings, host))
}
