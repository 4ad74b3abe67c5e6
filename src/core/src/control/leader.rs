//! Leading: the leader's copy of the control object, when it must be written, and for how long it may act.

use super::{Control, Intent, IntentError, Pause, RENEW_EVERY, Settlement, Spec};
use crate::estimate::Estimates;
use crate::message::Epoch;
use crate::pool::{AppTierId, LaunchToken, Roster};
use crate::time::Timestamp;
use std::time::Duration;

/// Pause after a write that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The pool's leader. Holds what is known to be written, and the draft that is to be written next.
///
/// Changes go into the draft at once and count at once ([`Leader::control`]); what must not happen before it is
/// written down (a launch) is read from what is written ([`Leader::launches`]).
#[derive(Clone, Debug)]
pub struct Leader {
    draft: Control,
    written: Control,
    etag: String,
    ttl: Duration,
    /// Begin of the last write that is known to have succeeded.
    renewed: Duration,
    /// Begin of the last write, whatever became of it.
    tried: Duration,
    failed: bool,
    writing: Writing,
    lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    No,
    UnderWay,
    /// A write met a conflict or its outcome is not known: nothing more is written before the object is read.
    Unsure {
        revision: u64,
        started: Duration,
    },
}

/// A write to be carried out: one at a time. Give it back to [`Leader::wrote`], [`Leader::refused`] or
/// [`Leader::unsure`].
#[derive(Debug)]
#[must_use = "a write that is not reported back stops the leader"]
pub struct Attempt {
    control: Control,
    if_match: String,
    started: Duration,
}

impl Attempt {
    pub fn body(&self) -> Vec<u8> {
        self.control.to_bytes()
    }

    /// The etag that must still stand.
    pub fn if_match(&self) -> &str {
        &self.if_match
    }
}

/// Whether we still lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Leading,
    /// Somebody else has taken over, or the object is gone. Final: act no more, watch again.
    Lost,
}

/// Leave to act on the world, for one round: the lease is fresh, nobody paused, and it is no dry run. Whatever
/// launches, cancels, asks to end or ends wants to see one, so that pause and a lost lease stop them all alike.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    pub(crate) epoch: Epoch,
    pub(crate) until: Duration,
}

impl Permit {
    /// Whether it still holds: an effect that was waited for asks again.
    pub fn holds(&self, now: Duration) -> bool {
        now < self.until
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// Why nothing may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Paused,
    DryRun,
    /// Too long since the last successful write: somebody else may lead already.
    Lapsed,
    Lost,
}

impl Leader {
    pub(super) fn new(control: Control, etag: String, ttl: Duration, started: Duration) -> Leader {
        Leader {
            draft: control.clone(),
            written: control,
            etag,
            ttl,
            renewed: started,
            tried: started,
            failed: false,
            writing: Writing::No,
            lost: false,
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.draft.epoch
    }

    /// The newest state, written or not.
    pub fn control(&self) -> &Control {
        &self.draft
    }

    /// Until when we may act: two thirds of the lease, counted from before the last successful write.
    fn until(&self) -> Duration {
        self.renewed.saturating_add(self.ttl / 3 * 2)
    }

    /// Leave to act now, or why there is none.
    pub fn permit(&self, dry_run: bool, now: Duration) -> Result<Permit, Idle> {
        if self.lost {
            Err(Idle::Lost)
        } else if now >= self.until() {
            Err(Idle::Lapsed)
        } else if self.draft.pause.is_some() || self.written.pause.is_some() {
            Err(Idle::Paused)
        } else if dry_run {
            Err(Idle::DryRun)
        } else {
            Ok(Permit { epoch: self.draft.epoch, until: self.until() })
        }
    }

    /// Notes a launch that is to be. It may be called once it stands in [`Leader::launches`].
    pub fn intend(
        &mut self,
        permit: &Permit,
        token: LaunchToken,
        ids: &[AppTierId],
        spec: Spec,
    ) -> Result<(), IntentError> {
        if permit.epoch != self.draft.epoch {
            return Err(IntentError::NoLeave);
        }
        let intent = Intent::new(token, ids, permit.epoch, spec, &self.draft.intents)?;
        self.draft.intents.push(intent);
        Ok(())
    }

    /// Launches to be called now, or again unchanged: written down, and their outcome not known.
    pub fn launches(&self, permit: &Permit, now: Duration) -> Vec<&Intent> {
        if self.lost || permit.epoch != self.draft.epoch || !permit.holds(now) {
            return Vec::new();
        }
        let open = |intent: &&Intent| self.draft.intents_unsettled().any(|draft| draft.token == intent.token);
        self.written.intents_unsettled().filter(open).collect()
    }

    /// What became of a launch; the instances go into the roster. False: no such intent.
    pub fn settle(&mut self, token: LaunchToken, settlement: &Settlement, roster: &mut Roster, now: Duration) -> bool {
        let (Settlement::Answered(named) | Settlement::Listed(named)) = settlement;
        // instances that nobody intended are there all the same, and somebody pays for them
        roster.launched(token, named, now);
        let Some(intent) = self.draft.intents.iter_mut().find(|intent| intent.token == token) else { return false };
        intent.settle(settlement);
        true
    }

    /// Forgets intents whose instances are all gone and whose ids are free.
    pub fn prune(&mut self, roster: &mut Roster, now: Duration) {
        self.draft.intents.retain(|intent| {
            let over = roster.is_over(intent, now);
            if over {
                roster.forget_launch(intent.token);
            }
            !over
        });
    }

    /// Sets or lifts the pause.
    pub fn set_pause(&mut self, pause: Option<Pause>) {
        self.draft = self.draft.clone().with_pause(pause);
    }

    /// Rides along with the next write.
    pub fn set_estimates(&mut self, estimates: Estimates) {
        self.draft.estimates = estimates;
    }

    /// Rides along with the next write.
    pub fn set_report_every(&mut self, every: Duration) {
        self.draft.report_every_ms = every.as_millis().min(u128::from(u64::MAX)) as u64;
    }

    /// Whether intents or pause changed, or it is time to renew.
    pub fn must_write(&self, now: Duration) -> bool {
        let changed = self.draft.intents != self.written.intents || self.draft.pause != self.written.pause;
        let due = changed || now.saturating_sub(self.renewed) >= RENEW_EVERY;
        // a write that failed is tried again well before the lease runs out, but not in a tight loop
        let rested = !self.failed || now.saturating_sub(self.tried) >= RETRY_AFTER;
        self.writing == Writing::No && !self.lost && due && rested
    }

    /// Whether the object must be read before anything more is written.
    pub fn must_read(&self) -> bool {
        matches!(self.writing, Writing::Unsure { .. }) && !self.lost
    }

    /// The next write; `now` is taken before it begins. None while another is under way or unsettled.
    pub fn write(&mut self, now: Duration, wall: Timestamp) -> Option<Attempt> {
        if self.writing != Writing::No || self.lost {
            return None;
        }
        self.draft.revision = self.draft.revision.saturating_add(1);
        self.draft.renewed_at = wall;
        self.writing = Writing::UnderWay;
        self.tried = now;
        Some(Attempt { control: self.draft.clone(), if_match: self.etag.clone(), started: now })
    }

    /// The write succeeded.
    pub fn wrote(&mut self, attempt: Attempt, etag: impl Into<String>) {
        self.writing = Writing::No;
        self.failed = false;
        self.etag = etag.into();
        self.renewed = attempt.started;
        self.written = attempt.control;
    }

    /// The write surely did not happen, and not because of a conflict.
    pub fn refused(&mut self, _attempt: Attempt) {
        self.writing = Writing::No;
        self.failed = true;
    }

    /// The write met a conflict, or its outcome is not known.
    pub fn unsure(&mut self, attempt: Attempt) {
        let Attempt { control, started, .. } = attempt;
        self.failed = true;
        self.writing = Writing::Unsure { revision: control.revision, started };
    }

    /// The object was read: after [`Leader::unsure`], or to hear of a pause early. Our own epoch and owner: somebody
    /// set pause, which is merged, or one of our own writes is there. Anything else: the lease is lost.
    pub fn read(&mut self, found: Option<(Control, String)>) -> Standing {
        let Some((found, etag)) = found else { return self.lose() };
        if self.lost || found.epoch != self.draft.epoch || found.owner != self.draft.owner {
            return self.lose();
        }
        match self.writing {
            // the write under way may fall before or after this read: its own outcome decides
            Writing::UnderWay => return Standing::Leading,
            Writing::Unsure { revision, started } if found.revision == revision => {
                self.renewed = started;
                self.failed = false;
            }
            // the conflict was somebody's pause: ours is written again at once
            Writing::Unsure { .. } => self.failed = found.pause == self.written.pause,
            Writing::No => {}
        }
        self.writing = Writing::No;
        if found.pause != self.written.pause {
            self.draft.pause.clone_from(&found.pause);
        }
        self.draft.rest.clone_from(&found.rest);
        self.etag = etag;
        self.written = found;
        Standing::Leading
    }

    fn lose(&mut self) -> Standing {
        self.lost = true;
        Standing::Lost
    }
}
