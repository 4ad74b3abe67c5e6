//! A controller in the order of the real one: hear, list, settle, decide, write down, act.

use super::{AT, Asked, Duration, World};
use crate::control::{Claim, Control, Intent, Leader, Next, Settlement, Spec, Standing, TTL, Watch};
use crate::estimate::{Meter, Priors};
use crate::message::{Nonce, Notice, Parsed};
use crate::pool::{Cause, Deadlines, Heard, LaunchToken, Roster, UNLISTED_GRACE};
use crate::retire::{Cancel, Met, Requests};
use crate::scale::{Actions, Counters, Decision, Memory, Observation, decide};
use uuid::Uuid;

const TICK: u64 = 5;

pub(super) struct Controller {
    owner: &'static str,
    watch: Watch,
    lead: Option<Lead>,
    /// Neither reads nor writes reach anything before this; or it is dead until then.
    cut_until: Duration,
    dead_until: Duration,
}

/// What a leader holds in memory: gone with its process.
struct Lead {
    leader: Leader,
    roster: Roster,
    requests: Requests,
    meter: Meter,
    memory: Memory,
    backoff_until: Duration,
    list_failed: bool,
    /// As many had been submitted at the last decision: a submit wakes the controller.
    submitted: u64,
}

impl Controller {
    pub fn new(owner: &'static str) -> Controller {
        let (cut_until, dead_until) = (Duration::ZERO, Duration::ZERO);
        Controller { owner, watch: Watch::new(owner, TTL), lead: None, cut_until, dead_until }
    }

    pub fn may_act(&self, now: Duration) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.leader.permit(false, now).is_ok())
    }

    pub fn step(&mut self, world: &mut World) {
        if world.dice.falls(world.faults.cuts) {
            self.cut_until = world.now + AT(120);
        }
        if world.now < self.dead_until {
            return;
        }
        let cut = world.now < self.cut_until;
        match &mut self.lead {
            None => self.challenge(world, cut),
            Some(lead) => {
                if lead.round(world, cut) {
                    self.die(world);
                } else if lead.lost(world, cut) {
                    self.lead = None;
                    self.watch = Watch::new(self.owner, TTL);
                }
            }
        }
    }

    /// The process is killed; a new one comes up a little later and knows nothing.
    fn die(&mut self, world: &mut World) {
        self.lead = None;
        self.watch = Watch::new(self.owner, TTL);
        self.dead_until = world.now + AT(world.dice.below(20));
        if world.local {
            world.fleet.orphan_all();
        }
    }

    fn challenge(&mut self, world: &mut World, cut: bool) {
        if cut || world.dice.falls(world.faults.reads) {
            return;
        }
        let (found, etag) = (world.control(), world.etag());
        let seen = found.as_ref().map(|control| (control, etag.as_str()));
        if self.watch.saw(seen, world.local, world.now) != Next::TakeOver {
            return;
        }
        let claim = Claim::new(found.map(|control| (control, etag)), self.owner, TTL, world.now, world.wall());
        let leader = match world.write(claim.if_match(), claim.body(), cut) {
            Some(etag) => Some(claim.won(etag)),
            None => claim.read_back(world.control().map(|control| (control, world.etag()))),
        };
        self.lead = leader.map(|leader| Lead::new(leader, world.local, world.now));
    }
}

impl Lead {
    fn new(leader: Leader, local: bool, now: Duration) -> Lead {
        let grace = if local { Duration::ZERO } else { UNLISTED_GRACE };
        let priors = Priors { service: AT(2), boot: AT(25) };
        Lead {
            roster: Roster::new(leader.control(), grace, now),
            requests: Requests::new(leader.epoch(), AT(10), now),
            meter: Meter::new(priors, &leader.control().estimates, Duration::ZERO),
            memory: Memory::default(),
            backoff_until: Duration::ZERO,
            list_failed: false,
            submitted: 0,
            leader,
        }
    }

    /// One round; true where the process died between two of its steps.
    fn round(&mut self, world: &mut World, cut: bool) -> bool {
        let steps: [fn(&mut Lead, &mut World, bool); 8] = [
            Lead::hear,
            Lead::list,
            Lead::forget,
            Lead::sweep,
            Lead::decide_and_act,
            Lead::keep,
            Lead::launch,
            Lead::end,
        ];
        steps.into_iter().any(|step| {
            step(self, world, cut);
            world.dice.falls(world.faults.crashes)
        })
    }

    fn forget(&mut self, world: &mut World, _: bool) {
        self.requests.expire(world.now);
        self.leader.prune(&mut self.roster, world.now);
    }

    fn sweep(&mut self, world: &mut World, cut: bool) {
        if !cut && self.requests.must_sweep(world.now) {
            self.run(Cancel::sweep(), world);
        }
    }

    fn decide_and_act(&mut self, world: &mut World, cut: bool) {
        self.meter.own(world.submitted, world.answered, world.now);
        if world.now.as_secs().is_multiple_of(TICK) || world.submitted != self.submitted {
            self.submitted = world.submitted;
            let decision = self.decide(world);
            self.act(&decision, world, cut);
        }
    }

    fn hear(&mut self, world: &mut World, cut: bool) {
        if cut || world.dice.falls(world.faults.reads) {
            return;
        }
        let now = world.now;
        let due = world.notices.extract_if(.., |(at, _)| *at <= now).map(|(_, notice)| notice).collect::<Vec<_>>();
        for notice in due {
            match notice {
                Notice::Confirm(confirm) => {
                    self.requests.confirm(&confirm, &mut self.roster, now);
                }
                Notice::Report(report) => {
                    let heard = self.roster.reported(&report, now);
                    if heard != Heard::NotOurs {
                        self.meter.reported(&report);
                    }
                    if let Heard::Registered { boot: Some(boot) } = heard {
                        self.meter.booted(boot);
                    }
                }
                Notice::Web(report) => self.meter.heard(&report, now),
            }
        }
        self.roster.drained(now);
    }

    fn list(&mut self, world: &mut World, cut: bool) {
        self.list_failed = cut || world.dice.falls(world.faults.reads);
        if self.list_failed {
            return;
        }
        let lag = AT(world.dice.below(world.faults.lag + 1));
        let listed = world.fleet.list(world.now, lag);
        for ended in self.roster.listed(&listed, world.now, world.now) {
            self.meter.gone(&ended.instance_id);
        }
        let open: Vec<Intent> = self.leader.control().intents_unsettled().cloned().collect();
        for intent in open {
            let settlement = if world.local {
                // an open intent of our own is carried out in this very round; one of a predecessor never more
                (intent.epoch < self.leader.epoch()).then(|| Settlement::from_exact_list(&intent, &listed))
            } else {
                Settlement::from_list(intent.token, &listed)
            };
            if let Some(settlement) = settlement {
                self.leader.settle(intent.token, &settlement, &mut self.roster, world.now);
            }
        }
    }

    fn decide(&mut self, world: &World) -> Decision {
        let held: u64 = world.nodes.iter().map(super::Node::in_hand).sum();
        let now = world.now;
        let counters = Counters { visible: world.requests.len() as u64, in_flight: held, delayed: 0 };
        let parts = (&self.leader, &self.roster, &self.requests, &self.meter);
        let observation = Observation {
            counters: Some((counters, Duration::ZERO)),
            list_failed: self.list_failed,
            backoff: self.backoff_until.saturating_sub(now),
            memory: self.memory.clone(),
            ..Observation::new(parts, 1, false, now)
        };
        let decision = decide(&observation, &world.policy);
        assert_eq!(decision, decide(&observation, &world.policy), "not pure");
        assert!(i64::from(decision.act.request) <= decision.active.max(0), "more asked to go than there are");
        assert!(decision.act.cancel <= observation.outstanding);
        self.memory = decision.memory.clone();
        decision
    }

    fn act(&mut self, decision: &Decision, world: &mut World, cut: bool) {
        let Ok(permit) = self.leader.permit(false, world.now) else { return };
        let Actions { cancel, request, .. } = decision.act;
        let out = self.requests.outstanding();
        let mut cancelled = 0;
        if cancel > 0 && !cut {
            cancelled = self.run(self.requests.cancel(&permit, cancel, world.now), world);
            assert_eq!(out - self.requests.outstanding(), cancelled, "counts what was really deleted");
        }
        let nonces: Vec<Nonce> = (0..request).map(|_| Nonce(uuid(world))).collect();
        for request in self.requests.issue(&permit, &nonces, world.now, world.wall()) {
            // where it is not known whether a sending succeeded, nothing is said
            if !cut {
                world.next_asked += 1;
                world.asked.insert(world.next_asked, Asked { request, hidden_until: world.now });
            }
        }
        for ids in decision.launch_after(cancelled).chunks(7) {
            let token = LaunchToken(uuid(world));
            self.leader.intend(&permit, token, ids, Spec::default()).unwrap();
        }
    }

    fn run(&mut self, mut cancel: Cancel, world: &mut World) -> u32 {
        while let Some(ask) = cancel.ask() {
            let now = world.now;
            let visible = world.asked.iter().filter(|(_, asked)| asked.hidden_until <= now);
            let places: Vec<u64> = visible.map(|(place, _)| *place).take(ask as usize).collect();
            let bodies: Vec<_> = places.iter().map(|place| Parsed::Ok(world.asked[place].request)).collect();
            let met = cancel.met(&mut self.requests, &bodies, now, world.wall());
            for (place, met) in places.into_iter().zip(met) {
                match met {
                    Met::TakeBack(nonce) => {
                        let succeeded = !world.dice.falls(world.faults.notices);
                        if succeeded {
                            world.asked.remove(&place);
                        } else {
                            world.asked.get_mut(&place).unwrap().hidden_until = now + AT(30);
                        }
                        cancel.deleted(&mut self.requests, nonce, succeeded, now);
                    }
                    Met::DeleteVoid | Met::DeleteUnreadable if world.dice.falls(world.faults.notices) => {
                        world.asked.get_mut(&place).unwrap().hidden_until = now + AT(30);
                    }
                    Met::DeleteVoid | Met::DeleteUnreadable => {
                        world.asked.remove(&place);
                    }
                    Met::GiveBack | Met::GiveBackLong => {}
                }
            }
        }
        cancel.count()
    }

    /// Keeps the control object written.
    fn keep(&mut self, world: &mut World, cut: bool) {
        self.leader.set_estimates(self.meter.estimates(world.now));
        if self.leader.must_write(world.now)
            && let Some(attempt) = self.leader.write(world.now, world.wall())
        {
            match world.write(Some(attempt.if_match()), attempt.body(), cut) {
                Some(etag) => self.leader.wrote(attempt, etag),
                None => self.leader.unsure(attempt),
            }
        }
    }

    /// Reads the object where that is due; whether the lease is lost.
    fn lost(&mut self, world: &mut World, cut: bool) -> bool {
        if cut || !self.leader.must_read() || world.dice.falls(world.faults.reads) {
            return false;
        }
        let found = world.control().map(|control: Control| (control, world.etag()));
        self.leader.read(found) == Standing::Lost
    }

    fn launch(&mut self, world: &mut World, cut: bool) {
        let Ok(permit) = self.leader.permit(false, world.now) else { return };
        let open: Vec<_> = self.leader.launches(&permit, world.now).into_iter().cloned().collect();
        for intent in open {
            let lost = world.dice.falls(world.faults.answers);
            if cut || (lost && world.dice.falls(500)) {
                continue;
            }
            let full = world.dice.falls(world.faults.capacity);
            let capacity = if full { world.dice.below(3) as usize } else { usize::MAX };
            let named = world.fleet.launch(intent.token, &intent.ids, capacity, world.now);
            if named.is_empty() {
                self.backoff_until = world.now + AT(2);
            }
            if !lost {
                self.leader.settle(intent.token, &Settlement::Answered(named), &mut self.roster, world.now);
            }
        }
    }

    fn end(&mut self, world: &mut World, cut: bool) {
        let Ok(permit) = self.leader.permit(false, world.now) else { return };
        let deadlines = Deadlines::new(self.meter.boot_p90(), AT(30));
        for (instance_id, cause) in self.roster.ends(&permit, deadlines, world.now) {
            if cause == Cause::Confirmed {
                let holds = world.nodes.iter().any(|node| node.is(&instance_id) && node.in_hand() > 0);
                assert!(!holds, "a busy instance is ended");
            }
            if !cut {
                world.fleet.end(&instance_id, world.now);
                self.roster.asked(&instance_id, world.now);
            }
        }
    }
}

fn uuid(world: &mut World) -> Uuid {
    Uuid::from_u64_pair(world.dice.next(), world.dice.next())
}

impl Controller {
    pub fn reconnect(&mut self) {
        (self.cut_until, self.dead_until) = (Duration::ZERO, Duration::ZERO);
    }
}
