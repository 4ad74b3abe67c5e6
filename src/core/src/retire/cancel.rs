//! Taking terminate requests back, and clearing void ones away. Counts what was really deleted: the original's cancel
//! deleted whole batches and returned the size of the last one.

use super::Requests;
use crate::message::{Nonce, Parsed, TerminateRequest};
use crate::time::Timestamp;
use std::time::Duration;

/// Most messages of one receive.
const BATCH: u32 = 10;
/// Most receives of one run: what is left is left for the next.
const MOST_RECEIVES: u32 = 500;

/// What to do with a terminate request that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Delete it, then say [`Cancel::deleted`].
    TakeBack(Nonce),
    /// Void (expired, of an older epoch, or forgotten): delete it; it was not counted any more.
    DeleteVoid,
    /// No terminate request at all: delete it and say so.
    DeleteUnreadable,
    /// Valid and not wanted: give it back at once.
    GiveBack,
    /// Of a version we do not read: give it back for 15 minutes.
    GiveBackLong,
}

/// One run through terminate_request_queue: receive [`Cancel::ask`] messages with a wait of 1 s, hand each to
/// [`Cancel::met`], do what it says, and ask again until there is nothing more to ask.
#[derive(Clone, Debug)]
pub struct Cancel {
    wanted: u32,
    deleted: u32,
    /// Taken, and not known to be deleted.
    taken: u32,
    receives: u32,
    sweeping: bool,
    over: bool,
}

impl Cancel {
    pub(super) fn new(wanted: u32) -> Cancel {
        Cancel { wanted, deleted: 0, taken: 0, receives: 0, sweeping: false, over: false }
    }

    /// A run that only clears void requests away. Allowed while paused: it ends nothing that works. It ends with the
    /// first receive that brings nothing void: given back at once, valid ones would come round for ever.
    pub fn sweep() -> Cancel {
        Cancel { sweeping: true, ..Cancel::new(0) }
    }

    /// How many messages to receive next (1 to 10); none: the run is over.
    pub fn ask(&self) -> Option<u32> {
        let left = if self.sweeping { BATCH } else { self.wanted.saturating_sub(self.taken).min(BATCH) };
        (!self.over && left > 0 && self.receives < MOST_RECEIVES).then_some(left)
    }

    /// A receive brought these bodies, in order; none, or that it failed, ends the run. What to do with each.
    /// `wall` is the leader's clock, by which requests expire.
    pub fn met(
        &mut self,
        requests: &mut Requests,
        bodies: &[Parsed<TerminateRequest>],
        now: Duration,
        wall: Timestamp,
    ) -> Vec<Met> {
        self.receives += 1;
        let met: Vec<Met> = bodies.iter().map(|body| self.meet(requests, body, wall)).collect();
        if met.contains(&Met::DeleteVoid) {
            // the deletion may fail, and there may be more
            requests.sweep_again(now);
        }
        let useful = met.iter().any(|met| !matches!(met, Met::GiveBack | Met::GiveBackLong));
        self.over |= !useful;
        met
    }

    fn meet(&mut self, requests: &Requests, body: &Parsed<TerminateRequest>, wall: Timestamp) -> Met {
        let request = match body {
            Parsed::Ok(request) => request,
            Parsed::OtherVersion(_) => return Met::GiveBackLong,
            Parsed::Unreadable(_) => return Met::DeleteUnreadable,
        };
        let current = request.epoch == requests.epoch() && requests.is_out(request.nonce);
        if current && !self.sweeping && self.taken < self.wanted {
            self.taken += 1;
            return Met::TakeBack(request.nonce);
        }
        // a later epoch: somebody else leads, and the requests are theirs
        let void = request.epoch <= requests.epoch() && (!current || request.expires_at <= wall);
        if void { Met::DeleteVoid } else { Met::GiveBack }
    }

    /// The deletion of a request that was taken back: whether it succeeded. One that is not known to have succeeded
    /// is not counted; the request stays out until it expires, and another is taken in its place.
    pub fn deleted(&mut self, requests: &mut Requests, nonce: Nonce, succeeded: bool, now: Duration) {
        if succeeded && requests.is_out(nonce) {
            self.deleted += 1;
            requests.cancelled(nonce, now);
        } else {
            // the queue may deliver one message twice, too
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// How many requests were really taken back.
    pub fn count(&self) -> u32 {
        self.deleted
    }
}
