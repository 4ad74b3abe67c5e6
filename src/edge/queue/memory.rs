//! Queues in memory, for the simulator and for tests: no thread, no file, and the same order in every run. What a call
//! costs does not depend on how much waits.

mod late;

pub use late::Late;

use super::{Api, Delivery, Depth, MAX_DELAY, MAX_WAIT, Receipt, Settings};
use crate::edge::host::Clock;
use crate::edge::nature::{Event, Natural, Odd};
use crate::edge::wire::Wire;
use crate::edge::{Error, Kind, Result};
use bellows_core::time::Timestamp;
use late::Past;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Several queues, among them the dead-letter queues of the others.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    natural: Natural,
    state: Mutex<State>,
}

/// A queue of a store.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    lane: usize,
    dead_letters: usize,
    /// Wakes one receive for each message that becomes visible, and all where a message may become visible earlier than
    /// they think.
    news: Arc<Notify>,
    pub(super) wire: Wire,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    late: Late,
    names: BTreeMap<String, usize>,
    shelves: Vec<Shelf>,
    /// Which queue each message is in, and where.
    places: BTreeMap<u64, (usize, Place)>,
}

/// One queue's messages.
#[derive(Debug, Default)]
struct Shelf {
    messages: BTreeMap<Place, Message>,
    /// Those that a receive may take, and the others by when they become so.
    visible: BTreeSet<Place>,
    hidden: BTreeSet<(Timestamp, Place)>,
    /// Hidden ones that were never received.
    delayed: u64,
    /// When it was last looked at, and whether that was ever later than the next time: then nothing is as it was left.
    seen: Timestamp,
    set_back: bool,
    past: Past,
    news: Arc<Notify>,
}

/// Oldest first; equally old ones in the order of sending.
type Place = (Timestamp, u64);

#[derive(Debug)]
struct Message {
    body: String,
    visible_at: Timestamp,
    receives: u32,
    /// Counts the leases ever given, so that an old receipt fits none.
    lease: u64,
}

impl Message {
    fn visible(&self, now: Timestamp) -> bool {
        self.visible_at <= now || self.visible_at > now.plus(MAX_DELAY)
    }
}

impl Shelf {
    fn put(&mut self, place: Place, message: Message, now: Timestamp) {
        if message.visible(now) {
            self.visible.insert(place);
        } else {
            self.hidden.insert((message.visible_at, place));
            self.delayed += u64::from(message.receives == 0);
        }
        self.messages.insert(place, message);
    }

    fn take(&mut self, place: Place) -> Option<Message> {
        let message = self.messages.remove(&place)?;
        if !self.visible.remove(&place) {
            self.hidden.remove(&(message.visible_at, place));
            self.delayed -= u64::from(message.receives == 0);
        }
        Some(message)
    }

    /// Takes in what time has changed: messages become visible again; those past their retention are gone and returned.
    fn pass(&mut self, late: &Late, retention: Duration, now: Timestamp) -> Vec<Place> {
        self.set_back |= now < self.seen;
        self.seen = now;
        if self.set_back {
            let messages = std::mem::take(&mut self.messages);
            (self.visible, self.hidden, self.delayed) = Default::default();
            for (place, message) in messages {
                self.put(place, message, now);
            }
        }
        let mut gone = Vec::new();
        while let Some((place, _)) = self.messages.first_key_value()
            && place.0 < now.minus(retention)
        {
            let place = *place;
            self.take(place);
            gone.push(place);
        }
        while let Some((due, place)) = self.hidden.first().copied()
            && due <= now
        {
            self.hidden.remove(&(due, place));
            self.visible.insert(place);
            let never = self.messages.get(&place).is_some_and(|message| message.receives == 0);
            self.delayed -= u64::from(never);
            self.past.note(late, due, self.depth());
        }
        gone
    }

    /// The message that a receive takes next: the oldest, where nothing is odd.
    fn next(&self, natural: &Natural, who: &str) -> Option<Place> {
        let among = self.visible.len();
        let odd = if among > 1 { natural.odd(Odd::OutOfOrder, who) } else { None };
        self.visible.iter().nth(odd.map_or(0, |draw| draw as usize % among)).copied()
    }

    fn depth(&self) -> Depth {
        let (visible, delayed) = (self.visible.len() as u64, self.delayed);
        Depth { visible, in_flight: self.hidden.len() as u64 - delayed, delayed }
    }
}

impl Store {
    pub fn new(clock: Clock) -> Store {
        Store::late(clock, Late::default())
    }

    /// Queues whose counters lag behind.
    pub fn late(clock: Clock, late: Late) -> Store {
        Store::within(clock, late, Natural::default())
    }

    /// Queues in a simulated world.
    pub fn within(clock: Clock, late: Late, natural: Natural) -> Store {
        Store { shared: Arc::new(Shared { clock, natural, state: Mutex::new(State { late, ..State::default() }) }) }
    }

    /// A queue of this store, made where it is not.
    pub fn queue(&self, settings: Settings) -> Result<Queue> {
        settings.check()?;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = state.lane(&settings.name);
        let dead_letters = settings.dead_letters.as_ref().map_or(lane, |(_, name)| state.lane(name));
        let news = Arc::clone(&state.shelves[lane].news);
        let (shared, wire) = (Arc::clone(&self.shared), Wire::default());
        drop(state);
        Ok(Queue { shared, settings: Arc::new(settings), lane, dead_letters, news, wire })
    }
}

impl State {
    fn lane(&mut self, name: &str) -> usize {
        if let Some(lane) = self.names.get(name) {
            return *lane;
        }
        self.shelves.push(Shelf::default());
        self.names.insert(name.to_owned(), self.shelves.len() - 1);
        self.shelves.len() - 1
    }

    /// Brings a queue to this moment.
    fn pass(&mut self, queue: &Queue, now: Timestamp) {
        for (_, seq) in self.shelves[queue.lane].pass(&self.late, queue.settings.retention, now) {
            self.places.remove(&seq);
        }
    }

    /// Notes what the counters of a queue are from now on.
    fn note(&mut self, lane: usize, now: Timestamp) {
        let lane = &mut self.shelves[lane];
        lane.past.note(&self.late, now, lane.depth());
    }

    /// What the receive gives.
    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Vec<Delivery> {
        let (settings, mut taken) = (&queue.settings, Vec::new());
        let (natural, who, name) = (&queue.shared.natural, queue.wire.who(), settings.name.as_str());
        let max = natural.odd(Odd::PartialBatch, who).map_or(max, |draw| 1 + draw as usize % max);
        while taken.len() < max
            && let Some(place) = self.shelves[queue.lane].next(natural, who)
            && let Some(mut message) = self.shelves[queue.lane].take(place)
        {
            if settings.dead_letters.as_ref().is_some_and(|(most, _)| message.receives >= *most) {
                natural.saw(who, Event::Buried { queue: name, message: place.1 });
                self.bury(queue.dead_letters, place, message, now);
                continue;
            }
            message.receives += 1;
            message.lease += 1;
            // one that is given to two has no lease: the second receipt voids the first
            let given_twice = natural.odd(Odd::Duplicate, who).is_some();
            message.visible_at = if given_twice { now.plus(GIVEN_TWICE) } else { now.plus(settings.visibility) };
            let (receives, until) = (message.receives, message.visible_at.0);
            natural.saw(who, Event::Received { queue: name, message: place.1, receives, until });
            taken.push(delivery(place, &message, now));
            self.shelves[queue.lane].put(place, message, now);
        }
        self.note(queue.lane, now);
        taken
    }

    /// Puts a message to the dead letters, where it is visible at once.
    fn bury(&mut self, lane: usize, place: Place, message: Message, now: Timestamp) {
        self.places.insert(place.1, (lane, place));
        self.shelves[lane].put(place, Message { visible_at: now, ..message }, now);
        self.note(lane, now);
        // somebody may wait for it
        self.shelves[lane].news.notify_one();
    }

    /// When a receive of this queue would find something: now, later, or never.
    fn next_visible(&self, queue: &Queue, now: Timestamp) -> Option<Timestamp> {
        let lane = &self.shelves[queue.lane];
        if lane.visible.is_empty() { lane.hidden.first().map(|(due, _)| *due) } else { Some(now) }
    }

    /// The message a receipt stands for, if its lease still holds; none where the message is gone.
    fn leased(&mut self, queue: &Queue, (seq, lease): (u64, u64), now: Timestamp) -> Held {
        self.pass(queue, now);
        let Some((lane, place)) = self.places.get(&seq).copied() else { return Held::Gone };
        match self.shelves[lane].messages.get(&place) {
            Some(message) if message.lease == lease && message.visible_at > now => Held::Ours(lane, place),
            _ => Held::Lost,
        }
    }
}

/// How a receipt relates to its message.
enum Held {
    Ours(usize, Place),
    Lost,
    Gone,
}

fn delivery((sent_at, seq): Place, message: &Message, now: Timestamp) -> Delivery {
    Delivery {
        message_id: seq.to_string(),
        body: message.body.clone(),
        receipt: Receipt(format!("{seq}-{}", message.lease)),
        receive_count: message.receives,
        sent_at,
        waited: now.since(sent_at),
    }
}

fn parse(operation: &'static str, receipt: &Receipt) -> Result<(u64, u64)> {
    receipt
        .0
        .split_once('-')
        .and_then(|(seq, lease)| Some((seq.parse().ok()?, lease.parse().ok()?)))
        .ok_or_else(|| Error::new(Kind::Invalid, operation, format!("no receipt: `{}`", receipt.0)))
}

/// After so long a message that is given to two is given to the second.
const GIVEN_TWICE: Duration = Duration::from_millis(1);

/// Most messages that are late are so by seconds, one in ten by minutes.
fn late_by(draw: u64) -> Duration {
    Duration::from_millis(if draw.is_multiple_of(10) { draw / 10 % 600_000 } else { draw / 10 % 20_000 })
}

fn expired(operation: &'static str) -> Error {
    Error::new(Kind::Expired, operation, "the lease has run out, or somebody else holds the message")
}

impl Queue {
    /// The same queue as another process reaches it.
    #[must_use]
    pub fn over(&self, wire: Wire) -> Queue {
        Queue { wire, ..self.clone() }
    }

    /// In some worlds a lease ends before its time.
    fn cut_short(&self, state: &mut State, lease: (u64, u64), now: Timestamp) {
        let Held::Ours(lane, place) = state.leased(self, lease, now) else { return };
        let (natural, who) = (&self.shared.natural, self.wire.who());
        if natural.odd(Odd::LeaseCutShort, who).is_some()
            && let Some(message) = state.shelves[lane].take(place)
        {
            natural.saw(who, Event::Extended { queue: &self.settings.name, message: place.1, until: now.0 });
            state.shelves[lane].put(place, Message { visible_at: now, ..message }, now);
        }
    }

    fn lock(&self) -> (MutexGuard<'_, State>, Timestamp) {
        (self.shared.state.lock().unwrap_or_else(PoisonError::into_inner), self.shared.clock.now())
    }

    /// A message will be visible after so long: those who wait may think that there is none for longer.
    fn tell(&self, hidden: Duration) {
        if hidden < MAX_WAIT {
            self.news.notify_waiters();
        }
    }
}

impl Api for Queue {
    async fn send(&self, body: String, delay: Duration) -> Result<()> {
        let (natural, who) = (&self.shared.natural, self.wire.who());
        let body = natural.written(who, &self.settings.name, &body).unwrap_or(body);
        let late = natural.odd(Odd::Late, who).map_or(Duration::ZERO, late_by);
        let delay = (delay + late).min(MAX_DELAY);
        {
            let (mut state, now) = self.lock();
            state.pass(self, now);
            state.last += 1;
            let place = (now, state.last);
            let late = !delay.is_zero();
            natural.saw(who, Event::Sent { queue: &self.settings.name, message: place.1, late, body: &body });
            let message = Message { body, visible_at: now.plus(delay), receives: 0, lease: 0 };
            state.places.insert(place.1, (self.lane, place));
            state.shelves[self.lane].put(place, message, now);
            state.note(self.lane, now);
        }
        if delay.is_zero() {
            self.news.notify_one();
        } else {
            self.tell(delay);
        }
        Ok(())
    }

    async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        let end = Instant::now() + wait;
        loop {
            // made before the look, so that nothing falls between the two
            let changed = self.news.notified();
            let due = {
                let (mut state, now) = self.lock();
                if stop.is_cancelled() {
                    return Ok(Vec::new());
                }
                state.pass(self, now);
                let taken = state.receive(self, max, now);
                if !taken.is_empty() {
                    drop(state);
                    self.tell(self.settings.visibility);
                    return Ok(taken);
                }
                state.next_visible(self, now).map(|at| Instant::now() + at.since(now))
            };
            if Instant::now() >= end {
                return Ok(Vec::new());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = changed => {}
                () = tokio::time::sleep_until(due.map_or(end, |due| due.min(end))) => {}
            }
        }
    }

    async fn delete(&self, receipt: &Receipt) -> Result<()> {
        let lease = parse("queue.delete", receipt)?;
        let (mut state, now) = self.lock();
        self.cut_short(&mut state, lease, now);
        match state.leased(self, lease, now) {
            Held::Ours(lane, place) => {
                let (natural, who) = (&self.shared.natural, self.wire.who());
                let again = natural.odd(Odd::Resurrected, who).map(|draw| now.plus(late_by(draw)));
                let (queue, comes_again) = (self.settings.name.as_str(), again.is_some());
                natural.saw(who, Event::Deleted { queue, message: place.1, comes_again });
                let deleted = state.shelves[lane].take(place);
                match (deleted, again) {
                    // the receipt that deleted it is worth nothing any more
                    (Some(message), Some(visible_at)) => {
                        let lease = message.lease + 1;
                        state.shelves[lane].put(place, Message { visible_at, lease, ..message }, now);
                    }
                    _ => {
                        state.places.remove(&place.1);
                    }
                }
                state.note(lane, now);
                Ok(())
            }
            Held::Lost => Err(expired("queue.delete")),
            Held::Gone => Ok(()),
        }
    }

    async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<()> {
        let lease = parse("queue.extend", receipt)?;
        {
            let (mut state, now) = self.lock();
            self.cut_short(&mut state, lease, now);
            let Held::Ours(lane, place) = state.leased(self, lease, now) else {
                return Err(expired("queue.extend"));
            };
            let (queue, until) = (self.settings.name.as_str(), now.plus(visibility).0);
            self.shared.natural.saw(self.wire.who(), Event::Extended { queue, message: place.1, until });
            if let Some(message) = state.shelves[lane].take(place) {
                let message = Message { visible_at: now.plus(visibility), ..message };
                state.shelves[lane].put(place, message, now);
                state.note(lane, now);
            }
        }
        self.tell(visibility);
        Ok(())
    }

    async fn depth(&self) -> Result<Depth> {
        let (mut state, now) = self.lock();
        state.pass(self, now);
        let age = state.late.age(now);
        let lane = &state.shelves[self.lane];
        let depth = if age.is_zero() { lane.depth() } else { lane.past.at(now.minus(age)) };
        Ok(self.shared.natural.counted(&self.settings.name, depth))
    }
}
