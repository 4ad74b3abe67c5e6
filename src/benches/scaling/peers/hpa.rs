//! The Horizontal Pod Autoscaler over one external metric with a target per pod, which is what KEDA makes of a queue.
//!
//! After kubernetes/kubernetes, pkg/controller/podautoscaler: `GetExternalPerPodMetricReplicas` in
//! replica_calculator.go, and `reconcileAutoscaler`, `normalizeDesiredReplicas` and
//! `normalizeDesiredReplicasWithBehaviors` in horizontal.go; defaults from config/v1alpha1/defaults.go there and from
//! pkg/apis/autoscaling/v2/defaults.go. An object without `behavior` is not one with the default behaviour: the older
//! rule applies (at most twice as many pods or 4 a sync, the largest recommendation of five minutes).

use std::cmp::Ordering;
use std::collections::VecDeque;

/// Between two syncs (`HorizontalPodAutoscalerSyncPeriod`), a flag of the control plane that few can set.
pub const SYNC_SECONDS: u64 = 15;
/// A metric this close to its target changes nothing (`HorizontalPodAutoscalerTolerance`).
const TOLERANCE: f64 = 0.1;
/// `HorizontalPodAutoscalerDownscaleStabilizationWindow`.
const DOWNSCALE_STABILISATION_SECONDS: u64 = 300;

/// How far the number may go within `period_seconds`; of several limits the widest holds (`selectPolicy: Max`).
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    Pods { value: u32, period_seconds: u64 },
    Percent { value: u32, period_seconds: u64 },
}

impl Limit {
    fn period(self) -> u64 {
        let (Limit::Pods { period_seconds, .. } | Limit::Percent { period_seconds, .. }) = self;
        period_seconds
    }
}

/// One direction of `behavior`.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub stabilisation_seconds: u64,
    pub limits: &'static [Limit],
}

#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub up: Rules,
    pub down: Rules,
}

/// What `behavior.scaleDown` is filled up with where it is given in part.
pub const DOWN: Rules = Rules {
    stabilisation_seconds: DOWNSCALE_STABILISATION_SECONDS,
    limits: &[Limit::Percent { value: 100, period_seconds: 15 }],
};

pub struct Hpa {
    max: u32,
    behaviour: Option<Behaviour>,
    /// When, and how many: what the metric alone would have had.
    recommendations: VecDeque<(u64, u32)>,
    /// When it went up or down, and by how many.
    changes: VecDeque<(u64, i64)>,
}

impl Hpa {
    /// With `minReplicas` 1, below which KEDA does not let it go.
    pub fn new(max: u32, behaviour: Option<Behaviour>) -> Hpa {
        Hpa { max, behaviour, recommendations: VecDeque::new(), changes: VecDeque::new() }
    }

    /// One sync: `set` is the number asked for last, `live` how many pods there are, `metric` the whole metric and
    /// `target` how much of it a pod shall have.
    pub fn sync(&mut self, now: u64, set: u32, live: u32, metric: f64, target: f64) -> u32 {
        if self.recommendations.is_empty() {
            self.recommendations.push_back((now, set));
        }
        if set == 0 {
            return 0; // scaling is disabled at zero: KEDA wakes it
        }
        let recommended = recommend(live, metric, target);
        let next = match self.behaviour {
            None => self.by_the_older_rule(now, set, recommended),
            Some(behaviour) => self.by_behaviour(now, set, recommended, behaviour),
        };
        if next != set {
            self.changes.push_back((now, i64::from(next) - i64::from(set)));
        }
        next
    }

    fn by_the_older_rule(&mut self, now: u64, set: u32, recommended: u32) -> u32 {
        let window = DOWNSCALE_STABILISATION_SECONDS;
        self.recommendations.retain(|(at, _)| at + window >= now);
        self.changes.clear(); // of no use to this rule
        let stable = self.recommendations.iter().map(|&(_, number)| number).fold(recommended, u32::max);
        self.recommendations.push_back((now, recommended));
        stable.min((2 * set).max(4)).clamp(1, self.max)
    }

    fn by_behaviour(&mut self, now: u64, set: u32, recommended: u32, behaviour: Behaviour) -> u32 {
        let Behaviour { up, down } = behaviour;
        let kept = up.stabilisation_seconds.max(down.stabilisation_seconds);
        self.recommendations.retain(|(at, _)| at + kept >= now);
        let kept = longest(up).max(longest(down));
        self.changes.retain(|(at, _)| at + kept > now);
        let within = |window: u64| self.recommendations.iter().filter(move |(at, _)| at + window > now).map(|r| r.1);
        let stable = if recommended >= set {
            within(up.stabilisation_seconds).fold(recommended, u32::min)
        } else {
            within(down.stabilisation_seconds).fold(recommended, u32::max)
        };
        self.recommendations.push_back((now, recommended));
        match stable.cmp(&set) {
            Ordering::Greater => stable.min(highest(now, set, up, &self.changes).max(set)).min(self.max),
            Ordering::Less => stable.max(lowest(now, set, down, &self.changes).min(set)).max(1),
            Ordering::Equal => set.min(self.max),
        }
    }
}

/// As many pods as the metric wants, or those there are if it is near its target. Those still starting count.
fn recommend(live: u32, metric: f64, target: f64) -> u32 {
    let ratio = metric / (target * f64::from(live));
    if (1.0 - ratio).abs() > TOLERANCE { (metric / target).ceil() as u32 } else { live }
}

/// The most that `rules` let it have by now.
fn highest(now: u64, set: u32, rules: Rules, changes: &VecDeque<(u64, i64)>) -> u32 {
    let allowed = |limit: &Limit| {
        let before = at_start(now, set, limit.period(), changes);
        match *limit {
            Limit::Pods { value, .. } => before + value,
            Limit::Percent { value, .. } => (f64::from(before) * (1.0 + f64::from(value) / 100.0)).ceil() as u32,
        }
    };
    rules.limits.iter().map(allowed).max().unwrap_or(set)
}

/// The least that `rules` let it have by now.
fn lowest(now: u64, set: u32, rules: Rules, changes: &VecDeque<(u64, i64)>) -> u32 {
    let allowed = |limit: &Limit| {
        let before = at_start(now, set, limit.period(), changes);
        match *limit {
            Limit::Pods { value, .. } => before.saturating_sub(value),
            Limit::Percent { value, .. } => (f64::from(before) * (1.0 - f64::from(value) / 100.0)) as u32,
        }
    };
    rules.limits.iter().map(allowed).min().unwrap_or(set)
}

/// How many there were when the period that ends now began.
fn at_start(now: u64, set: u32, period: u64, changes: &VecDeque<(u64, i64)>) -> u32 {
    let since: i64 = changes.iter().filter(|(at, _)| at + period > now).map(|(_, by)| by).sum();
    u32::try_from(i64::from(set) - since).unwrap_or(0)
}

fn longest(rules: Rules) -> u64 {
    rules.limits.iter().map(|limit| limit.period()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
