//! What must fit together across keys, and what is allowed and yet perhaps not meant.

use super::Loaded;
use super::computed::MIN_BACKLOG;
use super::error::Problem;
use super::scalar::Auto;
use super::schema::Config;
use super::token::is_name;
use super::values::{Backend, Listen, Role, Span};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Everything that is wrong with a configuration whose values each read well.
pub(super) fn problems(loaded: &Loaded) -> Vec<Problem> {
    let mut check = Check { loaded, problems: Vec::new() };
    check.web();
    check.pool();
    check.times();
    check.folders();
    check.aws();
    check.problems
}

struct Check<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Reports `key` unless `holds`.
    fn require(&mut self, holds: bool, key: &str, expected: impl Into<String>) {
        if !holds {
            self.problems.push(self.loaded.problem(key, expected.into()));
        }
    }

    /// Reports `key` unless it lies between `least` and `most`.
    fn within(&mut self, key: &str, value: Span, least: Duration, most: Duration) {
        let holds = (least..=most).contains(&value.0);
        self.require(holds, key, format!("a duration from {} to {}", Span(least), Span(most)));
    }

    fn repair(&mut self, repair: &str) {
        if let Some(problem) = self.problems.last_mut() {
            problem.repair = Some(repair.into());
        }
    }

    fn web(&mut self) {
        let web = &self.loaded.config.web;
        self.within("web.wait", web.wait, Duration::ZERO, DAY);
        self.within("web.drain", web.drain, Duration::ZERO, DAY);
        self.within("web.header_timeout", web.header_timeout, SECOND / 10, HOUR);
        self.within("web.body_timeout", web.body_timeout, SECOND / 10, HOUR);
        self.require((1..=10_000).contains(&web.max_files), "web.max_files", "a whole number from 1 to 10000");
        self.require(web.max_connections >= 1, "web.max_connections", "at least 1");
        self.require((1 << 10..=1 << 32).contains(&web.max_body.0), "web.max_body", "a size from 1 KiB to 4 GiB");
        self.require(
            web.body_budget >= web.max_body,
            "web.body_budget",
            format!("at least web.max_body, which is {}", web.max_body),
        );
        let backlog = web.max_backlog.set().unwrap_or(MIN_BACKLOG);
        self.require(
            backlog >= MIN_BACKLOG,
            "web.max_backlog",
            format!("at least {MIN_BACKLOG}: uploads are never refused while fewer wait"),
        );
        let metrics = self.loaded.config.metrics.listen;
        self.require(
            web.listen != metrics || metrics.0.port() == 0,
            "metrics.listen",
            "another address or port than web.listen",
        );
        self.access();
    }

    fn access(&mut self) {
        let web = &self.loaded.config.web;
        let mut names: Vec<&str> = web.tokens.iter().map(|token| token.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned());
        let expected = format!("each name once; {:?} is there twice", twice.as_deref().unwrap_or_default());
        self.require(twice.is_none(), "web.tokens", expected);
        let guarded = web.listen.0.ip().is_loopback() || !web.tokens.is_empty() || web.allow_anonymous;
        let serves = self.loaded.config.role == Role::Web;
        self.require(
            guarded || !serves,
            "web.listen",
            "a loopback address, or tokens in web.tokens: everybody who reaches this address could upload",
        );
        if !guarded && serves {
            self.repair("`bellows token new NAME`, or web.allow_anonymous = true where something in front checks");
        }
    }

    fn pool(&mut self) {
        let config = &self.loaded.config;
        let most = config.max_instances();
        self.require(is_name(&config.pool.name), "pool.name", "1 to 64 letters, digits, `.`, `_` or `-`");
        self.require((1..=1000).contains(&most), "pool.max_instances", "a whole number from 1 to 1000");
        self.require(
            config.pool.min_instances <= most,
            "pool.min_instances",
            format!("at most pool.max_instances, which is {most}"),
        );
        self.within("pool.tick", Span(config.tick()), SECOND / 10, MINUTE * 10);
        self.within("pool.latency_target", config.pool.latency_target, SECOND / 10, DAY);
        self.within("pool.service_prior", config.pool.service_prior, SECOND / 1000, HOUR);
        self.within("pool.boot_prior", Span(config.boot_prior()), SECOND / 1000, HOUR);
        self.require((1..=256).contains(&config.sessions()), "app.sessions", "a whole number from 1 to 256");
        self.within("app.job_deadline", config.app.job_deadline, SECOND, HOUR);
        self.within("app.report_every", Span(config.report_every(0)), SECOND, MINUTE * 10);
        self.require(
            config.app.pause < config.app.job_deadline,
            "app.pause",
            format!("less than app.job_deadline, which is {} and counts the pause", config.app.job_deadline),
        );
        let id = config.app.app_tier_id.set().unwrap_or(1);
        self.require(id >= 1, "app.app_tier_id", "1 or more");
        if let Err(why) = crate::telemetry::parse_level(&config.log.level) {
            self.require(false, "log.level", why);
        }
    }

    /// requests.md's "times that must fit together": a message is answered before it vanishes, and while it may come
    /// back its image and its result are there.
    fn times(&mut self) {
        let (queue, retention) = (&self.loaded.config.queue, &self.loaded.config.retention);
        self.within("queue.visibility", queue.visibility, SECOND, HOUR * 12);
        self.require(
            queue.heartbeat < queue.visibility && *queue.heartbeat >= SECOND / 10,
            "queue.heartbeat",
            format!("a duration from 100ms to less than queue.visibility, which is {}", queue.visibility),
        );
        self.require((1..=1000).contains(&queue.max_receives), "queue.max_receives", "a whole number from 1 to 1000");
        self.within("queue.retention", queue.retention, MINUTE, DAY * 14);
        self.within("queue.dead_retention", queue.dead_retention, MINUTE, DAY * 14);
        self.require(
            retention.request_ttl < queue.retention,
            "retention.request_ttl",
            format!("less than queue.retention, which is {}", queue.retention),
        );
        self.require(
            queue.retention < queue.dead_retention,
            "queue.retention",
            format!("less than queue.dead_retention, which is {}", queue.dead_retention),
        );
        for (key, kept) in [("retention.inputs", retention.inputs), ("retention.results", retention.results)] {
            let expected = format!("at least queue.retention, which is {}", queue.retention);
            self.require(kept >= queue.retention, key, expected);
        }
    }

    fn folders(&mut self) {
        let config = &self.loaded.config;
        if config.is_local() {
            let known = !config.state_dir().as_os_str().is_empty();
            self.require(known, "local.state_dir", "a path: neither XDG_STATE_HOME nor HOME is set");
        }
        let known = !config.model_dir().as_os_str().is_empty();
        self.require(known, "model.dir", "a path: neither XDG_DATA_HOME nor HOME is set");
        let named = config.model.name.get().is_some() || config.model.manifest.get().is_some();
        self.require(named, "model.name", "a model's name (`bellows model list`), or model.manifest");
    }

    fn aws(&mut self) {
        let config = &self.loaded.config;
        if config.backend != Backend::Aws {
            return;
        }
        let urls = &config.queue.urls;
        let mut needed = vec![
            ("queue.urls.request", &urls.request, "a queue's URL"),
            ("queue.urls.response", &urls.response, "a queue's URL"),
            ("queue.urls.terminate_request", &urls.terminate_request, "a queue's URL"),
            ("queue.urls.terminate_confirm", &urls.terminate_confirm, "a queue's URL"),
            ("bucket.input", &config.bucket.input, "a bucket's name"),
            ("bucket.output", &config.bucket.output, "a bucket's name"),
            // both tiers: workers put there what cannot be read, the leader answers it
            ("queue.urls.dead", &urls.dead, "a queue's URL"),
        ];
        if config.role == Role::Web {
            needed.push(("aws.launch_template", &config.aws.launch_template, "a launch template's id or name"));
        }
        for (key, value, kind) in needed {
            let is_url = !kind.ends_with("URL") || is_http(value);
            self.require(value.get().is_some() && is_url, key, format!("{kind}: backend is \"aws\""));
        }
        let endpoints = &config.aws.endpoints;
        let endpoints = [
            ("aws.endpoint", &config.aws.endpoint),
            ("aws.endpoints.s3", &endpoints.s3),
            ("aws.endpoints.sqs", &endpoints.sqs),
            ("aws.endpoints.ec2", &endpoints.ec2),
        ];
        for (key, value) in endpoints {
            self.require(
                value.is_empty() || is_http(value),
                key,
                "a URL that begins with http:// or https:// and names a host",
            );
        }
    }
}

fn is_http(text: &str) -> bool {
    text.parse::<hyper::Uri>().is_ok_and(|uri| {
        let http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
        http && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
    })
}

/// What may be meant and is worth a line at start.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let public = |listen: Listen| !listen.0.ip().is_loopback();
    let web = config.role == Role::Web;
    if web && public(config.web.listen) && config.web.allow_anonymous {
        warnings
            .push(format!("web.listen = {} and web.allow_anonymous: whoever reaches it may upload", config.web.listen));
    }
    if web && public(config.metrics.listen) {
        let guarded = !config.web.tokens.is_empty() && !config.web.allow_anonymous;
        let sees = if guarded { "how much the service does" } else { "what the service does and decides" };
        warnings.push(format!("metrics.listen = {}: whoever reaches it sees {sees}", config.metrics.listen));
    }
    if *config.queue.heartbeat * 2 > *config.queue.visibility {
        warnings.push(format!(
            "queue.heartbeat = {} is more than half of queue.visibility = {}: one late heartbeat loses the lease",
            config.queue.heartbeat, config.queue.visibility
        ));
    }
    let first_label = config.boot_prior() + *config.pool.service_prior;
    if web && *config.web.wait < first_label {
        warnings.push(format!(
            "web.wait = {} is less than a boot and one image take ({} ms): from an empty pool uploads are answered 202",
            config.web.wait,
            first_label.as_millis()
        ));
    }
    if let Auto::Set(hold) = config.pool.hold
        && *hold < config.boot_prior()
    {
        warnings.push(format!(
            "pool.hold = {hold} is less than a boot takes ({}): the pool will shrink and grow all the time",
            Span(config.boot_prior())
        ));
    }
    if config.retention.inputs < config.queue.dead_retention {
        warnings.push(format!(
            "retention.inputs = {} is less than queue.dead_retention = {}: dead letters outlive their images",
            config.retention.inputs, config.queue.dead_retention
        ));
    }
    if config.pool.dry_run {
        warnings.push("pool.dry_run: the controller decides, and neither launches nor ends anything".into());
    }
    warnings
}
