//! A deployment in the emulator, made over its API instead of by Terraform, and the daemons in it.

use super::bridge::{Boot, Bridge, daemon};
use super::fleet::make;
use super::metadata::Metadata;
use crate::support::daemon::{Daemon, watch};
use crate::support::emulator::{Place, REGION};
use crate::support::{data_dir, root};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// The queues as the configuration names them.
pub const QUEUES: [&str; 5] = ["request", "response", "terminate_request", "terminate_confirm", "dead"];

/// What daemons are told and where they run.
pub struct Stage {
    pub place: Place,
    pub pool: String,
    pub input: String,
    pub output: String,
    /// User data of the web tier.
    pub web_config: String,
    /// User data of the app tier, where it is not Terraform's.
    app_config: String,
    /// Where the pool may launch, in its order; empty where Terraform made it.
    pub subnets: Vec<String>,
    dir: TempDir,
    image: PathBuf,
}

/// How daemons of a tier reach AWS.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Another endpoint than the emulator's own.
    pub endpoint: Option<String>,
    pub environment: Vec<(String, String)>,
}

impl Stage {
    /// `settings`: sections of TOML for both tiers, beside what Terraform writes.
    pub async fn new(place: Place, settings: &str, default_model: bool) -> Stage {
        let (input, output) = (place.bucket("input"), place.bucket("output"));
        let pool = place.named("pool");
        let settings = &settings.replace("[pool]", &format!("[pool]\nname = {}", json!(pool)));
        let mut both = String::from("[queue.urls]\n");
        for name in QUEUES {
            writeln!(both, "{name} = {}", json!(place.queue(name))).unwrap();
        }
        let arn = format!("arn:aws:sqs:{REGION}:123456789012:{}", place.named("dead"));
        let redrive = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 10 }).to_string();
        let attributes = json!({ "VisibilityTimeout": "30", "RedrivePolicy": redrive });
        place.sqs("SetQueueAttributes", &json!({ "QueueUrl": place.queue("request"), "Attributes": attributes }));
        writeln!(both, "[bucket]\ninput = {}\noutput = {}", json!(input), json!(output)).unwrap();
        let app = format!("role = \"app\"\n{both}\n[aws]\nregion = {}\n{settings}", json!(REGION));
        let made = make(&place, &app).await;
        let aws = format!(
            "[aws]\nregion = {}\nlaunch_template = {}\nsubnets = {}\ninstance_types = [\"c6i.large\"]\n",
            json!(REGION),
            json!(made.template),
            json!(made.subnets[..2])
        );
        let web_config = format!("role = \"web\"\n{both}\n{aws}\n{settings}");
        let subnets = made.subnets[..2].to_vec();
        Stage { app_config: app, subnets, ..Stage::of(place, pool, (input, output), web_config, default_model) }
    }

    /// In what is made already.
    pub fn of(
        place: Place,
        pool: String,
        (input, output): (String, String),
        web_config: String,
        default_model: bool,
    ) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("bellows.toml");
        let fixture = root().join("models/fixture-colours.toml");
        let manifest = if default_model { String::new() } else { fixture.display().to_string() };
        let model = format!("[model]\ndir = {}\nmanifest = {}\npull = \"never\"\n", json!(data_dir()), json!(manifest));
        std::fs::write(&image, format!("backend = \"aws\"\n{model}[app]\nsessions = 1\n")).unwrap();
        Stage { place, pool, input, output, web_config, app_config: String::new(), subnets: Vec::new(), dir, image }
    }

    /// One web instance with a controller; waits until it listens.
    pub fn web(&self, instance_id: &str, way: &Way) -> Daemon {
        let metadata = Metadata::start(&[("user-data", &self.web_config), ("meta-data/instance-id", instance_id)]);
        let mut command = daemon(&self.image, &metadata);
        command.env("BELLOWS_WEB__LISTEN", "127.0.0.1:0").env("BELLOWS_METRICS__LISTEN", "127.0.0.1:0");
        command.envs(self.environment(way));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // no other process is this one's: those of the app tier have the same file
        watch(command.spawn().unwrap(), &self.dir.path().join("web"))
    }

    /// An app process on an instance that nobody launched, once it is ready; its metadata service tells this, too.
    pub fn lone_app(&self, told: &[(&str, &str)]) -> (Child, Metadata) {
        let usual = [
            ("user-data", self.app_config.as_str()),
            ("meta-data/instance-id", "i-0lone"),
            ("meta-data/ami-launch-index", "1"),
            ("meta-data/tags/instance/bellows:ids", "7+9"),
        ];
        let metadata = Metadata::start(&[&usual, told].concat());
        let mut command = daemon(&self.image, &metadata);
        command.envs(self.environment(&Way::default())).stderr(Stdio::inherit());
        (command.spawn().unwrap(), metadata)
    }

    /// Boots what the pool launches.
    pub fn bridge(&self, way: &Way) -> Bridge {
        let (pool, image) = (self.pool.clone(), self.image.clone());
        let logs = self.dir.path().to_owned();
        Bridge::start(&self.place, Boot { pool, image, logs, environment: self.environment(way) })
    }

    fn environment(&self, way: &Way) -> Vec<(String, String)> {
        let endpoint = way.endpoint.clone().unwrap_or_else(|| self.place.endpoint.clone());
        [vec![("BELLOWS_AWS__ENDPOINT".to_owned(), endpoint)], way.environment.clone()].concat()
    }
}
