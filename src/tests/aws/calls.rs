//! How many calls of AWS the service makes, idle and per image, and what they cost: counted on the way to the emulator.
//!
//! `cargo test calls_ -- --nocapture` prints the table that docs/DEPLOYING.md has.

use super::end_to_end::block_on;
use super::proxy::Proxy;
use super::stage::{Stage, Way};
use crate::support::emulator::{self, Place};
use crate::support::raw::{JSON, post};
use crate::support::{eventually, images, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// What the controller does once a tick and once a renewal is in it a few times.
const IDLE: Duration = Duration::from_secs(60);
const IMAGES: u32 = 100;
/// Clients at once.
const CLIENTS: u32 = 10;
const HOURS_A_WEEK: f64 = 168.0;

/// As Terraform writes it; an instance that has come stays.
const SETTINGS: &str = r#"
[pool]
max_instances = 1
hold = "10m"
[web]
allow_anonymous = true
"#;

type Calls = BTreeMap<String, u64>;

fn since(before: &Calls, after: &Calls) -> BTreeMap<String, f64> {
    let difference = |name: &String| (after[name] - before.get(name).copied().unwrap_or(0)) as f64;
    after.keys().map(|name| (name.clone(), difference(name))).filter(|(_, count)| *count > 0.0).collect()
}

/// US dollars of one call of this name. EC2's are free.
fn price(prices: &Value, name: &str) -> f64 {
    let usd = |key: &str| prices["usd"][key].as_f64().unwrap();
    match name {
        "GET" | "HEAD" => usd("s3_thousand_gets") / 1e3,
        "PUT" | "LIST" => usd("s3_thousand_puts") / 1e3,
        "DELETE" => 0.0,
        name if name.contains("Instance") || name.contains("LaunchTemplate") || name == "CreateTags" => 0.0,
        _ => usd("sqs_million_requests") / 1e6,
    }
}

/// Prints the counts, each `by` as many: what all of them cost.
fn table(title: &str, prices: &Value, counts: &BTreeMap<String, f64>, by: f64) -> f64 {
    println!("\n| {title} | calls | USD |\n|---|---|---|");
    let mut sum = 0.0;
    for (name, count) in counts {
        let cost = price(prices, name) * count * by;
        sum += cost;
        println!("| {name} | {:.1} | {cost:.6} |", count * by);
    }
    println!("| **all** | {:.1} | {sum:.6} |", counts.values().sum::<f64>() * by);
    sum
}

/// What was called on each way within [`IDLE`], while nothing is to be done.
fn idle(proxies: &[Proxy; 2]) -> [BTreeMap<String, f64>; 2] {
    let before = proxies.each_ref().map(Proxy::calls);
    sleep(IDLE);
    [0, 1].map(|tier| since(&before[tier], &proxies[tier].calls()))
}

fn difference(more: &BTreeMap<String, f64>, less: &BTreeMap<String, f64>, times: f64) -> BTreeMap<String, f64> {
    let left = |(name, count): (&String, &f64)| {
        let rest = count - less.get(name).copied().unwrap_or(0.0) * times;
        (rest > 0.0).then(|| (name.clone(), rest))
    };
    more.iter().filter_map(left).collect()
}

fn sum(one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let of = |counts: &BTreeMap<String, f64>, name: &String| counts.get(name).copied().unwrap_or(0.0);
    names.into_iter().map(|name| (name.clone(), of(one, name) + of(other, name))).collect()
}

/// [`IMAGES`] images, of [`CLIENTS`] clients.
fn send_images(url: &str) {
    scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for n in (client..IMAGES).step_by(CLIENTS as usize) {
                    let (bytes, label) = images::numbered(n);
                    let answer = post(url, "/", &[("myfile", "a.png", &bytes)], &[JSON]);
                    assert_eq!((answer.status, &answer.json()["label"]), (200, &label.into()));
                }
            });
        }
    });
}

#[test]
fn calls_are_counted_idle_and_per_image() {
    if !emulator::is_here() {
        return;
    }
    let prices = std::fs::read_to_string(root().join("terraform/prices.json")).unwrap();
    let prices: Value = serde_json::from_str(&prices).unwrap();
    let stage = block_on(Stage::new(Place::new(), SETTINGS, false));
    let proxies = [1, 2].map(|seed| Proxy::start(&stage.place.endpoint, seed));
    let way = |proxy: &Proxy| Way { endpoint: Some(proxy.endpoint.clone()), environment: Vec::new() };
    let bridge = stage.bridge(&way(&proxies[1]));
    let web = stage.web("i-0web", &way(&proxies[0]));
    // the hourly sweep is behind us
    eventually("it has swept", Duration::from_mins(2), || proxies[0].calls().contains_key("LIST"));

    let an_hour = 3600.0 / IDLE.as_secs_f64();
    let [at_zero, _] = idle(&proxies);
    let usd = table("web tier and controller, pool at zero, an hour", &prices, &at_zero, an_hour);
    println!("\na week: {:.2} USD", usd * HOURS_A_WEEK);
    post(&web.url, "/", &[("myfile", "a.png", &images::numbered(0).0)], &[JSON]);
    eventually("all is taken out of the queues", Duration::from_mins(2), || web.is_drained());
    sleep(Duration::from_secs(10));
    let [web_idle, app_idle] = idle(&proxies);
    let kept = sum(&difference(&web_idle, &at_zero, 1.0), &app_idle);
    let usd = table("an app instance without work, beyond that, an hour", &prices, &kept, an_hour);
    println!("\na week: {:.2} USD", usd * HOURS_A_WEEK);

    let (before, begun) = (proxies.each_ref().map(Proxy::calls), Instant::now());
    send_images(&web.url);
    eventually("all is taken out of the queues", Duration::from_mins(2), || web.is_drained());
    let [of_web, of_app] = [0, 1].map(|tier| since(&before[tier], &proxies[tier].calls()));
    let share = begun.elapsed().as_secs_f64() / IDLE.as_secs_f64();
    let each = difference(&sum(&of_web, &of_app), &sum(&web_idle, &app_idle), share);
    let usd = table("an image, beyond what is called anyway", &prices, &each, 1.0 / f64::from(IMAGES));
    println!("\na million images: {:.2} USD", usd * 1e6);

    assert_eq!(bridge.seen().most, 1);
    let all = |counts: &BTreeMap<String, f64>| counts.values().sum::<f64>();
    // generous: what is to be seen is a loop that runs hot
    assert!(all(&at_zero) * an_hour < 8_000.0 && all(&kept) * an_hour < 4_000.0, "{at_zero:?} {kept:?}");
    assert!(all(&each) < 20.0 * f64::from(IMAGES), "{each:?}");
}
