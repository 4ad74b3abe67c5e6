//! Invariants 2, 7, 8 and 9: who is asked to go, by whom, and what it holds then.

use super::{About, Name, Truth};
use bellows_core::message::{Confirm, TerminateRequest};
use bellows_core::pool::InstanceId;

/// From reading the counters to acting on them, beside the time that calls take: dead letters are answered for 2 s.
const LONGEST_ROUND: u64 = 5000;

/// An instance that has ended may count for so long, in milliseconds: until it is listed, and that list acted upon.
const LISTED_FOR: u64 = 90_000;

impl Truth {
    /// Requests that this worker has in hand, knows of, and has not answered.
    fn held(&self, at: u64, who: &str) -> Vec<u64> {
        let lost_touch = self.processes.get(who).and_then(|process| process.lost_touch_at);
        let held = self.messages.iter().filter(|(_, message)| {
            let About::Request(id) = &message.about else { return false };
            let ours = |lease: &super::Lease| {
                // one that could not be given back comes back by itself
                let given_up = lost_touch.is_some_and(|lost| lost >= lease.since);
                lease.who == who && lease.until > at && lease.known && !given_up
            };
            message.queue == Name::Request
                && message.lease.as_ref().is_some_and(ours)
                && self.uploads.get(id).is_some_and(|upload| !upload.answered)
        });
        held.map(|(number, _)| *number).collect()
    }

    /// A worker meets a terminate request.
    pub(super) fn asks(&mut self, at: u64, who: &str, request: &TerminateRequest) {
        if who.starts_with("web") {
            return;
        }
        if !self.held(at, who).is_empty() {
            self.count("asked to retire while busy");
            self.asked_busy_at = Some(at);
        }
        if self.control.as_ref().is_some_and(|control| request.epoch < control.epoch) {
            self.count("terminate request of an older epoch met by a worker");
        }
    }

    /// A worker says that it has stopped.
    pub(super) fn confirms(&mut self, at: u64, who: &str, confirm: &Confirm) {
        if who != confirm.instance_id.0 {
            return self.count("confirmation that is forged");
        }
        self.count("confirmed");
        let held = self.held(at, who);
        if !held.is_empty() {
            self.violated(format!("invariant 2: at {at} {who} confirmed and holds {held:?}"));
        }
        let Some(process) = self.processes.get(who) else { return };
        let deleted_at = process.deleted_at;
        match &process.read {
            None => self.violated(format!("invariant 8: at {at} {who} confirmed without a look at the control object")),
            Some((_, known)) if confirm.epoch < known.epoch => {
                let (asked, now) = (confirm.epoch.0, known.epoch.0);
                self.violated(format!("invariant 8: at {at} {who} retired for epoch {asked} and knew of {now}"));
            }
            Some((_, known)) if known.paused => {
                self.violated(format!("invariant 14: at {at} {who} retired and knew of a pause"));
            }
            Some((read_at, _)) if *read_at < deleted_at => {
                self.violated(format!("invariant 8: at {at} {who} did not look again after its last work"));
            }
            Some(_) => {}
        }
        self.process(who).confirmed.insert(confirm.nonce);
        if let Some(instance) = self.instances.get_mut(&confirm.instance_id) {
            instance.confirmed = true;
        }
    }

    /// A receive of requests, by whoever it may be.
    pub(super) fn works_after_confirming(&mut self, at: u64, who: &str, number: u64) {
        let confirmed = self.instances.iter().any(|(id, instance)| id.0 == who && instance.confirmed);
        if confirmed {
            self.violated(format!("invariant 2: at {at} {who} received {number} after it had confirmed"));
        }
    }

    /// A controller asks for one worker less.
    pub(super) fn asked_to_retire(&mut self, at: u64, who: &str, request: TerminateRequest) {
        if !who.starts_with("web") {
            return self.count("asked to retire by one who is not there any more");
        }
        self.count("asked to retire");
        if let Some(why) = self.forbidden(who) {
            self.violated(format!("invariant 14: at {at} {who} asked a worker to retire {why}"));
        }
        if self.control.as_ref().is_some_and(|control| request.epoch < control.epoch) {
            self.violated(format!("invariant 3: at {at} {who} acts for epoch {}, which is over", request.epoch.0));
        }
        let (counted_at, slowed) = (self.process(who).counted_at, self.process(who).slowed);
        if at > counted_at + 30_000 + LONGEST_ROUND + slowed {
            self.violated(format!("invariant 9: at {at} {who} scaled in by counters of {counted_at}"));
        }
        let life = 2 * self.limits.job_deadline;
        let confirmed = |nonce| self.processes.values().any(|process| process.confirmed.contains(nonce));
        let outstanding = self.messages.values().filter(|message| match &message.about {
            About::Terminate(other) => {
                other.epoch == request.epoch
                    && at < message.sent_at + life
                    && !message.again
                    && !confirmed(&other.nonce)
            }
            _ => false,
        });
        let outstanding = outstanding.count() as u32 + 1;
        // what ended a moment ago may be on its last list; of what is still written down no list has told a new leader, and
        // what is about to be launched counts
        let written = |id: &InstanceId| self.control.as_ref().is_some_and(|control| control.unlisted.contains(id));
        let known = |(id, instance): &(&InstanceId, &super::Instance)| {
            instance.ended_at.is_none_or(|ended| at < ended + LISTED_FOR) || written(id)
        };
        let intended = self.control.as_ref().map_or(0, |control| control.intended.len());
        let active = (self.instances.iter().filter(known).count() + intended) as u32;
        if outstanding > active {
            self.violated(format!("invariant 7: at {at} {outstanding} are asked to retire, {active} are active"));
        }
    }

    pub(super) fn request_deleted(
        &mut self,
        at: u64,
        who: &str,
        (sent_at, again): (u64, bool),
        in_time: bool,
        request: &TerminateRequest,
    ) {
        if !who.starts_with("web") {
            return;
        }
        let current = self.control.as_ref().is_some_and(|control| control.epoch == request.epoch);
        if !current {
            return self.count("void terminate request swept");
        }
        // one that is about to expire may be void in its eyes already, and one that it hardly held any more lost
        let confirmed = self.processes.values().any(|process| process.confirmed.contains(&request.nonce));
        let valid = at + 2000 < sent_at + 2 * self.limits.job_deadline && !confirmed && !again && in_time;
        let process = self.process(who);
        process.cancelled += 1;
        process.cancelled_valid += u64::from(valid);
        self.count("terminate request taken back");
        let held = |message: &super::Message| {
            matches!(message.about, About::Terminate(_))
                && message.lease.as_ref().is_some_and(|lease| !lease.who.starts_with("web"))
        };
        if self.messages.values().any(held) {
            self.count("cancel while another one is held");
        }
    }

    /// Requests of its own epoch that this process deleted, at least and at most, as it can know.
    pub fn cancelled_by(&self, who: &str) -> (u64, u64) {
        let Some(process) = self.processes.get(who) else { return (0, 0) };
        (process.cancelled_valid.saturating_sub(process.unsure), process.cancelled)
    }
}
