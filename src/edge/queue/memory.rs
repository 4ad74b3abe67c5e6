//! Queues in memory, for the simulator and for tests: no thread, no file, and the same order in every run.

use super::{Api, Delivery, Depth, MAX_DELAY, Receipt, Settings};
use crate::edge::host::Clock;
use crate::edge::wire::Wire;
use crate::edge::{Error, Kind, Result};
use bellows_core::time::Timestamp;
use std::collections::BTreeMap;
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
    /// Told of every change that may make a message visible, now or later.
    changed: Notify,
}

/// A queue of a store.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    pub(super) wire: Wire,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    queues: BTreeMap<String, BTreeMap<Place, Message>>,
    /// Which queue each message is in, and where.
    places: BTreeMap<u64, (String, Place)>,
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

impl Store {
    pub fn new(clock: Clock) -> Store {
        Store { shared: Arc::new(Shared { clock, state: Mutex::default(), changed: Notify::new() }) }
    }

    /// A queue of this store, made where it is not.
    pub fn queue(&self, settings: Settings) -> Result<Queue> {
        settings.check()?;
        Ok(Queue { shared: Arc::clone(&self.shared), settings: Arc::new(settings), wire: Wire::default() })
    }
}

impl State {
    /// The messages of a queue, those past their retention removed.
    fn queue(&mut self, settings: &Settings, now: Timestamp) -> &mut BTreeMap<Place, Message> {
        let queue = self.queues.entry(settings.name.clone()).or_default();
        let kept = queue.split_off(&(now.minus(settings.retention), 0));
        for (_, seq) in std::mem::replace(queue, kept).into_keys() {
            self.places.remove(&seq);
        }
        queue
    }

    /// What the receive gives, and whether it found dead letters.
    fn receive(&mut self, settings: &Settings, max: usize, now: Timestamp) -> (Vec<Delivery>, bool) {
        let queue = self.queue(settings, now);
        let (mut taken, mut dead) = (Vec::new(), Vec::new());
        for (place, message) in queue.iter_mut().filter(|(_, message)| message.visible(now)) {
            if taken.len() == max {
                break;
            }
            if settings.dead_letters.as_ref().is_some_and(|(most, _)| message.receives >= *most) {
                dead.push(*place);
                continue;
            }
            message.receives += 1;
            message.lease += 1;
            message.visible_at = now.plus(settings.visibility);
            taken.push(delivery(*place, message, now));
        }
        for place in &dead {
            self.bury(settings, *place, now);
        }
        (taken, !dead.is_empty())
    }

    /// Moves a message to the dead letters, where it is visible at once.
    fn bury(&mut self, settings: &Settings, place: Place, now: Timestamp) {
        let Some((_, dead_letters)) = &settings.dead_letters else { return };
        let message = self.queues.get_mut(&settings.name).and_then(|queue| queue.remove(&place));
        let Some(message) = message else { return };
        let buried = self.queues.entry(dead_letters.clone()).or_default();
        buried.insert(place, Message { visible_at: now, ..message });
        self.places.insert(place.1, (dead_letters.clone(), place));
    }

    /// When a receive of this queue would find something: now, later, or never.
    fn next_visible(&mut self, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
        let queue = self.queue(settings, now);
        queue.values().map(|message| if message.visible(now) { now } else { message.visible_at }).min()
    }

    /// The message a receipt stands for, if its lease still holds; none where the message is gone.
    fn leased(&mut self, settings: &Settings, (seq, lease): (u64, u64), now: Timestamp) -> Held {
        self.queue(settings, now);
        let Some((name, place)) = self.places.get(&seq).cloned() else { return Held::Gone };
        match self.queues.get(&name).and_then(|queue| queue.get(&place)) {
            Some(message) if message.lease == lease && message.visible_at > now => Held::Ours(name, place),
            _ => Held::Lost,
        }
    }
}

/// How a receipt relates to its message.
enum Held {
    Ours(String, Place),
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
}

impl Api for Queue {
    async fn send(&self, body: String, delay: Duration) -> Result<()> {
        {
            let (mut state, now) = self.lock();
            state.last += 1;
            let place = (now, state.last);
            let message = Message { body, visible_at: now.plus(delay), receives: 0, lease: 0 };
            state.queue(&self.settings, now).insert(place, message);
            state.places.insert(place.1, (self.settings.name.clone(), place));
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn receive(&self, max: usize, wait: Duration, stop: &CancellationToken) -> Result<Vec<Delivery>> {
        let end = Instant::now() + wait;
        loop {
            // made before the look, so that nothing falls between the two
            let changed = self.shared.changed.notified();
            let due = {
                let (mut state, now) = self.lock();
                if stop.is_cancelled() {
                    return Ok(Vec::new());
                }
                let (taken, buried) = state.receive(&self.settings, max, now);
                if buried {
                    // somebody may wait for them
                    self.shared.changed.notify_waiters();
                }
                if !taken.is_empty() {
                    return Ok(taken);
                }
                state.next_visible(&self.settings, now).map(|at| Instant::now() + at.since(now))
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
        match state.leased(&self.settings, lease, now) {
            Held::Ours(name, place) => {
                state.places.remove(&place.1);
                state.queues.get_mut(&name).map(|queue| queue.remove(&place));
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
            let Held::Ours(name, place) = state.leased(&self.settings, lease, now) else {
                return Err(expired("queue.extend"));
            };
            if let Some(message) = state.queues.get_mut(&name).and_then(|queue| queue.get_mut(&place)) {
                message.visible_at = now.plus(visibility);
            }
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn depth(&self) -> Result<Depth> {
        let (mut state, now) = self.lock();
        let mut depth = Depth::default();
        for message in state.queue(&self.settings, now).values() {
            let count = match (message.visible(now), message.receives) {
                (true, _) => &mut depth.visible,
                (false, 0) => &mut depth.delayed,
                (false, _) => &mut depth.in_flight,
            };
            *count += 1;
        }
        Ok(depth)
    }
}
