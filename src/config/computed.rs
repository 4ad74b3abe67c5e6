//! The values behind "auto", each worked out in one place.

use super::scalar::Auto;
use super::schema::Config;
use super::values::{Backend, FilePath, Policy, Span};
use std::path::PathBuf;
use std::time::Duration;

/// Uploads are never refused for a full backlog while fewer than this wait.
pub const MIN_BACKLOG: u64 = 1000;

impl Config {
    pub fn is_local(&self) -> bool {
        self.backend == Backend::Local
    }

    /// Most instances of the pool, those that boot or retire counted.
    pub fn max_instances(&self) -> u32 {
        let local = self.is_local();
        self.pool.max_instances.or_else(|| if local { self.host.cores.max(1) } else { 20 })
    }

    /// Images that one process works on at once.
    pub fn sessions(&self) -> u32 {
        let local = self.is_local();
        self.app.sessions.or_else(|| if local { 1 } else { self.host.cores.max(1) })
    }

    /// The controller's period.
    pub fn tick(&self) -> Duration {
        self.by_backend(self.pool.tick, 1, 5)
    }

    /// How long a need is remembered before the pool shrinks to a smaller one; follows the boot time measured.
    pub fn hold(&self, measured_boot: Duration) -> Duration {
        let floor = self.by_backend(self.pool.hold, 10, 120);
        match self.pool.hold {
            Auto::Auto if !self.is_local() => floor.max(measured_boot * 3),
            _ => floor,
        }
    }

    /// How the need is worked out.
    pub fn policy(&self) -> Policy {
        let local = self.is_local();
        self.pool.policy.or_else(|| if local { Policy::Backlog } else { Policy::Deadline })
    }

    /// Launch to ready, until it was measured.
    pub fn boot_prior(&self) -> Duration {
        self.by_backend(self.pool.boot_prior, 1, 40)
    }

    /// How stale the queue's counters may be.
    pub fn counter_lag(&self) -> Duration {
        self.by_backend(self.pool.counter_lag, 0, 60)
    }

    /// Time between two reports of a worker where `live` instances report.
    pub fn report_every(&self, live: u32) -> Duration {
        let floor = self.by_backend(self.app.report_every, 5, 30);
        match self.app.report_every {
            // twenty reports a second are what the leader reads at ease
            Auto::Auto if !self.is_local() => floor.max(Duration::from_millis(u64::from(live) * 50)),
            _ => floor,
        }
    }

    /// Most accepted and unanswered images: what a full pool of `slots` an instance clears within `web.wait` where an
    /// image takes `service`. Never below [`MIN_BACKLOG`].
    pub fn max_backlog(&self, service: Duration, slots: u32) -> u64 {
        self.web.max_backlog.or_else(|| {
            let workers = u128::from(self.max_instances()) * u128::from(slots.max(1));
            let cleared = workers * self.web.wait.as_micros() / service.as_micros().max(1);
            u64::try_from(cleared).unwrap_or(u64::MAX).clamp(MIN_BACKLOG, i64::MAX as u64)
        })
    }

    /// Everything this machine keeps. Empty only where validation has not passed.
    pub fn state_dir(&self) -> PathBuf {
        folder(&self.local.state_dir, self.host.state_home.as_ref())
    }

    /// Fetched engines and models.
    pub fn model_dir(&self) -> PathBuf {
        folder(&self.model.dir, self.host.data_home.as_ref())
    }

    /// The same configuration with every "auto" replaced by its value at start, for people to read.
    pub(super) fn fixed(&self) -> Config {
        let mut fixed = self.clone();
        let boot = self.boot_prior();
        fixed.web.max_backlog =
            Auto::Set(self.max_backlog(*self.pool.service_prior, self.app.sessions.set().unwrap_or(1)));
        fixed.pool.max_instances = Auto::Set(self.max_instances());
        fixed.pool.tick = Auto::Set(Span(self.tick()));
        fixed.pool.hold = Auto::Set(Span(self.hold(boot)));
        fixed.pool.policy = Auto::Set(self.policy());
        fixed.pool.boot_prior = Auto::Set(Span(boot));
        fixed.pool.counter_lag = Auto::Set(Span(self.counter_lag()));
        fixed.app.sessions = Auto::Set(self.sessions());
        fixed.app.report_every = Auto::Set(Span(self.report_every(0)));
        fixed.local.state_dir = Auto::Set(self.state_dir().into());
        fixed.model.dir = Auto::Set(self.model_dir().into());
        // app.app_tier_id stays "auto": it is told to the process, not worked out
        fixed
    }

    fn by_backend(&self, given: Auto<Span>, local_s: u64, aws_s: u64) -> Duration {
        given.or_else(|| Span(Duration::from_secs(if self.is_local() { local_s } else { aws_s }))).0
    }
}

fn folder(given: &Auto<FilePath>, home: Option<&PathBuf>) -> PathBuf {
    match given {
        Auto::Set(path) => PathBuf::from(&path.0),
        Auto::Auto => home.map(|home| home.join("bellows")).unwrap_or_default(),
    }
}
