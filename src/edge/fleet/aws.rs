//! Instances of EC2, launched from a launch template and found by their tags.
//!
//! A launch is called with exactly what its intent says, under the intent's token, so that repeating it launches nothing
//! twice. Where there was no capacity is remembered here, for as long as this process lives: forgetting it costs a
//! refused call.

use super::Api;
use crate::edge::aws::{Clients, DEADLINE, error, once, repeated};
use crate::edge::host::Host;
use crate::edge::{Error, Kind, Result};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    Filter, Instance as Described, InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceStateName,
    InstanceType, LaunchTemplateSpecification, MarketType, ResourceType, SpotInstanceType, SpotMarketOptions, Tag,
    TagSpecification,
};
use bellows_core::control::{Intent, Spec};
use bellows_core::message::Epoch;
use bellows_core::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, Place, Refusals, State, tag};
use bellows_core::time::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Instances in a page of a list, the most that EC2 gives.
const PAGE: i32 = 1000;
/// Pages of a list: a pool has at most 1,000 instances, and those of the last hour are listed as well.
const MOST_PAGES: usize = 100;
/// Instances in one call that ends them.
const BATCH: usize = 100;

/// Which pool this is, and how its instances are launched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The value of the tag `bellows:pool`.
    pub pool: String,
    /// The launch template, by id (`lt-…`) or name.
    pub template: String,
    /// Its version: a number, `$Default` or `$Latest`.
    pub version: String,
    /// Where to launch, best first; at least one.
    pub places: Vec<Place>,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Repeats what does no harm.
    client: Client,
    /// Tries once.
    once: Client,
    settings: Settings,
    host: Host,
    opened: Instant,
    refusals: Mutex<Refusals>,
    changed: Arc<Notify>,
}

impl Fleet {
    /// Calls nothing.
    pub fn open(clients: &Clients, settings: Settings, host: &Host) -> Fleet {
        let client = clients.ec2.clone();
        let once = Client::from_conf(client.config().to_builder().retry_config(once()).build());
        let (refusals, changed, opened) = (Mutex::default(), Arc::default(), Instant::now());
        Fleet(Arc::new(Inner { client, once, settings, host: host.clone(), opened, refusals, changed }))
    }

    /// Never woken: EC2 tells nothing by itself.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.changed)
    }

    /// The best place that has not refused of late.
    fn usable(&self) -> Result<Place> {
        let refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.first_usable(&self.0.settings.places, self.0.opened.elapsed()).cloned().ok_or_else(|| {
            let tried = self.0.settings.places.len();
            Error::new(
                Kind::Full,
                "fleet.plan",
                format!("no capacity of late in any of {tried} places; they are left alone for 3 min"),
            )
        })
    }

    fn refused(&self, spec: &Spec) {
        let place = Place { instance_type: spec.instance_type.clone(), subnet: spec.subnet.clone(), spot: spec.spot };
        tracing::warn!(launch.place = ?place, "no instance is to be had there: it is left alone for 3 min");
        self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner).refused(place, self.0.opened.elapsed());
    }

    /// The launch template by what it is called with.
    fn template(&self, intent: Option<&Intent>) -> (Option<String>, Option<String>) {
        // that of the intent, since a repetition must be the same call; older intents name none
        let intended = intent.map(|intent| &intent.spec.template).filter(|template| !template.is_empty());
        let given = intended.unwrap_or(&self.0.settings.template).clone();
        if given.starts_with("lt-") { (Some(given), None) } else { (None, Some(given)) }
    }

    /// The number behind the version: an intent that is repeated later must not meet another one.
    async fn version(&self) -> Result<String> {
        const OPERATION: &str = "fleet.plan";
        let given = &self.0.settings.version;
        if given.parse::<u64>().is_ok() {
            return Ok(given.clone());
        }
        let (id, name) = self.template(None);
        let call = self.0.client.describe_launch_template_versions().versions(given);
        let answer = call.set_launch_template_id(id).set_launch_template_name(name).send().await;
        let answer = answer.map_err(|e| error(OPERATION, &self.0.settings.template, e))?;
        let number = answer.launch_template_versions().first().and_then(|version| version.version_number);
        number.map(|number| number.to_string()).ok_or_else(|| {
            let detail = format!("launch template {} has no version {given}", self.0.settings.template);
            Error::new(Kind::NotFound, OPERATION, detail)
        })
    }

    /// One try of a launch.
    async fn run(&self, intent: &Intent) -> Result<Vec<Named>> {
        let (spec, (id, name)) = (&intent.spec, self.template(Some(intent)));
        let template = LaunchTemplateSpecification::builder().set_launch_template_id(id).set_launch_template_name(name);
        let template = template.set_version(given(&spec.template_version)).build();
        let tags = spec.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags)).build();
        let call = self.0.once.run_instances().client_token(intent.token.0.to_string()).launch_template(template);
        let call = call.min_count(1).max_count(i32::try_from(intent.ids.len()).unwrap_or(i32::MAX));
        let call = call.set_instance_type(given(&spec.instance_type).map(|name| InstanceType::from(name.as_str())));
        let call = call.set_subnet_id(given(&spec.subnet)).tag_specifications(tags);
        let answer = call.set_instance_market_options(spec.spot.then(spot)).send().await;
        let answer = answer.map_err(|e| error("fleet.launch", &self.0.settings.template, e))?;
        Ok(named(intent, answer.instances()))
    }

    /// What a launch brought, as far as a list shows it; `Timeout` where it shows nothing.
    async fn of_token(&self, intent: &Intent) -> Result<Vec<Named>> {
        let token = Filter::builder().name("client-token").values(intent.token.0.to_string()).build();
        let found = named(intent, &self.describe(token).await?);
        if found.is_empty() {
            return Err(Error::new(Kind::Timeout, "fleet.launch", "the token was used, and no list shows for what"));
        }
        Ok(found)
    }

    /// All instances that match, page after page.
    async fn describe(&self, filter: Filter) -> Result<Vec<Described>> {
        const OPERATION: &str = "fleet.list";
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let call = self.0.client.describe_instances().filters(filter.clone()).max_results(PAGE);
            let page =
                call.set_next_token(next).send().await.map_err(|e| error(OPERATION, &self.0.settings.pool, e))?;
            let reservations = page.reservations.unwrap_or_default();
            found.extend(reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()));
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Error::new(Kind::Invalid, OPERATION, format!("more than {MOST_PAGES} pages of instances")))
    }

    /// Gives instances the name that people see. Best effort.
    async fn name(self, named: Vec<Named>) {
        for Named { app_tier_id, instance_id } in named {
            let tag = Tag::builder().key(tag::NAME).value(tag::name(app_tier_id)).build();
            let call = self.0.client.create_tags().resources(&instance_id.0).tags(tag);
            if let Err(e) = call.send().await.map_err(|e| error("fleet.name", &instance_id.0, e)) {
                tracing::debug!(error = %e, "an instance has no name");
            }
        }
    }

    async fn terminate_batch(&self, ids: &[InstanceId]) -> Result<()> {
        let call =
            self.0.client.terminate_instances().set_instance_ids(Some(ids.iter().map(|id| id.0.clone()).collect()));
        let ended = call.send().await;
        ended.map(drop).map_err(|e| error("fleet.terminate", &format!("{} instances", ids.len()), e))
    }
}

impl Api for Fleet {
    async fn plan(&self, ids: &[AppTierId], epoch: Epoch) -> Result<Spec> {
        let Place { instance_type, subnet, spot } = self.usable()?;
        let tags = tag::of_launch(&self.0.settings.pool, ids, epoch);
        let template = self.0.settings.template.clone();
        Ok(Spec { template, template_version: self.version().await?, instance_type, subnet, spot, tags })
    }

    async fn launch(&self, intent: &Intent) -> Result<Vec<Named>> {
        // where there is no capacity now there is none in a second: another place is better than another try
        let launched = repeated("fleet.launch", |unsure| async move {
            match self.run(intent).await {
                Err(e) if e.kind == Kind::Full && !unsure => Ok(Err(e)),
                other => other.map(Ok),
            }
        });
        match launched.await.and_then(|launched| launched) {
            Ok(named) => {
                self.0.host.spawn("fleet.name", self.clone().name(named.clone()));
                Ok(named)
            }
            // the token has launched something: what that is a list says, by and by
            Err(e) if e.kind == Kind::Conflict => self.of_token(intent).await,
            Err(e) => {
                if matches!(e.kind, Kind::Full | Kind::Invalid | Kind::NotFound) {
                    self.refused(&intent.spec);
                }
                Err(e)
            }
        }
    }

    async fn list(&self) -> Result<Vec<Instance>> {
        let pool = Filter::builder().name(format!("tag:{}", tag::POOL)).values(&self.0.settings.pool).build();
        let late = || Error::new(Kind::Timeout, "fleet.list", format!("no whole list within {DEADLINE:?}"));
        let listed = tokio::time::timeout(DEADLINE, self.describe(pool)).await.map_err(|_| late())??;
        Ok(listed.iter().filter_map(instance).collect())
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Result<()> {
        let mut left: Vec<&[InstanceId]> = ids.chunks(BATCH).collect();
        let mut failed = None;
        while let Some(batch) = left.pop() {
            match self.terminate_batch(batch).await {
                Ok(()) => {}
                // one id that is unknown, or protected, fails the whole call: halves, until it stands alone
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Invalid | Kind::Denied) && batch.len() > 1 => {
                    left.extend([&batch[..batch.len() / 2], &batch[batch.len() / 2..]]);
                }
                Err(e) if e.kind == Kind::NotFound => tracing::debug!(instance.id = batch[0].0, "it is gone already"),
                // the others are ended all the same
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Machines of their own: they go on without this process.
    async fn release(&self, _limit: Duration) {}
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Once: who goes on is the controller, not a request that stands for ever.
fn spot() -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate);
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(options.build()).build()
}

/// The instances of a launch with the ids that they get.
fn named(intent: &Intent, instances: &[Described]) -> Vec<Named> {
    let name = |instance: &Described| {
        let index = usize::try_from(instance.ami_launch_index?).ok()?;
        let app_tier_id = *intent.ids.get(index)?;
        Some(Named { app_tier_id, instance_id: InstanceId(instance.instance_id.clone()?) })
    };
    let named: Vec<Named> = instances.iter().filter_map(name).collect();
    if named.len() < instances.len() {
        tracing::error!(launch.token = %intent.token.0, "instances that no id was meant for: they are ended as never ready");
    }
    named
}

/// One instance of a list. One whose tags name no id counts all the same, as 0: somebody pays for it until it is ended as
/// never ready.
fn instance(described: &Described) -> Option<Instance> {
    let value = |key: &str| described.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value);
    let index = u32::try_from(described.ami_launch_index.unwrap_or(0)).ok();
    let id = index.and_then(|index| tag::id(value(tag::IDS)?, index)).unwrap_or(AppTierId(0));
    let launched = described.launch_time().and_then(|at| at.to_millis().ok()).unwrap_or_default();
    Some(Instance {
        app_tier_id: id,
        instance_id: InstanceId(described.instance_id.clone()?),
        state: state(described.state().and_then(|state| state.name()))?,
        launched_at: Timestamp(launched.try_into().unwrap_or(0)),
        token: described.client_token().and_then(|token| token.parse().ok()).map(LaunchToken),
    })
}

/// A stopped instance counts as running, and so as hung in a while: by itself it would never be gone.
fn state(name: Option<&InstanceStateName>) -> Option<State> {
    match name? {
        InstanceStateName::Pending => Some(State::Pending),
        InstanceStateName::ShuttingDown => Some(State::ShuttingDown),
        InstanceStateName::Terminated => Some(State::Terminated),
        _ => Some(State::Running),
    }
}
