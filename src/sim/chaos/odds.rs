//! What edges in memory ask of the faults, and tell them.

use super::{Chaos, Fault, State, What};
use crate::edge;
use crate::edge::nature::{Event, Nature, Odd};
use crate::edge::queue::Depth;
use crate::edge::wire::Leg;

/// What a newer version of this program might put before the fields that are known.
const NEWER_FIELDS: &str = "{\"newer\":{\"field\":[1,null,\"x\"]},";

/// What a bucket of calls holds at most and gets in a second, in thousandths of a call.
const fn ration(operation: &str) -> Option<(&'static str, u64, u64)> {
    match operation.as_bytes() {
        b"fleet.launch" => Some(("launches", 2000, 100)),
        b"fleet.list" => Some(("lists", 5000, 300)),
        b"fleet.terminate" => Some(("ends", 2000, 100)),
        _ => None,
    }
}

impl Chaos {
    fn is_now(&self, what: impl Fn(What) -> bool) -> bool {
        let at = self.at();
        !self.is_calm() && self.plan.iter().any(|timed| what(timed.what) && (timed.from..timed.to).contains(&at))
    }

    /// A call of a fleet that finds its bucket empty, while calls are rationed.
    pub(super) fn rationed(&self, operation: &'static str, leg: Leg) -> Option<crate::sim::Fault> {
        let (name, most, a_second) = ration(operation).filter(|_| leg == Leg::There)?;
        if !self.is_now(|what| what == What::Rationed) {
            return None;
        }
        let (at, mut state) = (self.at(), self.state());
        let (left, then) = state.rations.get(name).copied().unwrap_or((most, at));
        let filled = (left + (at - then) * a_second / 1000).min(most);
        // what does not make a thousandth yet is not lost: the clock of a bucket stands until it does
        let then = if filled > left || filled == most { at } else { then };
        let after = filled.checked_sub(1000);
        state.rations.insert(name, (after.unwrap_or(filled), then));
        if after.is_none() {
            state.truth.count("call that found its bucket empty");
        }
        after.is_none().then_some(crate::sim::Fault::Fail(edge::Kind::Throttled))
    }

    /// A text as a newer program writes it; a message may have times in it that cannot be.
    fn odd_text(&self, who: &str, message: bool, text: &str) -> Option<String> {
        let mut odd = None;
        let told = text.contains("\"kind\":\"report\"") || text.contains("\"timings_ms\"");
        if message
            && told
            && let Some(draw) = self.happens(Fault::AbsurdTimes, who)
        {
            odd = absurd(text, draw);
        }
        if self.happens(Fault::NewerFields, who).is_some() {
            odd = Some(odd.as_deref().unwrap_or(text).replacen('{', NEWER_FIELDS, 1));
        }
        odd
    }
}

/// A report or a response whose times are zero, huge, or no number.
fn absurd(text: &str, draw: u64) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_str(text).ok()?;
    let any = |n: u64| match draw >> (2 * n) & 3 {
        0 => 0.into(),
        1 => u64::MAX.into(),
        2 => 1.into(),
        _ => (1u64 << 40).into(),
    };
    match value.get_mut("timings_ms").and_then(serde_json::Value::as_object_mut) {
        // not a number has no word in JSON but this
        Some(times) => times.values_mut().for_each(|time| {
            *time = if draw.is_multiple_of(3) { serde_json::Value::Null } else { 1e300.into() };
        }),
        None => {
            for (n, field) in (0..).zip(["jobs", "busy_ms", "idle_ms", "boot_ms"]) {
                *value.get_mut(field)? = any(n);
            }
        }
    }
    serde_json::to_string(&value).ok()
}

impl Nature for Chaos {
    /// `who`: of [`Odd::NoCapacity`] the place.
    fn odd(&self, odd: Odd, who: &str) -> Option<u64> {
        if odd == Odd::NoCapacity {
            let full = |what: What| what == What::NoCapacity || matches!(what, What::FullPlace(place) if place == who);
            if self.is_now(full) || self.state().full == Some(who) {
                return Some(0);
            }
        }
        self.happens(Fault::Edge(odd), who)
    }

    fn counted(&self, queue: &str, exact: Depth) -> Depth {
        let at = self.at();
        let glitch = self.happens(Fault::CountGlitch, queue).is_some();
        let lag = if glitch { Some(60_000) } else { self.happens(Fault::CountLag, queue).map(|draw| draw % 8000) };
        let mut state = self.state();
        let counts = state.counts.entry(queue.to_owned()).or_default();
        counts.push_back((at, exact));
        while counts.len() > 64 {
            counts.pop_front();
        }
        let Some(lag) = lag else { return exact };
        counts.iter().rev().find(|(then, _)| then + lag <= at).or(counts.front()).map_or(exact, |(_, depth)| *depth)
    }

    /// Messages and answers; the control object is not its leader's alone: see [`What::NewerPause`].
    fn written(&self, who: &str, whereto: &str, text: &str) -> Option<String> {
        let message = whereto.ends_with("_queue");
        if message || whereto.starts_with("results/") { self.odd_text(who, message, text) } else { None }
    }

    fn saw(&self, who: &str, event: Event<'_>) {
        let (at, mut state) = (self.at(), self.state());
        let State { truth, record, .. } = &mut *state;
        match event {
            Event::Put { bucket, key, existed, .. } => {
                record.line(at, who, format_args!("put {bucket} {key}{}", if existed { " again" } else { "" }));
            }
            Event::Sent { queue, message, body, .. } => {
                record.line(
                    at,
                    who,
                    format_args!("sent {queue} {message} {}", if record.lines.is_some() { body } else { "" }),
                );
            }
            Event::Listed { instances } => record.line(at, who, format_args!("listed {}", instances.len())),
            other => record.line(at, who, format_args!("{other:?}")),
        }
        truth.saw(at, who, &event);
    }
}
