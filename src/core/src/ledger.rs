//! What was decided and why, for people: `/decisions`, `bellows why`, and the picture of queue and pool.
//!
//! Every decision is recorded with its inputs, rule, clamp and what was done. Decisions that repeat the one before in
//! every number are folded into it, so that a quiet night is one entry. The ledger is a ring: old entries go.

#[cfg(test)]
mod tests;
mod words;

use crate::message::Epoch;
use crate::pool::{Cause, InstanceId};
use crate::scale::{Actions, Clamp, Decision, Inputs, Rule};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// One entry. `at` and `until` are the leader's wall clock, for people; nothing compares them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts up by one with each entry; a gap at the front of the ring shows that older ones are gone.
    pub seq: u64,
    pub at: Timestamp,
    /// When it was last repeated, and how often.
    pub until: Timestamp,
    pub repeats: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    Decided(Decided),
    Happened(Happened),
}

/// A decision and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub demand: u64,
    pub need: u64,
    pub wanted: u32,
    pub active: i64,
    pub rule: Rule,
    pub clamp: Option<Clamp>,
    /// What was really done: requests deleted, instances launched, requests sent.
    pub done: Actions,
    /// What was to be done and was not: fewer requests could be taken back, or a launch failed.
    pub missed: Actions,
    /// What would have been done but for a pause, a dry run or the lease.
    pub withheld: Actions,
    pub inputs: Inputs,
}

/// What changes the pool without a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "happened", rename_all = "kebab-case")]
pub enum Happened {
    TookOver {
        epoch: Epoch,
    },
    Paused {
        by: String,
    },
    Resumed,
    /// An instance is ended by us.
    Ended {
        instance_id: InstanceId,
        cause: Cause,
    },
    /// An instance ended by itself, or by somebody else.
    Gone {
        instance_id: InstanceId,
    },
    LaunchFailed {
        detail: String,
    },
}

/// A bounded ring of entries.
#[derive(Clone, Debug)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    capacity: usize,
    next: u64,
}

impl Ledger {
    /// Keeps the newest `capacity` entries, one at least.
    pub fn new(capacity: usize) -> Ledger {
        Ledger { entries: VecDeque::new(), capacity: capacity.max(1), next: 0 }
    }

    /// Records a decision with what was really done of it. The entry it became: a new one, or the one it repeats.
    pub fn decided(&mut self, at: Timestamp, decision: &Decision, done: Actions) -> &Entry {
        let act = decision.act;
        let launches = act.launch.saturating_add(act.cancel.saturating_sub(done.cancel));
        let missed = Actions {
            cancel: act.cancel.saturating_sub(done.cancel),
            launch: launches.saturating_sub(done.launch),
            request: act.request.saturating_sub(done.request),
        };
        let what = What::Decided(Decided {
            demand: decision.demand,
            need: decision.need,
            wanted: decision.wanted,
            active: decision.active,
            rule: decision.rule,
            clamp: decision.clamp,
            done,
            missed,
            withheld: decision.withheld,
            inputs: decision.inputs,
        });
        self.push(at, what)
    }

    /// Records an event.
    pub fn happened(&mut self, at: Timestamp, event: Happened) -> &Entry {
        self.push(at, What::Happened(event))
    }

    fn push(&mut self, at: Timestamp, what: What) -> &Entry {
        let repeats = self.entries.back().is_some_and(|last| last.what == what && what.did_nothing());
        if repeats && let Some(last) = self.entries.back_mut() {
            last.until = at;
            last.repeats = last.repeats.saturating_add(1);
        } else {
            if self.entries.len() >= self.capacity {
                self.entries.pop_front();
            }
            self.entries.push_back(Entry { seq: self.next, at, until: at, repeats: 0, what });
            self.next = self.next.saturating_add(1);
        }
        // one was pushed just now, or was there to be repeated
        let newest = self.entries.len() - 1;
        &self.entries[newest]
    }

    /// The number that the next entry will have. The one before may still be repeated.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those that show a change, oldest first: what `bellows why` prints.
    pub fn interesting(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_interesting())
    }
}

impl Entry {
    /// Whether something was done, should have been done, or happened.
    pub fn is_interesting(&self) -> bool {
        !self.what.is_idle()
    }

    /// One line in plain words: demand, pool, rule, clamp, and what was done.
    pub fn words(&self) -> String {
        words::of(&self.what)
    }
}

impl What {
    /// Whether it is a decision of which nothing was done, or could be.
    fn did_nothing(&self) -> bool {
        match self {
            What::Decided(d) => d.done.is_none() && d.missed.is_none(),
            What::Happened(_) => false,
        }
    }

    /// Whether it is a decision to leave all as it is.
    fn is_idle(&self) -> bool {
        match self {
            What::Decided(d) => self.did_nothing() && d.withheld.is_none(),
            What::Happened(_) => false,
        }
    }
}
