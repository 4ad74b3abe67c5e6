//! Every instance the leader knows of, and its life as far as it was observed.
//!
//! booting → ready → retiring (it confirmed) → terminating → gone. Only observations move an instance: a launch's
//! answer, a list, a report, a confirmation; never the fact that we asked for something. Times are durations since
//! this process started.

use super::{
    AppTierId, Cause, Deadlines, Ended, Heard, Instance, InstanceId, LaunchToken, Life, Live, Member, Named, State,
    Stopped,
};
use crate::control::{Control, Intent, Permit};
use crate::message::Report;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an instance that no list shows still counts, where lists are right only in the end (EC2). Zero where they
/// are exact.
pub const UNLISTED_GRACE: Duration = Duration::from_mins(10);
/// How long the ends of instances are remembered: confirmations come late and twice, and stale lists show the dead.
const REMEMBERED: Duration = Duration::from_mins(30);
/// Where not one of several workers is heard, what failed is more likely what carries their reports than all of them at
/// once: they are given so many times longer.
const ALL_SILENT: u32 = 3;
/// An instance that was asked to end and is still listed is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// All instances the leader knows of.
#[derive(Clone, Debug)]
pub struct Roster {
    grace: Duration,
    members: BTreeMap<InstanceId, Member>,
    /// When each launch was seen to be settled.
    settled: BTreeMap<LaunchToken, Duration>,
    listed_at: Option<Duration>,
    /// When all reports that had been sent were last read.
    drained_at: Option<Duration>,
    /// When the last report came, of whomever.
    heard_at: Duration,
    /// Several workers are ready, and none of them was heard for long.
    deaf: bool,
    /// Silence counts from here: our taking over, or the first report after a time without any.
    listening_since: Duration,
}

impl Roster {
    /// What a new leader knows: the instances that the control object names. All times of grace begin anew, since
    /// clocks of two leaders are not compared.
    pub fn new(control: &Control, grace: Duration, now: Duration) -> Roster {
        let mut roster = Roster {
            grace,
            members: BTreeMap::new(),
            settled: BTreeMap::new(),
            listed_at: None,
            drained_at: None,
            heard_at: now,
            deaf: false,
            listening_since: now,
        };
        for intent in control.intents.iter().filter(|intent| intent.settled || !intent.instances.is_empty()) {
            for named in &intent.instances {
                roster.meet(named, false, now);
            }
            roster.settled.insert(intent.token, now);
        }
        roster
    }

    pub fn members(&self) -> impl Iterator<Item = (&InstanceId, &Member)> {
        self.members.iter().filter(|(_, member)| member.life != Life::Gone)
    }

    /// How old the last good list is; none: there was none yet.
    pub fn list_age(&self, now: Duration) -> Option<Duration> {
        self.listed_at.map(|at| now.saturating_sub(at))
    }

    fn meet(&mut self, named: &Named, launched_by_us: bool, now: Duration) -> &mut Member {
        self.members.entry(named.instance_id.clone()).or_insert_with(|| Member {
            app_tier_id: named.app_tier_id,
            life: Life::Booting,
            since: now,
            launched_by_us,
            registered: false,
            booting_since: now,
            unlisted_since: None,
            ended_at: now,
            asked_at: None,
            report: None,
        })
    }

    /// A launch brought these instances. Called by [`crate::control::Leader::settle`].
    pub(crate) fn launched(&mut self, token: LaunchToken, named: &[Named], now: Duration) {
        self.settled.entry(token).or_insert(now);
        for named in named {
            self.meet(named, true, now);
        }
    }

    /// The fleet was listed by a call that began at `started` (a list that failed is not told: it is no empty list).
    /// Returns who came to its end.
    pub fn listed(&mut self, listed: &[Instance], started: Duration, now: Duration) -> Vec<Ended> {
        self.listed_at = Some(started);
        let mut ended = Vec::new();
        // a list that was under way while an instance came says nothing about it
        for member in self.members.values_mut().filter(|member| member.since < started) {
            member.unlisted_since.get_or_insert(started);
        }
        for instance in listed {
            // somebody else's dead are none of our business
            if instance.state == State::Terminated && !self.members.contains_key(&instance.instance_id) {
                continue;
            }
            let member = self.meet(&Named::from(instance), false, now);
            member.unlisted_since = None;
            let life = match instance.state {
                State::Pending | State::Running => member.life,
                State::ShuttingDown => Life::Terminating,
                State::Terminated => Life::Gone,
            };
            ended.extend(member.advance(&instance.instance_id, life, now));
        }
        for (instance_id, member) in &mut self.members {
            if member.unlisted_since.is_some_and(|since| now.saturating_sub(since) >= self.grace) {
                ended.extend(member.advance(instance_id, Life::Gone, now));
            }
        }
        self.members.retain(|_, m| m.life != Life::Gone || now.saturating_sub(m.ended_at) < REMEMBERED);
        ended
    }

    /// A worker reported.
    pub fn reported(&mut self, report: &Report, now: Duration) -> Heard {
        let Some(member) = self.members.get_mut(&report.instance_id) else { return Heard::NotOurs };
        if member.app_tier_id != report.app_tier_id {
            return Heard::NotOurs;
        }
        self.heard_at = now;
        if std::mem::take(&mut self.deaf) {
            self.listening_since = now;
        }
        member.reported(report, now)
    }

    /// The queue of reports was read until it was empty, by a receive that began at `now`: whoever was silent until
    /// then is silent indeed.
    pub fn drained(&mut self, now: Duration) {
        self.drained_at = Some(now);
    }

    /// A worker says that it has stopped. Called by [`crate::retire::Requests::confirm`].
    pub(crate) fn confirmed(&mut self, app_tier_id: AppTierId, instance_id: &InstanceId) -> Stopped {
        match self.members.get_mut(instance_id) {
            Some(member) if member.app_tier_id == app_tier_id => {
                if member.life >= Life::Retiring {
                    return Stopped::Already;
                }
                member.life = Life::Retiring;
                Stopped::Now
            }
            _ => Stopped::NotOurs,
        }
    }

    /// Who is to be ended now, and why; not those that were asked a moment ago. Say [`Roster::asked`] of each.
    pub fn ends(&mut self, permit: &Permit, deadlines: Deadlines, now: Duration) -> Vec<(InstanceId, Cause)> {
        if !permit.holds(now) {
            return Vec::new();
        }
        let several = self.members.values().filter(|member| member.life == Life::Ready).count() > 1;
        self.deaf = several && self.silent(self.heard_at, deadlines.hung / 2);
        let asked = |m: &Member| m.asked_at.is_some_and(|at| now.saturating_sub(at) < ASK_AGAIN);
        let due = self.members.iter().filter(|(_, member)| !asked(member));
        due.filter_map(|(id, m)| Some((id.clone(), self.cause(m, deadlines)?))).collect()
    }

    fn cause(&self, member: &Member, deadlines: Deadlines) -> Option<Cause> {
        match member.life {
            Life::Retiring => Some(Cause::Confirmed),
            Life::Booting => self.silent(member.booting_since, deadlines.register).then_some(Cause::NeverRegistered),
            Life::Ready => {
                let reported_at = member.report.map(|report| report.at);
                let last = reported_at.unwrap_or_default().max(self.listening_since);
                let times = if self.deaf { ALL_SILENT } else { 1 };
                self.silent(last, deadlines.hung.saturating_mul(times)).then_some(Cause::Hung)
            }
            Life::Terminating | Life::Gone => None,
        }
    }

    /// Whether there was no report from `since` on for so long; one that we could not read is no silence.
    fn silent(&self, since: Duration, span: Duration) -> bool {
        self.drained_at.is_some_and(|at| at.saturating_sub(since) >= span)
    }

    /// The fleet was asked to end this instance. Moves nothing: only what is observed does.
    pub fn asked(&mut self, instance_id: &InstanceId, now: Duration) {
        if let Some(member) = self.members.get_mut(instance_id) {
            member.asked_at = Some(now);
        }
    }

    /// Whether nothing is left of a launch: settled, its instances gone, its ids free.
    pub fn is_over(&self, intent: &Intent, now: Duration) -> bool {
        let gone = |id: &InstanceId| self.members.get(id).is_none_or(|member| member.life == Life::Gone);
        intent.settled
            && intent.instances.iter().all(|named| gone(&named.instance_id))
            && (intent.ids_without_instance().next().is_none() || self.has_waited(intent, now))
    }

    /// A launch is over: see [`crate::control::Leader::prune`].
    pub(crate) fn forget_launch(&mut self, token: LaunchToken) {
        self.settled.remove(&token);
    }

    /// Whether the time of grace since a launch was settled has passed.
    fn has_waited(&self, intent: &Intent, now: Duration) -> bool {
        self.settled.get(&intent.token).is_some_and(|at| now.saturating_sub(*at) >= self.grace)
    }

    /// Who counts against the maximum. `intents` are those of [`crate::control::Leader::control`].
    pub fn live(&self, intents: &[Intent], now: Duration) -> Live {
        let mut live = Live { known: self.listed_at.is_some(), ..Live::default() };
        let mut holders: BTreeMap<AppTierId, Vec<InstanceId>> = BTreeMap::new();
        for (instance_id, member) in self.members() {
            match member.life {
                Life::Booting => live.booting += 1,
                Life::Ready => live.ready += 1,
                Life::Retiring => live.retiring += 1,
                Life::Terminating | Life::Gone => live.terminating += 1,
            }
            holders.entry(member.app_tier_id).or_default().push(instance_id.clone());
        }
        live.used = holders.keys().copied().collect();
        for intent in intents.iter().filter(|intent| !intent.settled || !self.has_waited(intent, now)) {
            for id in intent.ids_without_instance() {
                if live.used.insert(id) {
                    live.intended += 1;
                }
            }
        }
        holders.retain(|_, holders| holders.len() > 1);
        live.conflicts = holders;
        live
    }

    /// Whether an instance is not ready yet.
    pub fn is_booting(&self) -> bool {
        self.members().any(|(_, member)| member.life == Life::Booting)
    }

    /// For how long each instance that is not ready yet has been booting; those of open launches not at all.
    pub fn booting_for(&self, now: Duration) -> Vec<Duration> {
        let booting = self.members().filter(|(_, member)| member.life == Life::Booting);
        booting.map(|(_, member)| now.saturating_sub(member.booting_since)).collect()
    }

    /// For how long every slot that works has been seen to receive nothing; none where none works, or one boots.
    pub fn quiet(&self) -> Option<Duration> {
        let mut quiet = None;
        for (_, member) in self.members() {
            match (member.life, member.report) {
                (Life::Booting, _) | (Life::Ready, None) => return None,
                (Life::Ready, Some(report)) => {
                    let this = report.at.saturating_sub(report.worked_at);
                    quiet = Some(quiet.map_or(this, |quiet: Duration| quiet.min(this)));
                }
                _ => {}
            }
        }
        quiet
    }

    /// Images an instance works on at once: the least that a working one reports, `configured` where none has.
    pub fn slots(&self, configured: u32) -> u32 {
        let reported = self.members().filter(|(_, m)| m.life == Life::Ready).filter_map(|(_, m)| m.report);
        reported.map(|report| report.slots).min().unwrap_or(configured).max(1)
    }
}
