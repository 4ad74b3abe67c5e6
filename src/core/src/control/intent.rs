//! Launch intents: what is written down before anything is launched, so that whoever leads next knows of it.

use crate::message::Epoch;
use crate::pool::{AppTierId, Instance, LaunchToken, Named, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most ids of one intent: they travel in one tag value of at most 256 characters.
pub const MAX_IDS: usize = 40;

/// One launch. Repeated unchanged until its outcome is known: the token makes that harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub token: LaunchToken,
    /// The n-th instance of the launch gets the n-th id. Once settled by an answer: only the ids it gave an instance.
    pub ids: Vec<AppTierId>,
    pub epoch: Epoch,
    #[serde(default)]
    pub spec: Spec,
    /// Whether it is known which instances the launch brought.
    #[serde(default)]
    pub settled: bool,
    #[serde(default)]
    pub instances: Vec<Named>,
}

/// With what the launch is called: a repetition uses exactly these values. Empty where the fleet has no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template_version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance_type: String,
    /// A launch token counts within one zone, and a subnet lies in one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// From spare capacity that may be taken away again, and costs less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spot: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// How an intent is settled. There is no variant for "not known": that settles nothing, and the launch is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// A definite answer: these instances and no others, none at all where it was a refusal. Ids that got none are
    /// free at once.
    Answered(Vec<Named>),
    /// A list shows these; it may not show all yet. Ids without an instance stay taken for the time of grace.
    Listed(Vec<Named>),
}

impl Settlement {
    /// What a list that is right only in the end (EC2) says of a launch. Nothing found is no settlement.
    pub fn from_list(token: LaunchToken, listed: &[Instance]) -> Option<Settlement> {
        let found: Vec<Named> = listed.iter().filter(|i| i.token == Some(token)).map(Named::from).collect();
        if found.is_empty() { None } else { Some(Settlement::Listed(found)) }
    }

    /// What an exact list (the locks of one machine) says of a launch that nobody is carrying out any more.
    pub fn from_exact_list(intent: &Intent, listed: &[Instance]) -> Settlement {
        let live = listed.iter().filter(|i| i.state != State::Terminated && intent.ids.contains(&i.app_tier_id));
        Settlement::Answered(live.map(Named::from).collect())
    }
}

/// Why an intent is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    #[error("an intent names 1 to {MAX_IDS} ids, this one {0}")]
    Ids(usize),
    #[error("app-tier id {} is taken by another launch or named twice", .0.0)]
    Taken(AppTierId),
    #[error("a launch token is used once")]
    TokenUsed,
    #[error("the permit is of another epoch")]
    NoLeave,
}

impl Spec {
    /// Whether it goes to one of several places; else the launch template says where.
    pub fn names_place(&self) -> bool {
        !self.instance_type.is_empty() || !self.subnet.is_empty()
    }
}

impl Intent {
    pub(super) fn new(
        token: LaunchToken,
        ids: &[AppTierId],
        epoch: Epoch,
        spec: Spec,
        others: &[Intent],
    ) -> Result<Intent, IntentError> {
        if ids.is_empty() || ids.len() > MAX_IDS {
            return Err(IntentError::Ids(ids.len()));
        }
        if others.iter().any(|other| other.token == token) {
            return Err(IntentError::TokenUsed);
        }
        // a settled intent's instances are the roster's affair: they go there when the list shows it
        let mut ids_taken: BTreeSet<AppTierId> =
            others.iter().filter(|other| !other.settled).flat_map(|other| other.ids.iter().copied()).collect();
        for id in ids {
            if !ids_taken.insert(*id) {
                return Err(IntentError::Taken(*id));
            }
        }
        Ok(Intent { token, ids: ids.to_vec(), epoch, spec, settled: false, instances: Vec::new() })
    }

    /// Takes in what became of the launch; the same twice, and a list before or after the answer, do no harm.
    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let (Settlement::Answered(named) | Settlement::Listed(named)) = settlement;
        for new in named {
            if !self.instances.iter().any(|known| known.instance_id == new.instance_id) {
                self.instances.push(new.clone());
            }
        }
        if matches!(settlement, Settlement::Answered(_)) {
            self.ids.retain(|id| self.instances.iter().any(|named| named.app_tier_id == *id));
        }
        self.settled = true;
    }

    /// Ids for which no instance is known (yet).
    pub fn ids_without_instance(&self) -> impl Iterator<Item = AppTierId> {
        self.ids.iter().copied().filter(|id| !self.instances.iter().any(|named| named.app_tier_id == *id))
    }
}
