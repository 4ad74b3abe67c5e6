//! The leader's terminate requests: which are out, and what became of them. In memory only: a new epoch starts with
//! none.

use super::Cancel;
use crate::control::Permit;
use crate::message::{Confirm, Epoch, Nonce, TerminateRequest, VERSION};
use crate::pool::{Roster, Stopped};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// A request that is not confirmed so long after its expiry is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// How long the fate of a request is remembered, to tell a late or doubled confirmation from a forged one.
const REMEMBERED: Duration = Duration::from_mins(30);
/// Most fates remembered; the oldest go first.
const MOST_REMEMBERED: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Out { expires: Duration },
    Confirmed,
    Cancelled,
    Forgotten,
}

/// How the nonce of a confirmation reads. Whatever it is, an instance of ours that confirms has stopped and is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonced {
    First,
    Duplicate,
    /// We took the request back, and a worker had it all the same.
    Cancelled,
    /// After we had forgotten the request.
    Late,
    OtherEpoch,
    /// We never gave that nonce out.
    Forged,
    /// The instance is not ours: the nonce is not looked at, so that nobody can use one up.
    NotOurs,
}

/// Confirmations by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub first: u64,
    pub duplicate: u64,
    pub cancelled: u64,
    pub late: u64,
    pub other_epoch: u64,
    pub forged: u64,
    pub not_ours: u64,
}

/// Terminate requests of one epoch. Times are durations since this process started, save `expires_at` of a request.
#[derive(Clone, Debug)]
pub struct Requests {
    epoch: Epoch,
    life: Duration,
    fates: BTreeMap<Nonce, (Fate, Duration)>,
    out: u32,
    counts: Counts,
    /// Whether the queue is to be looked through now, and once more later.
    sweep: bool,
    sweep_at: Option<Duration>,
}

impl Requests {
    /// None are out. Requests live twice the longest work on one message.
    pub fn new(epoch: Epoch, job_deadline: Duration, now: Duration) -> Requests {
        let (fates, counts) = (BTreeMap::new(), Counts::default());
        // what an older epoch has left in the queue is cleared away
        let life = job_deadline.saturating_mul(2);
        let mut requests = Requests { epoch, life, fates, out: 0, counts, sweep: true, sweep_at: None };
        requests.sweep_again(now);
        requests
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Requests that are out: so many of the instances that serve are as good as gone.
    pub fn outstanding(&self) -> u32 {
        self.out
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A request for each nonce, to be sent; counted from now on, whatever becomes of the sending. `wall` is the
    /// clock that goes into the control object as `renewed_at`. None where the permit is over or of another epoch.
    pub fn issue(
        &mut self,
        permit: &Permit,
        nonces: &[Nonce],
        now: Duration,
        wall: Timestamp,
    ) -> Vec<TerminateRequest> {
        if !permit.holds(now) || permit.epoch() != self.epoch {
            return Vec::new();
        }
        let expires = now.saturating_add(self.life);
        let mut issued = Vec::new();
        for nonce in nonces {
            if !self.fates.contains_key(nonce) {
                self.fates.insert(*nonce, (Fate::Out { expires }, now));
                self.out = self.out.saturating_add(1);
                let expires_at = wall.plus(self.life);
                issued.push(TerminateRequest { v: VERSION, nonce: *nonce, epoch: self.epoch, expires_at });
            }
        }
        issued
    }

    /// The sending of a request surely failed. Where that is not known it may be out: say nothing, it expires.
    pub fn unsent(&mut self, nonce: Nonce) {
        if let Some((Fate::Out { .. }, _)) = self.fates.get(&nonce) {
            self.fates.remove(&nonce);
            self.out = self.out.saturating_sub(1);
        }
    }

    /// A worker confirmed: moves it in the roster and tells what the confirmation was. [`Roster::ends`] then names it.
    pub fn confirm(&mut self, confirm: &Confirm, roster: &mut Roster, now: Duration) -> (Nonced, Stopped) {
        let stopped = roster.confirmed(confirm.app_tier_id, &confirm.instance_id);
        let nonced = if stopped == Stopped::NotOurs { Nonced::NotOurs } else { self.nonce(confirm, now) };
        if stopped != Stopped::NotOurs {
            // its worker may die before it has deleted the request, which is visible again later
            self.sweep_again(now);
        }
        let counts = &mut self.counts;
        let count = match nonced {
            Nonced::First => &mut counts.first,
            Nonced::Duplicate => &mut counts.duplicate,
            Nonced::Cancelled => &mut counts.cancelled,
            Nonced::Late => &mut counts.late,
            Nonced::OtherEpoch => &mut counts.other_epoch,
            Nonced::Forged => &mut counts.forged,
            Nonced::NotOurs => &mut counts.not_ours,
        };
        *count = count.saturating_add(1);
        (nonced, stopped)
    }

    fn nonce(&mut self, confirm: &Confirm, now: Duration) -> Nonced {
        if confirm.epoch != self.epoch {
            return Nonced::OtherEpoch;
        }
        match self.fates.get(&confirm.nonce).map(|(fate, _)| *fate) {
            Some(Fate::Out { .. }) => {
                self.end(confirm.nonce, Fate::Confirmed, now);
                Nonced::First
            }
            Some(Fate::Confirmed) => Nonced::Duplicate,
            Some(Fate::Cancelled) => Nonced::Cancelled,
            Some(Fate::Forgotten) => Nonced::Late,
            None => Nonced::Forged,
        }
    }

    /// Forgets what was not confirmed in time. Call it each tick.
    pub fn expire(&mut self, now: Duration) {
        let due = |fate: &Fate| matches!(fate, Fate::Out { expires } if now >= expires.saturating_add(FORGET_AFTER));
        let over: Vec<Nonce> = self.fates.iter().filter(|(_, (fate, _))| due(fate)).map(|(nonce, _)| *nonce).collect();
        for nonce in over {
            self.end(nonce, Fate::Forgotten, now);
            // it may still lie in the queue
            self.sweep = true;
            self.sweep_again(now);
        }
        self.fates.retain(|_, (fate, at)| matches!(fate, Fate::Out { .. }) || now.saturating_sub(*at) < REMEMBERED);
        let surplus = self.fates.len().saturating_sub(self.out as usize).saturating_sub(MOST_REMEMBERED);
        if surplus > 0 {
            let ended = self.fates.iter().filter(|(_, (fate, _))| !matches!(fate, Fate::Out { .. }));
            let mut ended: Vec<(Duration, Nonce)> = ended.map(|(nonce, (_, at))| (*at, *nonce)).collect();
            ended.sort();
            for (_, nonce) in ended.into_iter().take(surplus) {
                self.fates.remove(&nonce);
            }
        }
    }

    /// Whether the queue is to be looked through for requests that are void: after taking over and when one was
    /// forgotten; and once more later, also after a confirmation. Asks once; see [`Cancel::sweep`].
    pub fn must_sweep(&mut self, now: Duration) -> bool {
        if self.sweep_at.is_some_and(|at| now >= at) {
            self.sweep_at = None;
            self.sweep = true;
        }
        std::mem::take(&mut self.sweep)
    }

    /// The queue was counted: more requests to be had than are out means that some are void.
    pub fn counted(&mut self, visible: u64) {
        self.sweep |= visible > u64::from(self.out);
    }

    /// Sees to a sweep when whatever a worker holds now is deleted or visible again.
    pub(super) fn sweep_again(&mut self, now: Duration) {
        self.sweep_at = Some(now.saturating_add(self.life).saturating_add(FORGET_AFTER));
    }

    /// Begins taking back up to `wanted` requests that no worker holds.
    pub fn cancel(&self, permit: &Permit, wanted: u32, now: Duration) -> Cancel {
        let may = permit.holds(now) && permit.epoch() == self.epoch;
        Cancel::new(if may { wanted.min(self.out) } else { 0 })
    }

    pub(super) fn is_out(&self, nonce: Nonce) -> bool {
        matches!(self.fates.get(&nonce), Some((Fate::Out { .. }, _)))
    }

    pub(super) fn cancelled(&mut self, nonce: Nonce, now: Duration) {
        self.end(nonce, Fate::Cancelled, now);
    }

    fn end(&mut self, nonce: Nonce, fate: Fate, now: Duration) {
        if let Some((old, at)) = self.fates.get_mut(&nonce)
            && matches!(old, Fate::Out { .. })
        {
            (*old, *at) = (fate, now);
            self.out = self.out.saturating_sub(1);
        }
    }
}
