//! KEDA with its scaler for SQS: the autoscaler of Kubernetes between one and the maximum, KEDA itself between none
//! and one.
//!
//! After kedacore/keda: pkg/scalers/aws_sqs_queue_scaler.go (the metric is visible + in flight, `queueLength` 5 a pod,
//! active above `activationQueueLength` 0), apis/keda/v1alpha1/withtriggers_types.go (`pollingInterval` 30 s),
//! pkg/scaling/executor (`cooldownPeriod` 300 s; from zero to one, to zero when it was last active longer ago), and
//! controllers/keda/hpa.go (no `behavior` unless one is given; at least 1). The autoscaler's own reads of the metric
//! are not cached (`useCachedMetrics` is off): each asks the queue. Pods have 30 s from SIGTERM
//! (`terminationGracePeriodSeconds`), and nothing looks at whether they are busy.

use super::hpa::{self, Behaviour, DOWN, Hpa, Limit, Rules};
use super::{Ending, Policy, Sight, Wish};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Messages a pod shall have.
    pub queue_length: u32,
    /// KEDA is active above so many messages.
    pub activation_queue_length: u64,
    pub polling_seconds: u64,
    pub cooldown_seconds: u64,
    pub behaviour: Option<Behaviour>,
}

pub const DEFAULT: Settings = Settings {
    queue_length: 5,
    activation_queue_length: 0,
    polling_seconds: 30,
    cooldown_seconds: 300,
    behaviour: None,
};

/// What a pod can work on at a time, and else as it comes.
pub const ONE_PER_POD: Settings = Settings { queue_length: 1, ..DEFAULT };

/// Woken within 5 s, to the maximum in one sync, kept for two minutes: as quick as its settings go. (The 15 s between
/// two syncs are a flag of the control plane.)
pub const TUNED: Settings = Settings {
    queue_length: 1,
    polling_seconds: 5,
    cooldown_seconds: 120,
    behaviour: Some(Behaviour {
        up: Rules { stabilisation_seconds: 0, limits: &[Limit::Pods { value: 10_000, period_seconds: 15 }] },
        down: Rules { stabilisation_seconds: 120, ..DOWN },
    }),
    ..DEFAULT
};

pub struct Keda {
    settings: Settings,
    hpa: Hpa,
    /// `spec.replicas` of the Deployment, which both write.
    replicas: u32,
    last_active: Option<u64>,
}

impl Keda {
    pub fn new(settings: Settings, max: u32) -> Keda {
        Keda { settings, hpa: Hpa::new(max, settings.behaviour), replicas: 0, last_active: None }
    }

    /// KEDA's own loop.
    fn poll(&mut self, now: u64, messages: u64) {
        if messages > self.settings.activation_queue_length {
            self.replicas = self.replicas.max(1);
            self.last_active = Some(now);
        } else if self.last_active.is_none_or(|at| at + self.settings.cooldown_seconds < now) {
            self.replicas = 0;
        }
    }
}

impl Policy for Keda {
    fn period_seconds(&self) -> u64 {
        common_divisor(hpa::SYNC_SECONDS, self.settings.polling_seconds)
    }

    fn tick(&mut self, now: u64, sight: &Sight) -> Wish {
        let messages = sight.visible + sight.in_flight;
        if now.is_multiple_of(self.settings.polling_seconds) {
            self.poll(now, messages);
        }
        if now.is_multiple_of(hpa::SYNC_SECONDS) {
            let target = f64::from(self.settings.queue_length);
            self.replicas = self.hpa.sync(now, self.replicas, sight.live(), messages as f64, target);
        }
        Wish { wanted: self.replicas, ending: Ending::Pods { grace_seconds: 30 } }
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(visible: u64, in_flight: u64, ready: u32) -> Sight {
        Sight { visible, in_flight, ready, ..Sight::default() }
    }

    /// aws_sqs_queue_scaler_test.go: 200 visible and 100 in flight are a metric of 300, so 60 pods at 5 each; it gets
    /// there by doubling.
    #[test]
    fn what_is_in_flight_counts_as_well() {
        let mut keda = Keda::new(DEFAULT, 100);
        let mut course = Vec::new();
        for sync in 0..6 {
            let live = course.last().copied().unwrap_or(0);
            course.push(keda.tick(15 * sync, &sight(200, 100, live)).wanted);
        }
        assert_eq!(course, [4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_poll_wakes_it_and_the_cool_down_ends_it() {
        let mut keda = Keda::new(DEFAULT, 20);
        assert_eq!(keda.period_seconds(), 15);
        assert_eq!(keda.tick(0, &sight(0, 0, 0)).wanted, 0);
        assert_eq!(keda.tick(15, &sight(3, 0, 0)).wanted, 0); // not its turn: it polls every 30 s
        assert_eq!(keda.tick(30, &sight(3, 0, 0)).wanted, 1);
        for now in (45..=330).step_by(15) {
            assert_eq!(keda.tick(now, &sight(0, 0, 1)).wanted, 1, "at {now} s");
        }
        assert_eq!(keda.tick(345, &sight(0, 0, 1)).wanted, 1);
        assert_eq!(keda.tick(360, &sight(0, 0, 1)).wanted, 0); // last active at 30, more than 300 s ago
    }

    /// `activationQueueLength` of the scaler's documentation: active above it, not at it.
    #[test]
    fn it_stays_at_zero_up_to_the_activation_threshold() {
        let mut keda = Keda::new(Settings { activation_queue_length: 5, ..DEFAULT }, 20);
        assert_eq!(keda.tick(0, &sight(5, 0, 0)).wanted, 0);
        assert_eq!(keda.tick(30, &sight(6, 0, 0)).wanted, 2);
    }

    #[test]
    fn tuned_it_goes_to_the_maximum_at_once_and_holds_two_minutes() {
        let mut keda = Keda::new(TUNED, 20);
        assert_eq!(keda.period_seconds(), 5);
        assert_eq!(keda.tick(5, &sight(150, 0, 0)).wanted, 1);
        assert_eq!(keda.tick(15, &sight(150, 0, 1)).wanted, 20);
        assert_eq!(keda.tick(120, &sight(0, 2, 20)).wanted, 20);
        assert_eq!(keda.tick(135, &sight(0, 2, 20)).wanted, 2);
    }
}
