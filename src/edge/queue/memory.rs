//! Queues in memory, for the simulator and for tests: no thread, no file, and the same order in every run.

use super::{Api, Delivery, Depth, MAX_DELAY, Receipt, Settings};
use crate::edge::host::Clock;
use crate::edge::nature::{Event, Natural, Odd};
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
    natural: Natural,
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
        Store::within(clock, Natural::default())
    }

    /// A store in a simulated world.
    pub fn within(clock: Clock, natural: Natural) -> Store {
        Store { shared: Arc::new(Shared { clock, natural, state: Mutex::default(), changed: Notify::new() }) }
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
    fn receive(&mut self, settings: &Settings, max: usize, now: Timestamp, by: &Hands<'_>) -> (Vec<Delivery>, bool) {
        let max = by.natural.odd(Odd::PartialBatch, by.who).map_or(max, |draw| 1 + draw as usize % max);
        let queue = self.queue(settings, now);
        let (mut taken, mut dead) = (Vec::new(), Vec::new());
        let mut visible: Vec<_> = queue.iter_mut().filter(|(_, message)| message.visible(now)).collect();
        while taken.len() < max && !visible.is_empty() {
            let among = visible.len();
            let odd = if among > 1 { by.natural.odd(Odd::OutOfOrder, by.who) } else { None };
            let (place, message) = visible.remove(odd.map_or(0, |draw| draw as usize % among));
            if settings.dead_letters.as_ref().is_some_and(|(most, _)| message.receives >= *most) {
                dead.push(*place);
                continue;
            }
            message.receives += 1;
            message.lease += 1;
            if by.natural.odd(Odd::Duplicate, by.who).is_none() {
                message.visible_at = now.plus(settings.visibility);
            }
            let (receives, until) = (message.receives, message.visible_at.0);
            by.natural.saw(by.who, Event::Received { queue: &settings.name, message: place.1, receives, until });
            taken.push(delivery(*place, message, now));
        }
        for place in &dead {
            by.natural.saw(by.who, Event::Buried { queue: &settings.name, message: place.1 });
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

/// Who receives, and in which world.
struct Hands<'a> {
    natural: &'a Natural,
    who: &'a str,
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

/// What a newer version of this program might put before the fields that are known.
const NEWER_FIELDS: &str = "{\"newer\":{\"field\":[1,null,\"x\"]},";

/// Most messages that are late are so by seconds, one in ten by minutes.
fn late_by(draw: u64) -> Duration {
    Duration::from_millis(if draw % 10 == 0 { draw / 10 % 600_000 } else { draw / 10 % 20_000 })
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
        let Held::Ours(name, place) = state.leased(&self.settings, lease, now) else { return };
        if self.shared.natural.odd(Odd::LeaseCutShort, self.wire.who()).is_some()
            && let Some(message) = state.queues.get_mut(&name).and_then(|queue| queue.get_mut(&place))
        {
            message.visible_at = now;
        }
    }

    fn lock(&self) -> (MutexGuard<'_, State>, Timestamp) {
        (self.shared.state.lock().unwrap_or_else(PoisonError::into_inner), self.shared.clock.now())
    }
}

impl Api for Queue {
    async fn send(&self, body: String, delay: Duration) -> Result<()> {
        {
            let (mut state, now) = self.lock();
            let (natural, who) = (&self.shared.natural, self.wire.who());
            let newer = natural.odd(Odd::NewerFields, who).is_some();
            let body = if newer { body.replacen('{', NEWER_FIELDS, 1) } else { body };
            let late = natural.odd(Odd::Late, who).map_or(Duration::ZERO, |draw| late_by(draw));
            let delay = (delay + late).min(MAX_DELAY);
            state.last += 1;
            let place = (now, state.last);
            natural.saw(who, Event::Sent { queue: &self.settings.name, message: state.last, body: &body });
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
                let hands = Hands { natural: &self.shared.natural, who: self.wire.who() };
                let (taken, buried) = state.receive(&self.settings, max, now, &hands);
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
        self.cut_short(&mut state, lease, now);
        match state.leased(&self.settings, lease, now) {
            Held::Ours(name, place) => {
                let (natural, who) = (&self.shared.natural, self.wire.who());
                let again = natural.odd(Odd::Resurrected, who).map(|draw| now.plus(late_by(draw)));
                let (queue, comes_again) = (self.settings.name.as_str(), again.is_some());
                natural.saw(who, Event::Deleted { queue, message: place.1, comes_again });
                if let Some(message) = state.queues.get_mut(&name).and_then(|queue| queue.get_mut(&place))
                    && let Some(again) = again
                {
                    // the receipt that deleted it is worth nothing any more
                    (message.visible_at, message.lease) = (again, message.lease + 1);
                    return Ok(());
                }
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
            self.cut_short(&mut state, lease, now);
            let Held::Ours(name, place) = state.leased(&self.settings, lease, now) else {
                return Err(expired("queue.extend"));
            };
            let (queue, until) = (self.settings.name.as_str(), now.plus(visibility).0);
            self.shared.natural.saw(self.wire.who(), Event::Extended { queue, message: place.1, until });
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
        Ok(self.shared.natural.counted(&self.settings.name, depth))
    }
}
