//! Knative's own autoscaler (KPA) on concurrency, for pods that take one request at a time (`containerConcurrency` 1).
//!
//! After knative/serving: pkg/autoscaler/scaling/autoscaler.go (`Scale`), multiscaler.go (a tick of 2 s; at zero the
//! first request pokes it at once), pkg/reconciler/autoscaling/kpa/scaler.go (`handleScaleToZero`), kpa.go, and the
//! defaults of config/core/configmaps/autoscaler.yaml. Requests wait in the activator, so that concurrency is all that
//! was accepted and not answered: it is exact and a second old, which no counter of a queue is. A pod that ends
//! finishes what it has: its grace is the revision's timeout (`TerminationGracePeriodSeconds` in
//! pkg/reconciler/revision/resources/deploy.go; 300 s in config/core/configmaps/defaults.yaml).

mod window;

use super::{Ending, Policy, Sight, Wish};
use window::{Buckets, Largest};

const TICK_SECONDS: u64 = 2;
/// A revision that became inactive is looked at again after so long (`enqueueCB`, with the activator in the path).
const LOOK_AGAIN_SECONDS: u64 = 3;
const GRACE_SECONDS: u64 = 300;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub stable_window_seconds: u64,
    pub panic_window_seconds: u64,
    /// Panic begins where the panic window wants so many times the ready pods.
    pub panic_threshold: f64,
    /// Requests a pod can take, and the share of it that is aimed at.
    pub container_concurrency: f64,
    pub target_utilisation: f64,
    /// How much more or less than the ready pods a tick may want.
    pub max_scale_up_rate: f64,
    pub max_scale_down_rate: f64,
    pub scale_down_delay_seconds: u64,
    pub scale_to_zero_grace_seconds: u64,
    pub pod_retention_seconds: u64,
    /// With less than so much spare concurrency the activator is in the path of requests.
    pub target_burst_capacity: f64,
}

pub const DEFAULT: Settings = Settings {
    stable_window_seconds: 60,
    panic_window_seconds: 6,
    panic_threshold: 2.0,
    container_concurrency: 1.0,
    target_utilisation: 0.7,
    max_scale_up_rate: 1000.0,
    max_scale_down_rate: 2.0,
    scale_down_delay_seconds: 0,
    scale_to_zero_grace_seconds: 30,
    pod_retention_seconds: 0,
    target_burst_capacity: 211.0,
};

/// Fuller pods, and what boots for 40 s is kept for a minute more.
pub const TUNED: Settings = Settings { target_utilisation: 0.85, scale_down_delay_seconds: 60, ..DEFAULT };

/// The condition `Active` of the PodAutoscaler, and since when.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Inactive(u64),
    Activating,
    Active(u64),
}

pub struct Knative {
    settings: Settings,
    max: u32,
    stable: Buckets,
    panic: Buckets,
    delay: Option<Largest>,
    /// Since when it panics, prolonged while it must, and the most it has wanted meanwhile.
    panic_since: Option<u64>,
    panic_pods: u32,
    /// What the autoscaler wants, and what the Deployment was told.
    desired: u32,
    replicas: u32,
    condition: Condition,
    /// Since when the activator has been in the path of requests.
    proxied_since: Option<u64>,
}

impl Knative {
    pub fn new(settings: Settings, max: u32) -> Knative {
        let delay = settings.scale_down_delay_seconds;
        Knative {
            settings,
            max,
            stable: Buckets::new(settings.stable_window_seconds),
            panic: Buckets::new(settings.panic_window_seconds),
            delay: (delay > 0).then(|| Largest::new(delay)),
            panic_since: None,
            panic_pods: 0,
            desired: 0,
            replicas: 0,
            condition: Condition::Inactive(0),
            proxied_since: Some(0),
        }
    }

    /// The pods wanted at these means of concurrency.
    fn scale(&mut self, now: u64, ready: u32, stable: f64, panic: f64) -> u32 {
        let settings = self.settings;
        let target = settings.container_concurrency * settings.target_utilisation;
        let pods = f64::from(ready.max(1));
        let (most, least) = ((settings.max_scale_up_rate * pods).ceil(), (pods / settings.max_scale_down_rate).floor());
        let (for_stable, for_panic) = ((stable / target).ceil(), (panic / target).ceil());
        let bounded = |wanted: f64| wanted.max(least).min(most) as u32;

        if for_panic / pods >= settings.panic_threshold {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| since + settings.stable_window_seconds < now) {
            (self.panic_since, self.panic_pods) = (None, 0);
        }
        let mut wanted = bounded(for_stable);
        if self.panic_since.is_some() {
            // In panic it only rises; the stable mean may be the larger one.
            self.panic_pods = self.panic_pods.max(wanted).max(bounded(for_panic));
            wanted = self.panic_pods;
        }
        self.delay.as_mut().map_or(wanted, |delay| delay.with(now, wanted))
    }

    /// What the Deployment is told: `wanted` within bounds, and the steps to zero.
    fn apply(&mut self, now: u64, wanted: u32, ready: u32) {
        if wanted > 0 {
            self.replicas = wanted;
            self.condition = match self.condition {
                Condition::Active(since) if ready > 0 => Condition::Active(since),
                _ if ready > 0 => Condition::Active(now),
                _ => Condition::Activating,
            };
            return;
        }
        match self.condition {
            Condition::Activating if ready > 0 => self.condition = Condition::Active(now),
            Condition::Activating => {} // whoever waits for the first pod does not give up
            Condition::Active(since) if now - since >= self.settings.stable_window_seconds => {
                self.condition = Condition::Inactive(now);
            }
            Condition::Active(_) => self.replicas = 1,
            Condition::Inactive(since) => {
                if now - since >= LOOK_AGAIN_SECONDS && self.may_end(now, now - since) {
                    self.replicas = 0;
                }
            }
        }
    }

    /// Whether the last pod may go: the activator has been in the path, or it has been inactive, for the grace.
    fn may_end(&self, now: u64, inactive: u64) -> bool {
        let Settings { scale_to_zero_grace_seconds: grace, pod_retention_seconds: retention, .. } = self.settings;
        let proxied = self.proxied_since.map_or(0, |since| now - since);
        inactive >= grace.max(retention) || (inactive >= retention && proxied >= grace)
    }

    /// The activator leaves the path while there is capacity to spare (`ExcessBurstCapacity`).
    fn route(&mut self, now: u64, ready: u32, panic: f64) {
        let capacity = f64::from(ready) * self.settings.container_concurrency;
        let burst = self.settings.target_burst_capacity;
        let spare = if burst > 0.0 { (capacity - burst - panic).floor() } else { burst };
        let inactive = matches!(self.condition, Condition::Inactive(_));
        self.proxied_since = match self.proxied_since {
            _ if self.desired > 0 && !inactive && spare >= 0.0 => None,
            None => Some(now),
            since => since,
        };
    }
}

impl Policy for Knative {
    /// Pods and activator report every second.
    fn period_seconds(&self) -> u64 {
        1
    }

    fn tick(&mut self, now: u64, sight: &Sight) -> Wish {
        if sight.ready > 0 || sight.concurrency > 0.0 {
            self.stable.record(now, sight.concurrency);
            self.panic.record(now, sight.concurrency);
        }
        let poked = self.desired == 0 && sight.concurrency > 0.0;
        if now.is_multiple_of(TICK_SECONDS) || poked {
            // Without data of a whole window nothing is decided.
            if !self.stable.is_empty(now) {
                let (stable, panic) = (self.stable.mean(now), self.panic.mean(now));
                self.desired = self.scale(now, sight.ready, stable, panic).min(self.max);
            }
            self.apply(now, self.desired, sight.ready);
            self.route(now, sight.ready, self.panic.mean(now));
        }
        Wish { wanted: self.replicas, ending: Ending::Pods { grace_seconds: GRACE_SECONDS } }
    }
}

#[cfg(test)]
mod tests;
