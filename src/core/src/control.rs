//! The control object `control/pool.json`: what the leader of the pool must not forget, and its lease.
//!
//! It changes only by compare-and-swap. Whoever leads writes it through [`Leader`]; `bellows pause` changes only
//! `pause` of what it read. Fields that this version does not know are kept as they are.

mod claim;
mod intent;
mod leader;
#[cfg(test)]
mod tests;

pub use claim::{Claim, Next, Watch};
pub use intent::{Intent, IntentError, MAX_IDS, Settlement, Spec};
pub use leader::{Attempt, Idle, Leader, Permit, Standing};

use crate::estimate::Estimates;
use crate::message::{Epoch, VERSION};
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A challenger takes over after it has seen no change for so long.
pub const TTL: Duration = Duration::from_mins(1);
/// The leader writes at least this often: a worker compares expiries with a `renewed_at` no older than this.
pub const RENEW_EVERY: Duration = Duration::from_secs(20);

/// How often workers are to report: `least`, and in large pools so seldom that twenty reports come in a second.
pub fn report_every(least: Duration, live: u32) -> Duration {
    least.max(Duration::from_secs(1) * live / 20)
}

/// The contents of the control object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub v: u32,
    pub epoch: Epoch,
    /// Who leads: an instance id, or a random name on one machine.
    pub owner: String,
    /// Counts the leader's writes, so that a write whose outcome is not known is recognised when it is read back.
    #[serde(default)]
    pub revision: u64,
    /// The leader's wall clock at its last write. Terminate requests expire by this clock and no other.
    pub renewed_at: Timestamp,
    /// Set: nothing is launched, cancelled, asked to end or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Launches that are under way, and instances they brought that are not seen to be gone.
    #[serde(default)]
    pub intents: Vec<Intent>,
    /// How often a worker reports, in milliseconds.
    #[serde(default)]
    pub report_every_ms: u64,
    /// What was measured. A broken value is worth less than the object: it reads as nothing measured.
    #[serde(default, deserialize_with = "lenient")]
    pub estimates: Estimates,
    /// Whatever a newer version wrote beside these.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Version {
    v: Option<u64>,
}

/// The fields of [`Control`] that workers read.
#[derive(Deserialize)]
struct Glance {
    v: u32,
    epoch: Epoch,
    owner: String,
    #[serde(default)]
    revision: u64,
    renewed_at: Timestamp,
    #[serde(default)]
    pause: Option<Pause>,
    #[serde(default)]
    report_every_ms: u64,
}

/// Why the pool stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: Timestamp,
    /// Who paused it, for people who wonder.
    #[serde(default)]
    pub by: String,
}

/// The control object does not read. It is not overwritten: it may hold launches that somebody pays for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the control object does not read: {0}")]
    Broken(String),
    #[error("the control object has version {0}, expected {VERSION}: a newer bellows leads this pool")]
    OtherVersion(u64),
}

fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Estimates, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Control {
    /// Reads the object's bytes. Never panics, whatever they are.
    pub fn parse(bytes: &[u8]) -> Result<Control, Unreadable> {
        let broken = |e: serde_json::Error| Unreadable::Broken(e.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(broken)?;
        match value.get("v").and_then(serde_json::Value::as_u64) {
            Some(v) if v == u64::from(VERSION) => serde_json::from_value(value).map_err(broken),
            Some(v) => Err(Unreadable::OtherVersion(v)),
            None => Err(Unreadable::Broken("no version field `v`".into())),
        }
    }

    /// What a worker needs of the object's bytes: all but launches, measurements and unknown fields. Thousands of workers
    /// read what grows with their number; most of that is no business of theirs. Not to be written back.
    pub fn glance(bytes: &[u8]) -> Result<Control, Unreadable> {
        let broken = |e: serde_json::Error| Unreadable::Broken(e.to_string());
        match serde_json::from_slice::<Version>(bytes).map_err(broken)?.v {
            Some(v) if v == u64::from(VERSION) => {}
            Some(v) => return Err(Unreadable::OtherVersion(v)),
            None => return Err(Unreadable::Broken("no version field `v`".into())),
        }
        let Glance { v, epoch, owner, revision, renewed_at, pause, report_every_ms } =
            serde_json::from_slice(bytes).map_err(broken)?;
        let (intents, estimates, rest) = Default::default();
        Ok(Control { v, epoch, owner, revision, renewed_at, pause, intents, report_every_ms, estimates, rest })
    }

    /// The object's bytes: the same contents always give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // writing plain data to memory does not fail
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// This object with pause set or lifted and nothing else changed: what `bellows pause` writes over what it read.
    /// A pause that stands keeps its beginning.
    #[must_use]
    pub fn with_pause(mut self, pause: Option<Pause>) -> Control {
        if self.pause.is_none() || pause.is_none() {
            self.pause = pause;
        }
        self
    }

    pub fn report_every(&self) -> Duration {
        Duration::from_millis(self.report_every_ms)
    }

    pub fn intents_unsettled(&self) -> impl Iterator<Item = &Intent> {
        self.intents.iter().filter(|intent| !intent.settled)
    }
}
