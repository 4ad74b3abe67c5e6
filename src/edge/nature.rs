//! What edges in memory ask of a simulated world, and tell it: SQS, S3 and EC2 do more than their callers ask for. By
//! default nothing odd happens and nobody listens.

use super::queue::Depth;
use bellows_core::pool::{Instance, InstanceId, LaunchToken, Named};
use std::fmt::Debug;
use std::sync::Arc;

/// What the documents of the services allow, and callers must bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Odd {
    /// A receive takes another one of the visible messages than the oldest.
    OutOfOrder,
    /// A receive brings fewer messages than there are.
    PartialBatch,
    /// A message is given to somebody and stays visible.
    Duplicate,
    /// A message that was deleted is delivered again.
    Resurrected,
    /// A message is visible only later.
    Late,
    /// A lease ends before its time.
    LeaseCutShort,
    /// A launch finds no capacity where it was to go: this is asked of a place, not of who calls.
    NoCapacity,
    /// A launch brings fewer instances than it was asked for.
    PartialLaunch,
}

/// What took effect at an edge. `queue` and `bucket` are names, `message` a message's number.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// `late`: others see it some time after.
    Sent {
        queue: &'a str,
        message: u64,
        late: bool,
        body: &'a str,
    },
    /// `until`: milliseconds of the world's clock at which the lease runs out.
    Received {
        queue: &'a str,
        message: u64,
        receives: u32,
        until: u64,
    },
    Extended {
        queue: &'a str,
        message: u64,
        until: u64,
    },
    Deleted {
        queue: &'a str,
        message: u64,
        comes_again: bool,
    },
    /// It was received as often as it may be.
    Buried {
        queue: &'a str,
        message: u64,
    },
    /// `existed`: something was there before.
    Put {
        bucket: &'a str,
        key: &'a str,
        bytes: &'a [u8],
        existed: bool,
    },
    Got {
        bucket: &'a str,
        key: &'a str,
        found: bool,
    },
    /// `place`: where; empty where there is but one.
    Launched {
        named: &'a Named,
        place: &'a str,
    },
    NotLaunched {
        place: &'a str,
        token: LaunchToken,
    },
    Listed {
        instances: &'a [Instance],
    },
    Terminated {
        instance: &'a InstanceId,
    },
    /// It is gone.
    Ended {
        instance: &'a InstanceId,
    },
}

/// A simulated world, as edges see it. `who` is the process that calls.
pub trait Nature: Debug + Send + Sync {
    /// Whether this happens now: then a random number with it.
    fn odd(&self, odd: Odd, who: &str) -> Option<u64>;

    /// What a reader of counters gets where `exact` is the truth.
    fn counted(&self, queue: &str, exact: Depth) -> Depth;

    /// What really is written where `text` was to be: `whereto` is a queue's name or an object's key.
    fn written(&self, who: &str, whereto: &str, text: &str) -> Option<String>;

    fn saw(&self, who: &str, event: Event<'_>);
}

/// The world around an edge in memory, if there is one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Natural(Option<Arc<dyn Nature>>);

impl Natural {
    pub fn new(nature: Arc<dyn Nature>) -> Natural {
        Natural(Some(nature))
    }

    pub(super) fn odd(&self, odd: Odd, who: &str) -> Option<u64> {
        self.0.as_ref()?.odd(odd, who)
    }

    pub(super) fn counted(&self, queue: &str, exact: Depth) -> Depth {
        self.0.as_ref().map_or(exact, |nature| nature.counted(queue, exact))
    }

    /// Something else than `text`, where that is written.
    pub(super) fn written(&self, who: &str, whereto: &str, text: &str) -> Option<String> {
        self.0.as_ref()?.written(who, whereto, text)
    }

    pub(super) fn saw(&self, who: &str, event: Event<'_>) {
        if let Some(nature) = &self.0 {
            nature.saw(who, event);
        }
    }
}
