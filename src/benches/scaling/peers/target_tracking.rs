//! An Auto Scaling group with a target tracking policy on the backlog per instance, as AWS's guide tells one to do for
//! a queue.
//!
//! After the Amazon EC2 Auto Scaling user guide, "Scaling based on Amazon SQS" (`ApproximateNumberOfMessages` over the
//! instances in service, published every minute; the target is acceptable latency over service time), "Target tracking
//! scaling policies" (both alarms are AWS's; out in proportion and rounded up, in more gradually and rounded down; no
//! data, no action; instances that warm up are no part of the capacity that it reckons with, and while any does nothing
//! is removed; without a warm-up time of its own the default cool-down of 300 s) and its page on the default instance
//! warm-up. The alarms are seen in any account: above the target for 3 of 3 minutes, below nine tenths of it for 15 of
//! 15 (the guide: in where usually more than a tenth below). Without instances the metric does not exist; for leaving
//! zero Amazon SageMaker AI's guide ("Autoscale an asynchronous endpoint") adds a step policy: a backlog without
//! capacity for two minutes adds one instance, with a cool-down of 300 s.
//!
//! The guide does not say how gradually it scales in. Here a row takes one instance a minute, which is kinder to
//! latency, or all at once, which is kinder to cost. Victims are picked by the default termination policy, which among
//! alike instances picks any; they get a machine's shutdown, which systemd gives 90 s.

use super::{Ending, Policy, Sight, Wish};
use std::collections::VecDeque;

/// Minutes, or what the metric's period is, above the target and below nine tenths of it.
const HIGH_PERIODS: usize = 3;
const LOW_PERIODS: usize = 15;
const LOW_SHARE: f64 = 0.9;
/// Without capacity.
const BACKLOG_PERIODS: usize = 2;
const BACKLOG_COOLDOWN_SECONDS: u64 = 300;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Messages for each instance.
    pub target: f64,
    /// Whether those in flight count (metric math can add them; the guide's metric does not).
    pub in_flight: bool,
    /// The metric's period: 60 s, or down to 10 s with a high-resolution metric.
    pub period_seconds: u64,
    pub warm_up_seconds: u64,
    /// Instances that one alarm at most removes.
    pub at_most_removed: u32,
}

/// 10 s acceptable at 2 s each.
pub const DEFAULT: Settings =
    Settings { target: 5.0, in_flight: false, period_seconds: 60, warm_up_seconds: 300, at_most_removed: 1 };

/// Seven tenths of an instance's work (what waits and what is worked on, over the instances), seen every 10 s, with the
/// boot that is measured as warm-up. Removing more than one at once cost more latency than it saved.
pub const TUNED: Settings =
    Settings { target: 0.7, in_flight: true, period_seconds: 10, warm_up_seconds: 40, at_most_removed: 1 };

pub struct TargetTracking {
    settings: Settings,
    max: u32,
    desired: u32,
    /// The metric's last values, newest last; none without instances.
    values: VecDeque<Option<f64>>,
    /// Whether messages waited without an instance, as many periods.
    backlog: usize,
    last_from_zero: Option<u64>,
    /// When those in service came to be it, oldest first.
    since: VecDeque<u64>,
}

impl TargetTracking {
    pub fn new(settings: Settings, max: u32) -> TargetTracking {
        TargetTracking {
            settings,
            max,
            desired: 0,
            values: VecDeque::new(),
            backlog: 0,
            last_from_zero: None,
            since: VecDeque::new(),
        }
    }

    fn observe(&mut self, now: u64, messages: u64, in_service: u32) {
        let value = (in_service > 0).then(|| messages as f64 / f64::from(in_service));
        self.values.push_back(value);
        if self.values.len() > LOW_PERIODS {
            self.values.pop_front();
        }
        self.backlog = if in_service == 0 && messages > 0 { self.backlog + 1 } else { 0 };
        while self.since.len() > in_service as usize {
            self.since.pop_front();
        }
        self.since.resize(in_service as usize, now);
    }

    /// Whether the last `periods` values are all there and `breach`.
    fn alarm(&self, periods: usize, breach: impl Fn(f64) -> bool) -> bool {
        let newest = self.values.iter().rev().take(periods);
        self.values.len() >= periods && newest.copied().all(|value| value.is_some_and(&breach))
    }

    fn leave_zero(&mut self, now: u64) {
        let cooling = self.last_from_zero.is_some_and(|at| now < at + BACKLOG_COOLDOWN_SECONDS);
        if self.backlog >= BACKLOG_PERIODS && !cooling {
            self.desired = (self.desired + 1).min(self.max);
            self.last_from_zero = Some(now);
        }
    }
}

impl Policy for TargetTracking {
    fn period_seconds(&self) -> u64 {
        self.settings.period_seconds
    }

    fn tick(&mut self, now: u64, sight: &Sight) -> Wish {
        let Settings { target, in_flight, warm_up_seconds, at_most_removed, .. } = self.settings;
        let messages = sight.visible + if in_flight { sight.in_flight } else { 0 };
        let in_service = sight.in_service();
        self.observe(now, messages, in_service);
        let ratio = self.values.back().copied().flatten().unwrap_or(0.0) / target;
        let warm = self.since.iter().filter(|&&since| since + warm_up_seconds <= now).count();
        if in_service == 0 {
            self.leave_zero(now);
        } else if self.alarm(HIGH_PERIODS, |value| value > target) {
            // The first instance is reckoned with while it warms up: else nothing could be.
            let wanted = (warm.max(1) as f64 * ratio).ceil() as u32;
            self.desired = self.desired.max(wanted).min(self.max);
        } else if self.alarm(LOW_PERIODS, |value| value < LOW_SHARE * target) && warm >= self.desired as usize {
            let surplus = (f64::from(self.desired) * (1.0 - ratio)).floor() as u32;
            self.desired -= surplus.min(at_most_removed).min(self.desired);
        }
        Wish { wanted: self.desired, ending: Ending::Random { grace_seconds: 90 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(visible: u64, ready: u32) -> Sight {
        Sight { visible, ready, ..Sight::default() }
    }

    /// A group whose instances are all warm.
    fn warm(target: f64, instances: u32) -> TargetTracking {
        let mut tracking = TargetTracking::new(Settings { target, ..DEFAULT }, 100);
        tracking.desired = instances;
        tracking.since = VecDeque::from(vec![0; instances as usize]);
        tracking
    }

    /// The guide: 1500 messages, 10 instances, an acceptable backlog of 100 each: five more, after three minutes.
    #[test]
    fn the_guides_example() {
        let mut tracking = warm(100.0, 10);
        let minutes = [600, 660, 720].map(|now| tracking.tick(now, &sight(1500, 10)).wanted);
        assert_eq!(minutes, [10, 10, 15]);
    }

    /// The guide: one and a half instances too few are two more, one and a half too many one fewer.
    #[test]
    fn it_rounds_in_favour_of_availability() {
        let mut out = warm(10.0, 10);
        let last = [600, 660, 720].map(|now| out.tick(now, &sight(115, 10)).wanted)[2];
        assert_eq!(last, 12);
        let mut into = warm(10.0, 10);
        into.settings.at_most_removed = u32::MAX;
        let course: Vec<u32> = (0..15).map(|minute| into.tick(600 + 60 * minute, &sight(85, 10)).wanted).collect();
        assert_eq!((course[13], course[14]), (10, 9));
    }

    /// A worked example of AWS's on re:Post ("slow down asg target tracking scale out"): a warm-up of five minutes; a
    /// breach of the same height adds nothing, a higher one only the difference.
    #[test]
    fn those_that_warm_up_are_no_reason_to_add_more() {
        let mut tracking = warm(100.0, 4);
        let mut tick = |now, each, ready| tracking.tick(now, &sight(each * u64::from(ready), ready)).wanted;
        assert_eq!([tick(600, 120, 4), tick(660, 120, 4), tick(720, 120, 4)], [4, 4, 5]);
        assert_eq!([tick(780, 120, 5), tick(840, 120, 5)], [5, 5]);
        assert_eq!(tick(900, 145, 5), 6);
    }

    #[test]
    fn it_leaves_zero_by_one_after_two_minutes_and_then_in_proportion() {
        let mut tracking = TargetTracking::new(DEFAULT, 20);
        let course: Vec<u32> =
            (0..7).map(|minute| tracking.tick(60 * minute, &sight(150, u32::from(minute >= 2))).wanted).collect();
        assert_eq!(course, [0, 1, 1, 1, 20, 20, 20]);
    }

    /// The step policy's cool-down: an instance that does not come is no reason to ask for the next at once.
    #[test]
    fn leaving_zero_cools_down() {
        let mut tracking = TargetTracking::new(DEFAULT, 20);
        let course: Vec<u32> = (0..7).map(|minute| tracking.tick(60 * minute, &sight(150, 0)).wanted).collect();
        assert_eq!(course, [0, 1, 1, 1, 1, 1, 2]);
    }

    /// No instances, no metric, no alarm; nothing is removed while any warms up; and one a minute.
    #[test]
    fn it_scales_in_gradually_and_only_on_data() {
        let mut tracking = TargetTracking::new(DEFAULT, 20);
        tracking.desired = 3;
        let mut course = Vec::new();
        for minute in 0..20 {
            let ready = if minute < 3 { 0 } else { tracking.desired };
            course.push(tracking.tick(60 * minute, &sight(0, ready)).wanted);
        }
        // In service at minute 3; the fifteenth value is there at minute 17.
        assert_eq!(course[16..], [3, 2, 1, 0]);
        let mut warming = warm(5.0, 3);
        warming.since = VecDeque::from([0, 0, 800]);
        let last = (0..15).map(|minute| warming.tick(60 * minute, &sight(0, 3)).wanted).last();
        assert_eq!(last, Some(3)); // at 840 s one has been in service for 40 s
    }
}
