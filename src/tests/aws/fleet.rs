//! The fleet on EC2 (emulated): one launch a token, ids by launch index, capacity that runs out, lists, ends.

use crate::support::emulator::{self, Place};
use aws_sdk_ec2::types::{AttributeBooleanValue, RequestLaunchTemplateData, Tag};
use bellows::edge::fleet::{self, Fleet};
use bellows::edge::host::Host;
use bellows::edge::{Error, Kind};
use bellows_core::control::{Intent, Spec};
use bellows_core::message::Epoch;
use bellows_core::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, Place as Where, State};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const LARGE: &str = "c6i.large";

/// What Terraform makes: an image and a launch template for it, and the subnets of the account's first network.
pub struct Made {
    pub template: String,
    pub subnets: Vec<String>,
}

/// Makes them; instances are handed `user_data`.
pub async fn make(place: &Place, user_data: &str) -> Made {
    use base64::Engine;
    let ec2 = &place.clients.ec2;
    let image = ec2.register_image().name(place.named("image")).root_device_name("/dev/xvda").send().await.unwrap();
    let data = RequestLaunchTemplateData::builder()
        .image_id(image.image_id().unwrap())
        .instance_type(LARGE.into())
        .user_data(base64::engine::general_purpose::STANDARD.encode(user_data))
        .instance_initiated_shutdown_behavior("terminate".into())
        .build();
    let made = ec2.create_launch_template().launch_template_name(place.named("app")).launch_template_data(data);
    let template = made.send().await.unwrap().launch_template.unwrap().launch_template_id.unwrap();
    let subnets = ec2.describe_subnets().send().await.unwrap().subnets.unwrap_or_default();
    let mut subnets: Vec<String> = subnets.into_iter().filter_map(|subnet| subnet.subnet_id).collect();
    subnets.sort();
    Made { template, subnets }
}

struct Pool {
    place: Place,
    name: String,
    subnets: Vec<String>,
    fleet: Fleet,
}

impl Pool {
    async fn new(places: impl FnOnce(&[String]) -> Vec<Where>) -> Pool {
        let place = Place::new();
        let made = make(&place, "role = \"app\"").await;
        let name = place.named("pool");
        let places = places(&made.subnets);
        let fleet = open(&place, &name, &made.template, places);
        Pool { place, name, subnets: made.subnets, fleet }
    }

    /// One more launch of these ids, as the controller would call it now.
    async fn intent(&self, ids: &[u32]) -> Result<Intent, Error> {
        let ids: Vec<AppTierId> = ids.iter().copied().map(AppTierId).collect();
        let spec = self.fleet.plan(&ids, Epoch(7)).await?;
        let token = LaunchToken(Uuid::new_v4());
        Ok(Intent { token, ids, epoch: Epoch(7), spec, settled: false, instances: Vec::new() })
    }

    async fn list(&self) -> Vec<Instance> {
        let mut listed = self.fleet.list().await.unwrap();
        listed.sort_by_key(|instance| instance.app_tier_id);
        listed
    }

    /// There is room for so many there.
    fn room(&self, subnet: usize, market: &str, room: u32) {
        let key = format!("{LARGE}/{}/{market}", self.subnets[subnet]);
        self.place.instruct(&json!({ "room": { key: room } }));
    }

    async fn tags(&self, id: &InstanceId) -> BTreeMap<String, String> {
        let found = self.place.clients.ec2.describe_instances().instance_ids(&id.0).send().await.unwrap();
        let instance = &found.reservations()[0].instances()[0];
        let tags = instance.tags().iter();
        tags.map(|tag| (tag.key().unwrap().into(), tag.value().unwrap_or_default().into())).collect()
    }
}

fn open(place: &Place, pool: &str, template: &str, places: Vec<Where>) -> Fleet {
    let (pool, template, version) = (pool.into(), template.into(), "$Default".into());
    let settings = fleet::aws::Settings { pool, template, version, places };
    Fleet::Aws(fleet::aws::Fleet::open(&place.clients, settings, &Host::system()))
}

/// Two zones, and what the template says of the type.
fn two_zones(subnets: &[String]) -> Vec<Where> {
    Where::all(&[LARGE.into()], &subnets[..2], false, true)
}

fn with(places: impl FnOnce(&[String]) -> Vec<Where>, test: impl AsyncFnOnce(Pool)) {
    if !emulator::is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(Pool::new(places).await).await });
}

fn ids(named: &[Named]) -> Vec<u32> {
    let mut ids: Vec<u32> = named.iter().map(|named| named.app_tier_id.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_launch_is_one_call_and_its_instances_have_its_ids_in_order() {
    with(two_zones, async |pool| {
        let intent = pool.intent(&[4, 9, 2]).await.unwrap();
        let Spec { template, template_version, instance_type, subnet, spot, tags } = &intent.spec;
        assert!(template.starts_with("lt-"), "{template}");
        assert_eq!((template_version.as_str(), instance_type.as_str(), *spot), ("1", LARGE, false));
        assert_eq!((subnet, tags["bellows:ids"].as_str()), (&pool.subnets[0], "4+9+2"));
        let named = pool.fleet.launch(&intent).await.unwrap();
        assert_eq!((ids(&named), pool.place.calls("RunInstances")), (vec![2, 4, 9], 1));
        let listed = pool.list().await;
        let as_listed: Vec<Named> = listed.iter().map(Named::from).collect();
        let mut by_id = named.clone();
        by_id.sort();
        assert_eq!(as_listed, by_id);
        assert!(
            listed.iter().all(|i| i.token == Some(intent.token) && i.state <= State::Running && i.launched_at.0 > 0)
        );
        assert_eq!(pool.fleet.launch(&intent).await.unwrap(), named, "the same again is the same");
        assert_eq!(pool.list().await.len(), 3);
        let (until, first) = (Instant::now() + Duration::from_secs(10), &named[0]);
        let name = format!("app-instance{}", first.app_tier_id.0);
        while pool.tags(&first.instance_id).await.get("Name") != Some(&name) {
            assert!(Instant::now() < until, "it gets no name");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let tags = pool.tags(&first.instance_id).await;
        assert_eq!((tags["bellows:pool"].as_str(), tags["bellows:epoch"].as_str()), (pool.name.as_str(), "7"));
    });
}

#[test]
fn a_launch_whose_answer_is_lost_is_not_made_twice() {
    with(two_zones, async |pool| {
        for fault in [
            json!({ "do": "lose" }),
            json!({ "do": "refuse", "status": 503, "code": "Unavailable" }),
            json!({ "do": "refuse", "status": 500, "code": "InternalError" }),
            json!({ "do": "refuse", "status": 503, "code": "RequestLimitExceeded" }),
            json!({ "do": "drop" }),
        ] {
            let before = pool.list().await.len();
            let intent = pool.intent(&[1, 2]).await.unwrap();
            pool.place.fault("RunInstances", 2, fault.clone());
            assert_eq!(ids(&pool.fleet.launch(&intent).await.unwrap()), [1, 2], "{fault}");
            assert_eq!(pool.list().await.len(), before + 2, "{fault}");
        }
    });
}

#[test]
fn a_launch_that_is_never_answered_may_have_happened_and_a_successor_settles_it() {
    with(two_zones, async |pool| {
        let intent = pool.intent(&[1, 2]).await.unwrap();
        pool.place.fault("RunInstances", 1000, json!({ "do": "lose" }));
        let begun = Instant::now();
        let unknown = pool.fleet.launch(&intent).await.unwrap_err();
        assert_eq!(unknown.kind, Kind::Timeout, "{unknown}");
        assert!((20..45).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        let listed = pool.list().await;
        assert!(listed.iter().all(|instance| instance.token == Some(intent.token)), "{listed:?}");
        assert_eq!(listed.len(), 2);
    });
}

#[test]
fn a_zone_without_capacity_is_left_alone_and_another_one_is_tried_under_a_new_token() {
    with(two_zones, async |pool| {
        pool.room(0, "on-demand", 1);
        let first = pool.intent(&[1, 2, 3]).await.unwrap();
        // part of a launch: who got no instance is not named
        assert_eq!(ids(&pool.fleet.launch(&first).await.unwrap()), [1]);
        let second = pool.intent(&[2, 3]).await.unwrap();
        assert_eq!(second.spec.subnet, pool.subnets[0], "nobody refused so far");
        let refused = pool.fleet.launch(&second).await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_deref()), (Kind::Full, Some("InsufficientInstanceCapacity")));
        assert_eq!(pool.place.calls("RunInstances"), 2, "it is not asked for again at once");
        let third = pool.intent(&[2, 3]).await.unwrap();
        assert_eq!(third.spec.subnet, pool.subnets[1]);
        assert_eq!(ids(&pool.fleet.launch(&third).await.unwrap()), [2, 3]);
        pool.room(1, "on-demand", 0);
        let fourth = pool.intent(&[4]).await.unwrap();
        assert_eq!(pool.fleet.launch(&fourth).await.unwrap_err().kind, Kind::Full);
        let nowhere = pool.intent(&[4]).await.unwrap_err();
        assert_eq!(nowhere.kind, Kind::Full, "{nowhere}");
        assert_eq!(pool.list().await.len(), 3);
    });
}

#[test]
fn spot_is_tried_first_and_on_demand_takes_its_place() {
    let places = |subnets: &[String]| Where::all(&[LARGE.into()], &subnets[..2], true, true);
    with(places, async |pool| {
        pool.room(0, "spot", 1);
        pool.room(1, "spot", 0);
        let mut launched = Vec::new();
        let mut next = 1;
        while launched.len() < 3 {
            let intent = pool.intent(&[next]).await.unwrap();
            if let Ok(named) = pool.fleet.launch(&intent).await {
                assert_eq!(ids(&named), [next]);
                let subnet = pool.subnets.iter().position(|subnet| *subnet == intent.spec.subnet).unwrap();
                launched.push((subnet, intent.spec.spot));
                next += 1;
            }
        }
        assert_eq!(launched, [(0, true), (0, false), (0, false)]);
        assert_eq!(pool.place.calls("RunInstances"), 5, "each place was asked once in vain");
    });
}

#[test]
fn other_pools_are_not_listed_and_whoever_has_no_id_is() {
    with(two_zones, async |pool| {
        let mine = pool.fleet.launch(&pool.intent(&[1]).await.unwrap()).await.unwrap();
        let other = open(&pool.place, "another", &mine_template(&pool).await, two_zones(&pool.subnets));
        let ids = [AppTierId(1)];
        let spec = other.plan(&ids, Epoch(1)).await.unwrap();
        let token = LaunchToken(Uuid::new_v4());
        let intent = Intent { token, ids: ids.into(), epoch: Epoch(1), spec, settled: false, instances: Vec::new() };
        other.launch(&intent).await.unwrap();
        let odd = Tag::builder().key("bellows:ids").value("none").build();
        pool.place.clients.ec2.create_tags().resources(&mine[0].instance_id.0).tags(odd).send().await.unwrap();
        let listed = pool.list().await;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].app_tier_id, &listed[0].instance_id), (AppTierId(0), &mine[0].instance_id));
    });
}

async fn mine_template(pool: &Pool) -> String {
    let named = pool.place.named("app");
    let found = pool.place.clients.ec2.describe_launch_templates().launch_template_names(named).send().await.unwrap();
    found.launch_templates()[0].launch_template_name().unwrap().to_owned()
}

#[test]
fn ending_knows_no_strangers_and_no_twice() {
    with(two_zones, async |pool| {
        let intent = pool.intent(&[1, 2, 3]).await.unwrap();
        let named = pool.fleet.launch(&intent).await.unwrap();
        let stranger = InstanceId("i-0123456789abcdef0".into());
        let some = [named[0].instance_id.clone(), stranger.clone(), named[2].instance_id.clone()];
        for _ in 0..2 {
            pool.fleet.terminate(&some).await.unwrap();
            let states: Vec<bool> = pool.list().await.iter().map(|i| i.state >= State::ShuttingDown).collect();
            assert_eq!(states, [true, false, true]);
        }
        pool.fleet.terminate(&[stranger]).await.unwrap();
        pool.place.fault(
            "TerminateInstances",
            5,
            json!({ "do": "refuse", "status": 403, "code": "UnauthorizedOperation" }),
        );
        assert_eq!(pool.fleet.terminate(&some).await.unwrap_err().kind, Kind::Denied);
    });
}

/// Somebody protected it by hand.
#[test]
fn one_that_cannot_be_ended_keeps_no_other() {
    with(two_zones, async |pool| {
        let named = pool.fleet.launch(&pool.intent(&[1, 2, 3, 4]).await.unwrap()).await.unwrap();
        let protect = pool.place.clients.ec2.modify_instance_attribute().instance_id(&named[3].instance_id.0);
        let on = AttributeBooleanValue::builder().value(true).build();
        protect.disable_api_termination(on).send().await.unwrap();
        let all: Vec<InstanceId> = named.into_iter().map(|named| named.instance_id).collect();
        assert_eq!(pool.fleet.terminate(&all).await.unwrap_err().kind, Kind::Invalid);
        let ended: Vec<bool> = pool.list().await.iter().map(|i| i.state >= State::ShuttingDown).collect();
        assert_eq!(ended, [true, true, true, false]);
    });
}

/// Another template has versions of its own: an intent that is open when the configuration changes keeps its own.
#[test]
fn a_launch_keeps_the_template_that_it_was_intended_with() {
    with(two_zones, async |pool| {
        let intent = pool.intent(&[1]).await.unwrap();
        let (name, other) = (pool.name.clone(), pool.place.named("other"));
        let data = RequestLaunchTemplateData::builder().instance_type("c6i.xlarge".into()).build();
        let ec2 = &pool.place.clients.ec2;
        ec2.create_launch_template().launch_template_name(&other).launch_template_data(data).send().await.unwrap();
        let successor = open(&pool.place, &name, &other, two_zones(&pool.subnets));
        assert_eq!(pool.fleet.launch(&intent).await.unwrap(), successor.launch(&intent).await.unwrap());
        assert_eq!(pool.list().await.len(), 1);
    });
}

#[test]
fn a_list_that_fails_is_no_empty_list_and_a_long_one_has_pages() {
    with(two_zones, async |pool| {
        for launch in 0..3 {
            let ids: Vec<u32> = (launch * 40 + 1..=launch * 40 + 40).collect();
            pool.fleet.launch(&pool.intent(&ids).await.unwrap()).await.unwrap();
        }
        let listed = pool.list().await;
        assert!(listed.iter().map(|instance| instance.app_tier_id.0).eq(1..=120));
        pool.place.fault(
            "DescribeInstances",
            1000,
            json!({ "do": "refuse", "status": 503, "code": "RequestLimitExceeded" }),
        );
        assert_eq!(pool.fleet.list().await.unwrap_err().kind, Kind::Throttled);
    });
}

/// A template's version is fixed when a launch is intended: an upgrade in between does not change it.
#[test]
fn a_launch_keeps_the_version_that_it_was_intended_with() {
    with(two_zones, async |pool| {
        let intent = pool.intent(&[1]).await.unwrap();
        let name = pool.place.named("app");
        let newer = RequestLaunchTemplateData::builder().instance_type("c6i.xlarge".into());
        let ec2 = &pool.place.clients.ec2;
        ec2.create_launch_template_version()
            .launch_template_name(&name)
            .launch_template_data(newer.build())
            .send()
            .await
            .unwrap();
        ec2.modify_launch_template().launch_template_name(&name).default_version("2").send().await.unwrap();
        pool.fleet.launch(&intent).await.unwrap();
        assert_eq!(pool.fleet.launch(&intent).await.unwrap().len(), 1);
        assert_eq!(
            (intent.spec.template_version, pool.intent(&[2]).await.unwrap().spec.template_version),
            ("1".into(), "2".into())
        );
    });
}
