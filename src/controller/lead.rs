//! Leading: the rounds, and what is remembered from one to the next. All of it is gone with the process; what must not
//! be is in the control object.

use super::Context;
use crate::edge::host::WAKE;
use crate::metrics::Loop;
use bellows_core::control::{Leader, Standing};
use bellows_core::estimate::Meter;
use bellows_core::ledger::Happened;
use bellows_core::pool::{Backoff, LaunchToken, Roster};
use bellows_core::retire::Requests;
use bellows_core::scale::{Counters, Decision, Memory, Observation, decide};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Uploads and ended instances wake the controller at most so often.
const WAKE_EVERY: Duration = Duration::from_millis(200);

const LOOKS_A_BOOT: u32 = 8;
const LEAST_LOOK: Duration = Duration::from_millis(50);

/// The leader of the pool.
pub(super) struct Lead {
    pub(super) cx: Context,
    pub(super) leader: Leader,
    pub(super) roster: Roster,
    pub(super) requests: Requests,
    pub(super) meter: Meter,
    memory: Memory,
    pub(super) backoff: Backoff,
    /// Launches of which a call may have happened that nobody heard the outcome of.
    pub(super) unsure: BTreeSet<LaunchToken>,
    /// No launch before this.
    pub(super) not_before: Duration,
    /// As they were last read, and when.
    pub(super) counters: Option<(Counters, Duration)>,
    pub(super) list_failed: bool,
    /// The last decision, for people.
    pub(super) decision: Option<Decision>,
}

/// Why a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Tick,
    /// An upload came, an instance went, or a launch may be tried again.
    News,
}

impl Lead {
    pub(super) fn new(cx: Context, leader: Leader) -> Lead {
        let (now, settings) = (cx.now(), &cx.settings);
        let mut lead = Lead {
            roster: Roster::new(leader.control(), settings.unlisted_grace, now),
            requests: Requests::new(leader.epoch(), settings.job_deadline, now),
            meter: Meter::new(settings.priors, &leader.control().estimates, settings.policy.counter_lag),
            memory: Memory::default(),
            backoff: Backoff::default(),
            unsure: BTreeSet::new(),
            not_before: Duration::ZERO,
            counters: None,
            list_failed: false,
            decision: None,
            leader,
            cx,
        };
        lead.happened(Happened::TookOver { epoch: lead.leader.epoch() });
        lead
    }

    /// Goes round until the lease is lost or `stop`.
    pub(super) async fn serve(&mut self, stop: &CancellationToken) {
        let status = self.cx.status.clone();
        let changed = self.cx.edges.fleet.changed();
        let mut ticks = tokio::time::interval(self.cx.settings.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_wake = Instant::now();
        loop {
            let launch_at = self.cx.started + self.not_before;
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => Wake::Tick,
                () = news(status.submitted(), &changed, next_wake) => Wake::News,
                () = tokio::time::sleep_until(launch_at), if launch_at > Instant::now() => Wake::News,
                () = tokio::time::sleep(self.boot_look()), if self.roster.is_booting() => Wake::News,
                () = tokio::time::sleep(WAKE) => continue,
            };
            if wake == Wake::News {
                next_wake = Instant::now() + WAKE_EVERY;
            }
            self.cx.metrics.loop_tick(Loop::Controller);
            if self.round(wake).await == Standing::Lost {
                tracing::error!("the lease is lost: somebody else scales the pool");
                return;
            }
        }
    }

    /// While instances boot, their reports are looked for a few times a boot: where that takes less than some ticks.
    fn boot_look(&self) -> Duration {
        (self.meter.boot() / LOOKS_A_BOOT).max(LEAST_LOOK)
    }

    /// Hear, observe, decide, write down, act.
    async fn round(&mut self, wake: Wake) -> Standing {
        if wake == Wake::Tick && self.look_at_lease().await == Standing::Lost {
            return Standing::Lost;
        }
        self.hear().await;
        self.list().await;
        self.requests.expire(self.cx.now());
        self.leader.prune(&mut self.roster, self.cx.now());
        if self.requests.must_sweep(self.cx.now()) {
            self.sweep_requests().await;
        }
        self.read_queues().await;
        // nothing can be launched that would find no model
        let decision = (!self.cx.status.model_is_loading()).then(|| self.decide());
        // reads may have taken long: the lease is renewed before it is needed
        if self.keep_lease().await == Standing::Lost {
            return Standing::Lost;
        }
        let mut done = match &decision {
            Some(decision) => self.act(decision).await,
            None => bellows_core::scale::Actions::default(),
        };
        if self.keep_lease().await == Standing::Lost {
            return Standing::Lost;
        }
        done.launch = self.launch().await;
        if let Some(decision) = &decision {
            self.record(decision, done);
        }
        self.end().await;
        self.decision = decision.or(self.decision.take());
        self.publish();
        Standing::Leading
    }

    fn decide(&mut self) -> Decision {
        let (settings, now) = (&self.cx.settings, self.cx.now());
        let (accepted, answered) = self.cx.status.traffic();
        self.meter.own(accepted, answered, now);
        let parts = (&self.leader, &self.roster, &self.requests, &self.meter);
        let observation = Observation {
            counters: self.counters.map(|(counters, at)| (counters, now.saturating_sub(at))),
            list_failed: self.list_failed,
            backoff: self.not_before.saturating_sub(now),
            memory: self.memory.clone(),
            ..Observation::new(parts, settings.slots, settings.dry_run, now)
        };
        if !observation.live.conflicts.is_empty() {
            tracing::error!(pool.conflicts = ?observation.live.conflicts, "an app-tier id is on two live instances");
        }
        let decision = decide(&observation, &settings.policy);
        self.memory = decision.memory.clone();
        decision
    }

    /// Records an event for people.
    pub(super) fn happened(&mut self, event: Happened) {
        let at = self.cx.edges.host.clock.now();
        let mut ledger = self.cx.status.ledger();
        let entry = ledger.happened(at, event);
        tracing::info!(decision.seq = entry.seq, "{}", entry.words());
    }
}

/// Returns when an upload came or an instance went, and not before `earliest`.
async fn news(submitted: &Notify, changed: &Notify, earliest: Instant) {
    tokio::select! {
        biased;
        () = submitted.notified() => {}
        () = changed.notified() => {}
    }
    // a tick that comes first sees the same news
    tokio::time::sleep_until(earliest).await;
}
