//! Requests that were accepted here and have no answer yet, for the age of the oldest one: SQS does not tell it.

use super::Share;
use bellows_core::key::RequestId;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Those beyond it are not tracked: the oldest count, and a million outstanding must not cost memory.
const MOST: usize = 1 << 16;

/// In the order in which they were accepted. What is known of an answer ends a request; so does a look at a queue that
/// holds nothing, for an answer may get lost.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    accepted: BTreeMap<u64, (Instant, RequestId)>,
    places: BTreeMap<RequestId, Place>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    /// Where it is in that order; none: on its way to the queue.
    at: Option<u64>,
    /// Given back when it is dropped.
    _share: Option<Share>,
}

impl Outstanding {
    /// A request is on its way to the queue. Said before it is sent: its answer may be here before it is accepted.
    pub(super) fn begun(&mut self, id: RequestId, share: Option<Share>) {
        // of shares there are only so many
        if self.places.len() < MOST || share.is_some() {
            self.places.insert(id, Place { at: None, _share: share });
        }
    }

    /// It is in the queue.
    pub(super) fn accepted(&mut self, id: RequestId, now: Instant) {
        // one that is not known any more has been answered
        if let Some(place) = self.places.get_mut(&id) {
            place.at = Some(self.next);
            self.accepted.insert(self.next, (now, id));
            self.next += 1;
        }
    }

    /// It was answered, or never came into the queue.
    pub(super) fn ended(&mut self, id: RequestId) {
        if let Some(place) = self.places.remove(&id).and_then(|place| place.at) {
            self.accepted.remove(&place);
        }
    }

    /// The queue held nothing at this moment: what was accepted before is answered.
    pub(super) fn none_before(&mut self, moment: Instant) {
        while let Some(oldest) = self.accepted.first_entry()
            && oldest.get().0 < moment
        {
            let (_, id) = oldest.remove();
            self.places.remove(&id);
        }
    }

    /// When the oldest was accepted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.accepted.first_key_value().map(|(_, (at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(n: usize) -> RequestId {
        RequestId(Uuid::from_u128(n as u128))
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_whoever_was_accepted_first_and_is_not_answered() {
        let (mut outstanding, start) = (Outstanding::default(), Instant::now());
        for n in 0..3 {
            outstanding.begun(id(n), None);
        }
        assert_eq!(outstanding.oldest(), None, "nothing is accepted yet");
        outstanding.accepted(id(1), start);
        outstanding.accepted(id(0), start + SECOND);
        outstanding.ended(id(2));
        outstanding.accepted(id(2), start + SECOND);
        assert_eq!(outstanding.oldest(), Some(start));
        outstanding.ended(id(1));
        outstanding.ended(id(1));
        assert_eq!(outstanding.oldest(), Some(start + SECOND));
        outstanding.ended(id(0));
        assert_eq!(outstanding.oldest(), None, "the answer to 2 was here before it was accepted");
        assert!(outstanding.places.is_empty() && outstanding.accepted.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_queue_ends_those_that_were_in_it() {
        let (mut outstanding, start) = (Outstanding::default(), Instant::now());
        for n in 0..3 {
            outstanding.begun(id(n), None);
        }
        outstanding.accepted(id(0), start);
        outstanding.accepted(id(1), start + SECOND);
        outstanding.none_before(start);
        assert_eq!(outstanding.oldest(), Some(start), "it came at that very moment");
        outstanding.none_before(start + SECOND);
        assert_eq!(outstanding.oldest(), Some(start + SECOND));
        outstanding.none_before(start + SECOND * 9);
        outstanding.accepted(id(2), start + SECOND * 9);
        assert_eq!(outstanding.oldest(), Some(start + SECOND * 9), "on its way then, so it is not in what was read");
        assert_eq!((outstanding.places.len(), outstanding.accepted.len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_are_not_tracked_where_there_are_too_many() {
        let (mut outstanding, start) = (Outstanding::default(), Instant::now());
        for n in 0..MOST + 10 {
            outstanding.begun(id(n), None);
            outstanding.accepted(id(n), start + Duration::from_millis(n as u64));
        }
        assert_eq!((outstanding.places.len(), outstanding.accepted.len()), (MOST, MOST));
        assert_eq!(outstanding.oldest(), Some(start));
        outstanding.ended(id(MOST + 3));
        outstanding.none_before(start + Duration::from_hours(1));
        assert_eq!((outstanding.places.len(), outstanding.accepted.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_given_back_however_a_request_ends() {
        let (mut outstanding, start) = (Outstanding::default(), Instant::now());
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(3));
        for n in 0..3 {
            outstanding.begun(id(n), room.clone().try_acquire_owned().ok());
        }
        outstanding.accepted(id(0), start);
        outstanding.ended(id(0));
        outstanding.ended(id(1));
        outstanding.accepted(id(2), start);
        assert_eq!(room.available_permits(), 2);
        outstanding.none_before(start + SECOND);
        assert_eq!(room.available_permits(), 3);
    }
}
