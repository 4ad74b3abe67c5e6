//! Becoming the leader: watching another's lease run out, and taking over.

use super::{Control, Leader};
use crate::estimate::Estimates;
use crate::message::{Epoch, VERSION};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Watches the control object while somebody else may lead. Times are durations since this process started: two
/// machines' clocks are never compared.
#[derive(Clone, Debug)]
pub struct Watch {
    owner: String,
    ttl: Duration,
    /// The version seen last, and since when it has not changed.
    seen: Option<(String, Duration)>,
}

/// What a challenger does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    TakeOver,
    /// Look again, at the latest after this time.
    Wait(Duration),
}

impl Watch {
    /// `owner` is our own name, as it will stand in the object.
    pub fn new(owner: impl Into<String>, ttl: Duration) -> Watch {
        Watch { owner: owner.into(), ttl, seen: None }
    }

    /// The object was read at `now`: its contents with its etag, or that there is none. A read that failed is not
    /// told: it shows neither change nor rest. `entitled`: a lock or the like says already that nobody else leads.
    pub fn saw(&mut self, found: Option<(&Control, &str)>, entitled: bool, now: Duration) -> Next {
        let Some((control, etag)) = found else { return Next::TakeOver };
        if entitled || control.owner == self.owner {
            return Next::TakeOver;
        }
        match &self.seen {
            Some((seen, since)) if seen == etag => {
                let rest = self.ttl.saturating_sub(now.saturating_sub(*since));
                if rest.is_zero() { Next::TakeOver } else { Next::Wait(rest) }
            }
            _ => {
                self.seen = Some((etag.to_owned(), now));
                Next::Wait(self.ttl)
            }
        }
    }
}

/// An attempt to take over, to be written by compare-and-swap.
#[derive(Clone, Debug)]
pub struct Claim {
    control: Control,
    if_match: Option<String>,
    started: Duration,
    ttl: Duration,
}

impl Claim {
    /// The object as a new leader writes it: what `found` holds, with the epoch raised. `now` is taken before the
    /// write begins.
    pub fn new(
        found: Option<(Control, String)>,
        owner: impl Into<String>,
        ttl: Duration,
        now: Duration,
        wall: Timestamp,
    ) -> Claim {
        let (control, if_match) = match found {
            Some((control, etag)) => (control, Some(etag)),
            None => (blank(), None),
        };
        let epoch = Epoch(control.epoch.0.saturating_add(1));
        let revision = control.revision.saturating_add(1);
        let control = Control { epoch, owner: owner.into(), revision, renewed_at: wall, ..control };
        Claim { control, if_match, started: now, ttl }
    }

    pub fn body(&self) -> Vec<u8> {
        self.control.to_bytes()
    }

    /// The etag that must still stand; none: the object must not be there.
    pub fn if_match(&self) -> Option<&str> {
        self.if_match.as_deref()
    }

    /// The write succeeded.
    pub fn won(self, etag: impl Into<String>) -> Leader {
        Leader::new(self.control, etag.into(), self.ttl, self.started)
    }

    /// The write met a conflict, or its outcome is not known: what is read afterwards decides. None: somebody else
    /// was first; watch again.
    pub fn read_back(self, found: Option<(Control, String)>) -> Option<Leader> {
        let (control, etag) = found?;
        let ours = control.epoch == self.control.epoch
            && control.owner == self.control.owner
            && control.revision == self.control.revision;
        // somebody may have set pause since: theirs is what is there
        if ours { Some(Leader::new(control, etag, self.ttl, self.started)) } else { None }
    }
}

fn blank() -> Control {
    Control {
        v: VERSION,
        epoch: Epoch(0),
        owner: String::new(),
        revision: 0,
        renewed_at: Timestamp(0),
        pause: None,
        intents: Vec::new(),
        report_every_ms: 0,
        estimates: Estimates::default(),
        rest: BTreeMap::new(),
    }
}
