//! What the leader knows, for the metrics, the page, admission, and people.

use super::lead::Lead;
use crate::metrics::Instances;
use crate::status::{Backlog, Member, Pool, States};
use bellows_core::admission::{Capacity, max_backlog};
use bellows_core::pool::Live;
use bellows_core::scale::{Actions, Decision};

impl Lead {
    /// Puts a decision and what became of it into the ledger.
    pub(super) fn record(&self, decision: &Decision, done: Actions) {
        let mut ledger = self.cx.status.ledger();
        let entry = ledger.decided(self.cx.edges.host.clock.now(), decision, done);
        if entry.is_interesting() && entry.repeats == 0 {
            tracing::info!(decision.seq = entry.seq, "{}", entry.words());
        }
    }

    fn live(&self) -> Live {
        self.roster.live(&self.leader.control().intents, self.cx.now())
    }

    /// The backlog as uploads are judged by.
    pub(super) fn note_backlog(&self, waiting: u64) {
        let (settings, live) = (&self.cx.settings, self.live());
        let capacity = Capacity {
            ready: live.ready,
            booting: live.booting.saturating_add(live.intended),
            max: settings.policy.max,
            slots: self.roster.slots(settings.slots),
            service: self.meter.service(),
            boot: self.meter.boot(),
        };
        let most = Some(max_backlog(settings.max_backlog, settings.web_wait, &capacity));
        self.cx.status.set_backlog(Backlog { waiting, most, capacity });
    }

    pub(super) fn publish(&self) {
        let (policy, now, live) = (&self.cx.settings.policy, self.cx.now(), self.live());
        let metrics = &self.cx.metrics;
        metrics.set_leader(true);
        metrics.set_pool(Instances {
            pending: u64::from(live.intended) + u64::from(live.booting),
            running: u64::from(live.ready),
            retiring: u64::from(live.retiring),
            terminating: u64::from(live.terminating),
        });
        metrics.set_pool_usd_per_hour(f64::from(live.total()) * self.cx.settings.instance_usd_per_hour);
        let (wanted, demand) = self.decision.as_ref().map_or((0, 0), |decision| (decision.wanted, decision.demand));
        metrics.set_pool_bounds(u64::from(wanted), u64::from(policy.max));
        let counters = self.counters.map(|(_, at)| now.saturating_sub(at)).unwrap_or_default();
        metrics.set_observation_age(counters.max(self.roster.list_age(now).unwrap_or_default()));
        let instances = self.roster.members().map(|(instance_id, member)| Member {
            app_tier_id: member.app_tier_id.0,
            instance_id: instance_id.0.clone(),
            life: member.life,
        });
        let control = self.leader.control();
        self.cx.status.set_pool(Pool {
            leads: true,
            epoch: control.epoch.0,
            pause: control.pause.clone(),
            dry_run: self.cx.settings.dry_run,
            min_instances: policy.min,
            max_instances: policy.max,
            slots_an_instance: self.roster.slots(self.cx.settings.slots),
            wanted,
            demand,
            asked_to_retire: self.requests.outstanding(),
            service_ms: self.meter.service().as_secs_f64() * 1e3,
            boot_ms: self.meter.boot().as_secs_f64() * 1e3,
            queue: self.counters.map(|(counters, _)| counters),
            states: States {
                booting: live.intended.saturating_add(live.booting),
                ready: live.ready,
                ending: live.retiring.saturating_add(live.terminating),
            },
            instances: instances.collect(),
        });
    }
}
