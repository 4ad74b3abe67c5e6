//! The configuration as a type. What each key means stands beside its default in `config.default.toml`.

use super::scalar::Auto;
use super::token::Token;
use super::values::{
    Backend, Count, FilePath, Listen, LogFormat, Policy, Pull, ResponseFormat, Role, Size, Span, Text, Usd,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Every setting. Values that are worked out where they are "auto" are read through the methods of `computed`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub role: Role,
    pub backend: Backend,
    pub web: Web,
    pub metrics: Metrics,
    pub log: Log,
    pub pool: Pool,
    pub app: App,
    pub queue: Queue,
    pub bucket: Bucket,
    pub retention: Retention,
    pub local: Local,
    pub aws: Aws,
    pub model: Model,
    /// Not configured: what the "auto" values are worked out from.
    #[serde(skip)]
    pub host: Host,
}

/// What this machine and its user bring along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub cores: u32,
    /// Where this user's programs keep state, as XDG has it; `None` without a home folder.
    pub state_home: Option<PathBuf>,
    /// Where this user's programs keep data.
    pub data_home: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    pub listen: Listen,
    pub wait: Span,
    pub drain: Span,
    pub header_timeout: Span,
    pub body_timeout: Span,
    pub max_body: Size,
    pub max_files: u32,
    pub max_backlog: Auto<u64>,
    pub max_connections: u32,
    pub body_budget: Size,
    pub response_format: ResponseFormat,
    pub tokens: Vec<Token>,
    pub allow_anonymous: bool,
    pub label_objects: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub listen: Listen,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: Text,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub name: Text,
    pub max_instances: Auto<u32>,
    pub min_instances: u32,
    pub tick: Auto<Span>,
    pub hold: Auto<Span>,
    pub policy: Auto<Policy>,
    pub latency_target: Span,
    pub service_prior: Span,
    pub boot_prior: Auto<Span>,
    pub counter_lag: Auto<Span>,
    pub instance_usd_per_hour: Usd,
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub sessions: Auto<u32>,
    pub job_deadline: Span,
    pub pause: Span,
    pub report_every: Auto<Span>,
    #[expect(clippy::struct_field_names, reason = "the name the id has in messages and answers")]
    pub app_tier_id: Auto<u32>,
    pub instance_id: Text,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    pub visibility: Span,
    pub heartbeat: Span,
    pub max_receives: u32,
    pub retention: Span,
    pub dead_retention: Span,
    pub urls: QueueUrls,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueueUrls {
    pub request: Text,
    pub response: Text,
    pub terminate_request: Text,
    pub terminate_confirm: Text,
    pub dead: Text,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub input: Text,
    pub output: Text,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub request_ttl: Span,
    pub inputs: Span,
    pub results: Span,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    pub state_dir: Auto<FilePath>,
    pub min_free: Size,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    pub region: Text,
    pub endpoint: Text,
    pub launch_template: Text,
    pub launch_template_version: Text,
    pub instance_types: Vec<Text>,
    pub subnets: Vec<Text>,
    pub spot: bool,
    pub spot_fallback: bool,
    pub endpoints: Endpoints,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    pub s3: Text,
    pub sqs: Text,
    pub ec2: Text,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: Text,
    pub manifest: FilePath,
    pub pull: Pull,
    pub dir: Auto<FilePath>,
    pub engine: FilePath,
    pub max_pixels: Count,
}
