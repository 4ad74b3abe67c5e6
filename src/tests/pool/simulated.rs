//! What the simulated tests share: a world, a controller that is started again when it dies, and what must hold.

use bellows::controller::Retention;
use bellows::sim::{Controller, Fault, Kind, Point, Settings, World};
use bellows_core::key::RequestId;
use bellows_core::pool::{AppTierId, Named};
use bellows_core::scale::{Hold, Policy, Rule};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub const SECOND: Duration = Duration::from_secs(1);

/// The original's rule on a pool of ten, an image a slot takes two seconds for.
pub fn settings(kind: Kind) -> Settings {
    let policy = Policy {
        rule: Rule::PerRequest,
        min: 0,
        max: 10,
        hold: Hold::Fixed(Duration::ZERO),
        latency_target: SECOND * 15,
        counter_lag: Duration::ZERO,
    };
    Settings {
        kind,
        policy,
        seed: 1,
        boot: SECOND * 3,
        ending: SECOND,
        lists_after: if kind == Kind::Machines { SECOND * 20 } else { Duration::ZERO },
        service: SECOND / 2,
        pause: SECOND * 3 / 2,
        visibility: SECOND * 30,
        job_deadline: SECOND * 10,
        report_every: SECOND * 5,
        tick: SECOND,
        dry_run: false,
        retention: Retention { request_ttl: Duration::from_hours(72), objects: None },
    }
}

/// Runs a test in virtual time.
pub fn virtually<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

/// A world with a controller in it, watched.
pub struct Watched {
    pub world: World,
    pub controller: Controller,
    pub uploaded: Vec<RequestId>,
    pub starts: u32,
    /// The largest pool seen, and every instance ever seen.
    pub most: usize,
    pub seen: BTreeSet<Named>,
}

impl Watched {
    pub fn new(settings: Settings, faults: Vec<(Point, Fault)>) -> Watched {
        let world = World::new(settings).unwrap();
        let controller = world.start_controller("first", faults);
        Watched { world, controller, uploaded: Vec::new(), starts: 1, most: 0, seen: BTreeSet::new() }
    }

    pub async fn upload(&mut self, count: usize) {
        for _ in 0..count {
            let n = self.uploaded.len() as u128 + 1;
            let id = self.world.upload(n).await.unwrap();
            self.controller.status.entering(id, None).accepted();
            self.uploaded.push(id);
        }
    }

    /// What must hold at any moment.
    fn check(&mut self) {
        let live = self.world.live();
        let max = self.world.settings.policy.max;
        assert!(live.len() <= max as usize, "{} instances, {max} allowed", live.len());
        let ids: BTreeSet<AppTierId> = live.iter().map(|named| named.app_tier_id).collect();
        assert_eq!(ids.len(), live.len(), "an id is on two live instances");
        assert!(ids.iter().all(|id| (1..=max).contains(&id.0)), "{ids:?}");
        self.most = self.most.max(live.len());
        self.seen.extend(live);
    }

    /// Starts a controller where the old one is dead.
    fn revive(&mut self) {
        if self.controller.is_killed() {
            self.world.orphan();
            self.starts += 1;
            // the same instance, started again: it need not wait until the lease runs out
            self.controller = self.world.start_controller("first", Vec::new());
        }
    }

    /// Lets time pass, and looks four times a second at least.
    pub async fn pass(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until {
            sleep(span.min(SECOND / 4)).await;
            self.check();
            self.revive();
        }
    }

    /// Passes time until `condition` holds; how long it took.
    pub async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut condition: impl AsyncFnMut(&Watched) -> bool,
    ) -> Duration {
        let begun = Instant::now();
        while !condition(self).await {
            assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
            self.pass(SECOND / 10).await;
        }
        begun.elapsed()
    }

    pub async fn unanswered(&self) -> usize {
        let mut missing = 0;
        for id in &self.uploaded {
            missing += usize::from(!self.world.is_answered(*id).await.unwrap());
        }
        missing
    }

    /// Whether nothing is left: no instance, no message, nothing written down.
    pub async fn is_at_rest(&self) -> bool {
        let intents = self.world.control().await.map_or(0, |control| control.intents.len());
        self.world.live().is_empty() && self.world.messages().await.unwrap() == 0 && intents == 0
    }

    /// All is answered, and then nothing is left.
    pub async fn comes_to_rest(&mut self, limit: Duration) -> Duration {
        let begun = Instant::now();
        while self.unanswered().await > 0 || !self.is_at_rest().await {
            assert!(begun.elapsed() < limit, "not at rest within {limit:?}: {:#?}", self.why());
            self.pass(SECOND).await;
        }
        begun.elapsed()
    }

    /// A series of the controller that runs now.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.controller.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap()
    }

    pub fn actions(&self, action: &str) -> u64 {
        self.metric(&format!("bellows_scale_actions_total{{action=\"{action}\"}}"))
    }

    /// What `bellows why` would print.
    pub fn why(&self) -> Vec<String> {
        self.controller.status.ledger().interesting().map(bellows_core::ledger::Entry::words).collect()
    }
}

pub const KINDS: [Kind; 2] = [Kind::Processes, Kind::Machines];

/// Long enough for anything that is to heal: a lease of another leader, a void request, an unlisted instance.
pub const HEALS: Duration = Duration::from_mins(20);
