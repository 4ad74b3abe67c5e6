//! Invariants 3, 6, 11 and 14, and what of 2 is a matter of machines.

use super::{Instance, Truth};
use bellows_core::pool::{InstanceId, LaunchToken, Named};

/// Refused launches in a minute, with pauses that grow from 200 ms to 30 s: some more where one succeeds in between.
const MOST_REFUSED: usize = 16;

/// A place that has refused is left alone for so long, in milliseconds: three minutes, and some for calls.
const REMEMBERED: u64 = 165_000;

/// A plan is written down within so long, or never.
const PLANNED_BEFORE: u64 = 45_000;

/// Launches that no request asked for, but whatever ends instances.
const MOST_LAUNCHED: u64 = 20;

impl Truth {
    pub(super) fn launched(&mut self, at: u64, who: &str, named: &Named, place: &str) {
        let (id, max) = (named.app_tier_id, self.limits.max);
        self.launched += 1;
        self.live += 1;
        self.most_live = self.most_live.max(self.live);
        self.count("launched");
        if self.live > max {
            self.violated(format!("invariant 3: at {at} {who} launched, {} are live and {max} allowed", self.live));
        }
        if !(1..=max).contains(&id.0) || self.instances.values().any(|other| other.ended_at.is_none() && other.id == id)
        {
            self.violated(format!("invariant 6: at {at} {who} gave the id {} to {}", id.0, named.instance_id.0));
        }
        let deadly = self.uploads.values().filter(|upload| upload.file.starts_with("poison")).count() as u64;
        if self.launched > MOST_LAUNCHED + 2 * self.accepted + 10 * deadly {
            self.violated(format!("invariant 10: {} launches for {} requests", self.launched, self.accepted));
        }
        let elsewhere = |(other, (then, _)): (&String, &(u64, LaunchToken))| other != place && then + REMEMBERED > at;
        if self.process(who).refused_at.iter().any(elsewhere) {
            self.count("launched while another place was full");
        }
        if let Some(why) = self.forbidden(who) {
            self.violated(format!("invariant 14: at {at} {who} launched {why}"));
        }
        if self.control.as_ref().is_none_or(|control| !control.intended.contains(&id)) {
            self.violated(format!("invariant 3: at {at} {who} launched {} without having written it down", id.0));
        }
        if !self.used.insert(id) {
            self.count("an id used again");
        }
        let instance =
            Instance { id, launched_at: at, ended_at: None, reported_at: None, confirmed: false, doomed: false };
        self.instances.insert(named.instance_id.clone(), instance);
    }

    pub(super) fn not_launched(&mut self, at: u64, who: &str, place: &str, token: LaunchToken) {
        let before = self.process(who).refused_at.insert(place.to_owned(), (at, token));
        // the same launch is repeated where its outcome was not heard, and one may have been planned before
        let planned_at = self.planned.get(&token).copied().unwrap_or_default();
        if !place.is_empty()
            && let Some((then, other)) = before
            && other != token
            && (then + PLANNED_BEFORE..then + REMEMBERED).contains(&planned_at)
        {
            self.violated(format!("invariant 11: at {at} {who} tried {place}, which had refused at {then}"));
        }
        let refusals = &mut self.process(who).refusals;
        refusals.retain(|then| then + 60_000 > at);
        refusals.push(at);
        if refusals.len() > MOST_REFUSED {
            self.violated(format!("invariant 11: at {at} {who} was refused {MOST_REFUSED} launches in a minute"));
        }
    }

    /// A controller ends an instance.
    pub(super) fn terminated(&mut self, at: u64, who: &str, id: &InstanceId) {
        if let Some(why) = self.forbidden(who) {
            self.violated(format!("invariant 14: at {at} {who} ended {} {why}", id.0));
        }
        let Some(instance) = self.instances.get(id).filter(|instance| instance.ended_at.is_none()) else { return };
        if instance.confirmed {
            return;
        }
        if instance.doomed {
            return self.count("a worker that hangs ended");
        }
        let silent_for = at - instance.reported_at.unwrap_or(instance.launched_at);
        let (least, cause) = match instance.reported_at {
            None => (290_000, "an instance that never was ready ended"),
            Some(_) => (self.limits.report_every * 3, "a worker whose reports did not come ended"),
        };
        if silent_for < least {
            self.violated(format!("invariant 2: at {at} {who} ended {}, silent for {silent_for} ms only", id.0));
        }
        self.count(cause);
    }

    pub(super) fn ended(&mut self, at: u64, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id)
            && instance.ended_at.is_none()
        {
            instance.ended_at = Some(at);
            self.live -= 1;
        }
    }

    /// Somebody in this world does away with it.
    pub fn doom(&mut self, id: &InstanceId) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.doomed = true;
        }
    }
}
