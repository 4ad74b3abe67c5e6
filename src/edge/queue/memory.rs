//! Queues in memory, for the simulator and for tests: no thread, no file, and the same order in every run. What a call
//! costs does not depend on how much waits.

mod late;

pub use late::Late;

use super::{Api, Delivery, Depth, MAX_DELAY, MAX_WAIT, Receipt, Settings};
use crate::edge::host::Clock;
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
    state: Mutex<State>,
}

/// A queue of a store.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    stock: usize,
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
        Store { shared: Arc::new(Shared { clock, state: Mutex::new(State { late, ..State::default() }) }) }
    }

    /// A queue of this store, made where it is not.
    pub fn queue(&self, settings: Settings) -> Result<Queue> {
        settings.check()?;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stock = state.stock(&settings.name);
        let dead_letters = settings.dead_letters.as_ref().map_or(stock, |(_, name)| state.stock(name));
        let news = Arc::clone(&state.shelves[stock].news);
        let (shared, wire) = (Arc::clone(&self.shared), Wire::default());
        drop(state);
        Ok(Queue { shared, settings: Arc::new(settings), stock, dead_letters, news, wire })
    }
}

impl State {
    fn stock(&mut self, name: &str) -> usize {
        if let Some(stock) = self.names.get(name) {
            return *stock;
        }
        self.shelves.push(Shelf::default());
        self.names.insert(name.to_owned(), self.shelves.len() - 1);
        self.shelves.len() - 1
    }

    /// Brings a queue to this moment.
    fn pass(&mut self, queue: &Queue, now: Timestamp) {
        for (_, seq) in self.shelves[queue.stock].pass(&self.late, queue.settings.retention, now) {
            self.places.remove(&seq);
        }
    }

    /// Notes what the counters of a queue are from now on.
    fn note(&mut self, stock: usize, now: Timestamp) {
        let stock = &mut self.shelves[stock];
        stock.past.note(&self.late, now, stock.depth());
    }

    /// What the receive gives.
    fn receive(&mut self, queue: &Queue, max: usize, now: Timestamp) -> Vec<Delivery> {
        let (settings, mut taken) = (&queue.settings, Vec::new());
        while taken.len() < max
            && let Some(place) = self.shelves[queue.stock].visible.first().copied()
            && let Some(mut message) = self.shelves[queue.stock].take(place)
        {
            if settings.dead_letters.as_ref().is_some_and(|(most, _)| message.receives >= *most) {
                self.bury(queue.dead_letters, place, message, now);
                continue;
            }
            message.receives += 1;
            message.lease += 1;
            message.visible_at = now.plus(settings.visibility);
            taken.push(delivery(place, &message, now));
            self.shelves[queue.stock].put(place, message, now);
        }
        self.note(queue.stock, now);
        taken
    }

    /// Puts a message to the dead letters, where it is visible at once.
    fn bury(&mut self, stock: usize, place: Place, message: Message, now: Timestamp) {
        self.places.insert(place.1, (stock, place));
        self.shelves[stock].put(place, Message { visible_at: now, ..message }, now);
        self.note(stock, now);
        // somebody may wait for it
        self.shelves[stock].news.notify_one();
    }

    /// When a receive of this queue would find something: now, later, or never.
    fn next_visible(&self, queue: &Queue, now: Timestamp) -> Option<Timestamp> {
        let stock = &self.shelves[queue.stock];
        if stock.visible.is_empty() { stock.hidden.first().map(|(due, _)| *due) } else { Some(now) }
    }

    /// The message a receipt stands for, if its lease still holds; none where the message is gone.
    fn leased(&mut self, queue: &Queue, (seq, lease): (u64, u64), now: Timestamp) -> Held {
        self.pass(queue, now);
        let Some((stock, place)) = self.places.get(&seq).copied() else { return Held::Gone };
        match self.shelves[stock].messages.get(&place) {
            Some(message) if message.lease == lease && message.visible_at > now => Held::Ours(stock, place),
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

fn expired(operation: &'static str) -> Error {
    Error::new(Kind::Expired, operation, "the lease has run out, or somebody else holds the message")
}

impl Queue {
    /// The same queue as another process reaches it.
    #[must_use]
    pub fn over(&self, wire: Wire) -> Queue {
        Queue { wire, ..self.clone() }
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
        {
            let (mut state, now) = self.lock();
            state.pass(self, now);
            state.last += 1;
            let place = (now, state.last);
            let message = Message { body, visible_at: now.plus(delay), receives: 0, lease: 0 };
            state.places.insert(place.1, (self.stock, place));
            state.shelves[self.stock].put(place, message, now);
            state.note(self.stock, now);
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
        match state.leased(self, lease, now) {
            Held::Ours(stock, place) => {
                state.places.remove(&place.1);
                state.shelves[stock].take(place);
                state.note(stock, now);
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
            let Held::Ours(stock, place) = state.leased(self, lease, now) else {
                return Err(expired("queue.extend"));
            };
            if let Some(message) = state.shelves[stock].take(place) {
                let message = Message { visible_at: now.plus(visibility), ..message };
                state.shelves[stock].put(place, message, now);
                state.note(stock, now);
            }
        }
        self.tell(visibility);
        Ok(())
    }

    async fn depth(&self) -> Result<Depth> {
        let (mut state, now) = self.lock();
        state.pass(self, now);
        let age = state.late.age(now);
        let stock = &state.shelves[self.stock];
        Ok(if age.is_zero() { stock.depth() } else { stock.past.at(now.minus(age)) })
    }
}
