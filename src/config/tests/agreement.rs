//! That the default file, the type and the computed values agree.

use super::*;
use std::time::Duration;

fn leaves(prefix: &str, value: &toml::Value, into: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                leaves(&key, value, into);
            }
        }
        _ => into.push(prefix.to_owned()),
    }
}

#[test]
fn the_default_file_and_the_type_have_the_same_keys() {
    let loaded = load(&sources(&[]));
    let mut of_type = Vec::new();
    leaves("", &tree(&loaded.config), &mut of_type);
    let mut of_file: Vec<&str> = keys::all().collect();
    of_file.sort_unstable();
    of_type.sort_unstable();
    assert_eq!(of_type, of_file);
}

#[test]
fn every_key_of_the_default_file_is_explained() {
    let mut explained = false;
    for line in DEFAULTS.lines() {
        match line.split_once(" = ") {
            _ if line.starts_with('#') => explained = true,
            // a comment holds for the keys right below it
            Some(_) => assert!(explained, "{line}"),
            None if line.starts_with('[') => {}
            None => explained = false,
        }
    }
}

/// The defaults that the design names, so that none changes unseen.
#[test]
fn the_defaults_are_what_the_design_says() {
    let config = load(&sources(&[])).config;
    assert_eq!((config.role, config.backend), (Role::Web, Backend::Local));
    let web = &config.web;
    assert_eq!(
        (web.listen.to_string(), config.metrics.listen.to_string()),
        ("127.0.0.1:3000".into(), "127.0.0.1:9464".into())
    );
    let spans = [web.wait, web.drain, web.header_timeout, web.body_timeout, config.app.job_deadline, config.app.pause];
    assert_eq!(spans.map(|s| s.as_secs()), [300, 20, 10, 60, 60, 0]);
    assert_eq!((web.max_body.0, web.max_files, config.local.min_free.0), (32 << 20, 100, 256 << 20));
    assert_eq!((web.response_format, web.allow_anonymous, web.tokens.len()), (ResponseFormat::Text, false, 0));
    let queue = &config.queue;
    assert_eq!((queue.visibility.as_secs(), queue.heartbeat.as_secs(), queue.max_receives), (30, 10, 10));
    let days = [
        config.retention.request_ttl,
        queue.retention,
        queue.dead_retention,
        config.retention.inputs,
        config.retention.results,
    ];
    assert_eq!(days.map(|s| s.as_secs() / 86_400), [3, 4, 14, 15, 30]);
    assert_eq!((config.model.pull, config.model.max_pixels.0), (Pull::Missing, 64_000_000));
    assert_eq!(config.pool.min_instances, 0);
}

#[test]
fn auto_on_one_machine() {
    let config = load(&sources(&[])).config;
    assert_eq!((config.max_instances(), config.sessions()), (2, 1));
    let boot = Duration::from_secs(100);
    assert_eq!((config.tick().as_secs(), config.hold(boot).as_secs()), (1, 10));
    assert_eq!((config.boot_prior().as_secs(), config.counter_lag().as_secs()), (1, 0));
    assert_eq!(config.report_every(1000).as_secs(), 5);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn auto_on_aws() {
    let mut config = load(&sources(&[])).config;
    config.backend = Backend::Aws;
    assert_eq!((config.max_instances(), config.sessions()), (20, 2));
    assert_eq!((config.tick().as_secs(), config.counter_lag().as_secs()), (5, 60));
    assert_eq!(config.hold(Duration::from_secs(30)).as_secs(), 120);
    assert_eq!(config.hold(Duration::from_secs(50)).as_secs(), 150);
    assert_eq!((config.report_every(20).as_secs(), config.report_every(1000).as_secs()), (30, 50));
}

#[test]
fn the_backlog_is_what_the_pool_clears_while_somebody_waits() {
    let config = load(&sources(&[])).config;
    // 2 instances x 300 s / 10 ms
    assert_eq!(config.max_backlog(Duration::from_millis(10), 1), 60_000);
    assert_eq!(config.max_backlog(Duration::from_secs(10), 1), 1000);
    let longest = load(&set(&[("web.wait", "1d")])).config;
    assert_eq!(longest.max_backlog(Duration::ZERO, u32::MAX), i64::MAX as u64);
    let fixed = load(&set(&[("web.max_backlog", "2000")])).config;
    assert_eq!(fixed.max_backlog(Duration::from_millis(1), 8), 2000);
}

/// Nobody who reads the effective values has to know what "auto" comes to; only what is told later stays open.
#[test]
fn every_auto_is_printed_as_its_value() {
    for backend in ["local", "aws"] {
        let mut loaded = load(&sources(&[]));
        loaded.config.backend = if backend == "aws" { Backend::Aws } else { Backend::Local };
        let open: Vec<String> =
            loaded.lines().into_iter().filter(|line| line.value == "\"auto\"").map(|line| line.key).collect();
        assert_eq!(open, ["app.app_tier_id"]);
        let computed = loaded.lines().into_iter().filter(|line| line.origin == Origin::Computed).count();
        assert_eq!(computed, DEFAULTS.lines().filter(|line| line.ends_with("= \"auto\"")).count() - 1);
    }
}
