//! Buildkite's agent scaler in the Elastic CI Stack for AWS: a function sets the desired capacity of an Auto Scaling
//! group, and instances end of themselves when their agent has been idle for long enough.
//!
//! After buildkite/buildkite-agent-scaler (scaler/scaling_calculator.go, scaler/scaler.go, lambda/main.go: a poll every
//! 10 s, scheduled and running jobs over agents an instance, `AVAILABILITY_THRESHOLD` 0.5) and
//! buildkite/elastic-ci-stack-for-aws (templates/aws-stack.yml: `AgentsPerInstance` 1, `ScaleOutFactor` 1,
//! `ScaleOutCooldownPeriod` 300 s, `ScaleInIdlePeriod` 600 s, `DisableScaleIn` true, `InstanceBuffer` 0). An instance
//! that ends lowers the desired capacity with it.
//!
//! Who runs it: of idle agents the one that finished a job last is given the next ("Success-based preference" in the
//! documentation's page on agent prioritization), so the others do become idle; jobs pulled at random would keep all
//! of them busy now and then for ever.

use super::{Ending, Policy, Sight, Wish};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub poll_seconds: u64,
    pub agents_per_instance: u32,
    /// What the number of instances to add is multiplied by.
    pub scale_out_factor: f64,
    pub scale_out_cooldown_seconds: u64,
    /// None: `DisableScaleIn`.
    pub scale_in: Option<ScaleIn>,
    /// Instances on top, while there are jobs.
    pub instance_buffer: u32,
    /// With fewer connected agents than this share an instance is added; 0 switches it off.
    pub availability_threshold: f64,
    pub idle_seconds: u64,
}

/// The scaler's own way in, by the group, which looks at no agent: as it comes without the stack.
#[derive(Clone, Copy, Debug)]
pub struct ScaleIn {
    pub cooldown_seconds: u64,
    pub factor: f64,
}

pub const DEFAULT: Settings = Settings {
    poll_seconds: 10,
    agents_per_instance: 1,
    scale_out_factor: 1.0,
    scale_out_cooldown_seconds: 300,
    scale_in: None,
    instance_buffer: 0,
    availability_threshold: 0.5,
    idle_seconds: 600,
};

/// The scaler's own default of no cool-down, and instances kept for a minute; a boot is no want of agents.
pub const TUNED: Settings =
    Settings { scale_out_cooldown_seconds: 0, availability_threshold: 0.0, idle_seconds: 60, ..DEFAULT };

/// The scaler without the stack: its own defaults, and the group scales in, whoever is at work.
pub const ALONE: Settings =
    Settings { scale_out_cooldown_seconds: 0, scale_in: Some(ScaleIn { cooldown_seconds: 0, factor: 1.0 }), ..DEFAULT };

pub struct Buildkite {
    settings: Settings,
    max: u32,
    /// The group's desired capacity.
    desired: u32,
    last_out: Option<u64>,
    last_in: Option<u64>,
    ended_idle: u64,
}

impl Buildkite {
    pub fn new(settings: Settings, max: u32) -> Buildkite {
        Buildkite { settings, max, desired: 0, last_out: None, last_in: None, ended_idle: 0 }
    }

    /// Instances for the jobs there are.
    fn needed(&self, sight: &Sight, in_service: u32) -> u32 {
        let jobs = sight.visible + sight.in_flight;
        if jobs == 0 {
            return 0;
        }
        let per_instance = u64::from(self.settings.agents_per_instance.max(1));
        let mut needed = jobs.div_ceil(per_instance);
        let expected = f64::from(in_service) * per_instance as f64;
        let agents = f64::from(sight.ready) * per_instance as f64;
        let scarce = expected > 0.0 && agents / expected < self.settings.availability_threshold;
        if scarce && sight.in_service() == self.desired {
            needed = needed.max(u64::from(self.desired) + 1);
        }
        let buffer = jobs.div_ceil(per_instance).min(u64::from(self.settings.instance_buffer));
        u32::try_from(needed + buffer).unwrap_or(u32::MAX)
    }

    fn scale_out(&mut self, now: u64, wanted: u32) {
        let cooling = self.last_out.is_some_and(|at| now < at + self.settings.scale_out_cooldown_seconds);
        if !cooling {
            let more = f64::from(wanted - self.desired) * self.settings.scale_out_factor;
            self.desired = (self.desired + more.ceil() as u32).min(self.max);
            self.last_out = Some(now);
        }
    }

    fn scale_in(&mut self, now: u64, wanted: u32) {
        let Some(rule) = self.settings.scale_in else { return };
        let cooling = self.last_in.is_some_and(|at| now < at + rule.cooldown_seconds);
        if !cooling {
            let fewer = (f64::from(self.desired.saturating_sub(wanted)) * rule.factor).ceil() as u32;
            self.desired = self.desired.saturating_sub(fewer);
            self.last_in = Some(now);
        }
    }
}

impl Policy for Buildkite {
    fn period_seconds(&self) -> u64 {
        self.settings.poll_seconds
    }

    fn tick(&mut self, now: u64, sight: &Sight) -> Wish {
        let ended = u32::try_from(sight.ended_idle - self.ended_idle).unwrap_or(u32::MAX);
        self.ended_idle = sight.ended_idle;
        self.desired = self.desired.saturating_sub(ended);
        // Right after an instance was asked for none may be in service yet.
        let in_service = if sight.in_service() == 0 { self.desired } else { sight.in_service() };
        let wanted = self.needed(sight, in_service).min(self.max);
        if wanted > in_service && wanted > self.desired {
            self.scale_out(now, wanted);
        } else if self.desired > wanted || in_service > wanted {
            self.scale_in(now, wanted);
        }
        let ending = match self.settings.scale_in {
            None => Ending::Idle { after_seconds: self.settings.idle_seconds },
            Some(_) => Ending::Random { grace_seconds: 0 }, // "jobs in progress are interrupted" (README.md)
        };
        Wish { wanted: self.desired, ending }
    }
}

#[cfg(test)]
mod tests;
