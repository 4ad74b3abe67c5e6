//! Taking instances out of service. Only a worker knows that it is idle, so the leader asks for a number of
//! retirements ([`Requests`], [`Cancel`]) and workers pick the requests up ([`judge`], [`Looks`],
//! [`crate::worker::Worker`]).

mod cancel;
mod requests;
#[cfg(test)]
mod tests;

pub use cancel::{Cancel, Met};
pub use requests::{Counts, Nonced, Requests};

use crate::control::Control;
use crate::message::TerminateRequest;
use crate::time::Timestamp;
use std::time::Duration;

/// What a worker does with a terminate request that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Finish what is in hand and go.
    Retire,
    /// Of an older epoch or expired: delete it and go on working.
    Discard,
    /// The pool is paused, or we cannot know: somebody else, or later.
    GiveBack,
}

/// Judges a terminate request by the control object as it was read just now; none: it is missing or does not read.
/// The request's expiry is compared with the leader's clock at its last write, never with this machine's.
pub fn judge(request: &TerminateRequest, control: Option<&Control>) -> Verdict {
    let Some(control) = control else { return Verdict::GiveBack };
    if request.epoch < control.epoch || request.expires_at <= control.renewed_at {
        Verdict::Discard
    } else if request.epoch > control.epoch || control.pause.is_some() {
        // a later epoch than the object's is no leader's that we know of
        Verdict::GiveBack
    } else {
        Verdict::Retire
    }
}

/// When a worker looks for a terminate request: after every empty receive and at least every so often, also while it
/// is busy. Under steady load no receive is ever empty, and without this the pool would never shrink.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    every: Duration,
    next: Duration,
}

/// At least so often, in pools of ordinary size.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Looks {
    /// `report_every` stretches the interval in large pools, so that their looks stay affordable.
    pub fn new(report_every: Duration, now: Duration) -> Looks {
        let every = LOOK_EVERY.max(report_every / 6);
        Looks { every, next: now.saturating_add(every) }
    }

    /// When the next look is due; at or before `now`: now.
    pub fn due(&self) -> Duration {
        self.next
    }

    /// The leader says how often workers report. Shortens a wait that is under way, and does not lengthen it.
    pub fn follow(&mut self, report_every: Duration, now: Duration) {
        let looks = Looks::new(report_every, now);
        self.every = looks.every;
        self.next = self.next.min(looks.next);
    }

    /// A receive waited its full time and brought nothing.
    pub fn empty_receive(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    /// A look begins.
    pub fn looked(&mut self, now: Duration) {
        self.next = now.saturating_add(self.every);
    }
}

/// Tells an app instance that nobody leads its pool any more.
#[derive(Clone, Debug)]
pub struct Unrenewed {
    seen: Option<(u64, Timestamp)>,
    since: Duration,
}

/// An instance without work ends itself when the control object has not changed for so long.
const UNRENEWED: Duration = Duration::from_mins(15);

impl Unrenewed {
    pub fn new(now: Duration) -> Unrenewed {
        Unrenewed { seen: None, since: now }
    }

    /// The control object was read. A read that failed shows no renewal and is not told.
    pub fn saw(&mut self, control: &Control, now: Duration) {
        let seen = Some((control.revision, control.renewed_at));
        if self.seen != seen {
            self.seen = seen;
            self.since = now;
        }
    }

    /// Whether an instance without work ends itself now. Idleness alone never ends one.
    pub fn ends(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= UNRENEWED
    }
}
