//! Invariant 1: every accepted upload gets its own answer, exactly one.

use super::{About, Lease, Message, Name, Truth};
use bellows_core::answer::Answer;
use bellows_core::key::RequestId;
use bellows_core::message::{self, Notice, Parsed, Request, TerminateRequest};

/// Calls that were slow are over after so many milliseconds.
const SLOWEST: u64 = 15_000;
/// The way of a receive and the way back from a deletion, with the wait between.
const BOTH_WAYS: u64 = 25_000;

/// What an image of this world is: its file name says what is to be answered.
pub fn label(file: &str) -> String {
    format!("label of {file}")
}

impl Truth {
    pub(super) fn sent(&mut self, at: u64, who: &str, queue: &str, body: &str, late: bool) -> Message {
        let (queue, about) = match queue {
            "request_queue" => (Name::Request, self.requested(at, who, body)),
            "dead_letter_queue" => (Name::Dead, About::Other),
            "response_queue" => (Name::Response, About::Other),
            "terminate_request_queue" => match message::parse::<TerminateRequest>(body) {
                Parsed::Ok(request) => {
                    self.asked_to_retire(at, who, request);
                    (Name::TerminateRequest, About::Terminate(request))
                }
                _ => (Name::TerminateRequest, About::Other),
            },
            _ => (Name::Notices, self.noticed(at, who, body, late)),
        };
        Message { queue, about, lease: None, sent_at: at, again: false }
    }

    fn requested(&mut self, at: u64, who: &str, body: &str) -> About {
        let Parsed::Ok(request) = message::parse::<Request>(body) else { return About::Other };
        let id = request.request_id;
        let Some(upload) = self.uploads.get_mut(&id) else {
            self.violated(format!("invariant 1: at {at} {who} sent a request whose image is not stored: {id}"));
            return About::Request(id);
        };
        let (before, answered) = (std::mem::replace(&mut upload.accepted, true), upload.answered);
        if before {
            self.count("request sent twice");
        } else {
            self.accepted += 1;
            self.open += u64::from(!answered);
        }
        About::Request(id)
    }

    fn noticed(&mut self, at: u64, who: &str, body: &str, late: bool) -> About {
        match message::parse::<Notice>(body) {
            Parsed::Ok(Notice::Confirm(confirm)) => {
                self.confirms(at, who, &confirm);
                About::Confirm
            }
            Parsed::Ok(Notice::Report(report)) => {
                if let Some(instance) = self.instances.get_mut(&report.instance_id) {
                    // nobody can heed in time what comes late
                    instance.reported_at = instance.reported_at.filter(|_| late).or(Some(at));
                }
                About::Other
            }
            _ => About::Other,
        }
    }

    /// An image is durable.
    pub(super) fn stored(&mut self, key: &str) {
        let Some((id, name)) = key.split_once('/') else { return };
        if let Ok(id) = id.parse::<RequestId>() {
            self.uploads.entry(id).or_default().file = name.to_owned();
        }
    }

    /// An object of the output bucket is written.
    pub(super) fn answered(&mut self, key: &str, bytes: &[u8], existed: bool) {
        let Some(id) = key.strip_prefix("results/").and_then(|name| name.strip_suffix(".json")) else { return };
        let Ok(id) = id.parse::<RequestId>() else { return };
        if existed {
            return self.violated(format!("invariant 1: the result of {id} was written over"));
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(bytes) else {
            return self.violated(format!("invariant 1: the result of {id} does not read"));
        };
        let Some(upload) = self.uploads.get_mut(&id) else {
            return self.violated(format!("invariant 1: a result of an upload that nobody made: {id}"));
        };
        let fits = answer.request_id() == id
            && match &answer {
                Answer::Classified(c) => c.file == upload.file && c.label == label(&c.file),
                Answer::Failed(_) => true,
            };
        let was_open = upload.accepted && !std::mem::replace(&mut upload.answered, true);
        self.open -= u64::from(was_open);
        if !fits {
            self.violated(format!("invariant 1: {id} was given an answer that is not its own: {answer:?}"));
        }
        match answer {
            Answer::Failed(failed) if failed.error == "dead-lettered" => self.count("dead letter answered"),
            Answer::Failed(_) => self.count("answered with an error"),
            Answer::Classified(_) => self.count("answered with a label"),
        }
    }

    pub(super) fn received(&mut self, at: u64, who: &str, number: u64, receives: u32, until: u64) {
        let Some(message) = self.messages.get_mut(&number) else { return };
        let (queue, again) = (message.queue, message.again);
        let lease = Lease { who: who.to_owned(), until, since: at, known: true };
        let before = message.lease.replace(lease);
        let about = message.about.clone();
        self.process(who).received.retain(|other| *other != number);
        self.process(who).received.push(number);
        let confirmed = self.instances.values().any(|instance| instance.confirmed);
        match (queue, about) {
            (Name::Request, About::Request(id)) => {
                if receives > 1 {
                    self.count("request delivered again");
                }
                // the first of them knows nothing of it where the message was given twice
                let believes = |lease: &Lease| lease.until.max(lease.since + self.limits.visibility) > at;
                if before.as_ref().is_some_and(|lease| lease.who != who && lease.known && believes(lease)) {
                    self.count("request held by two");
                }
                if let Some(lease) = before {
                    self.ran_out(at, number, id, &lease);
                }
                if self.uploads.get(&id).is_some_and(|upload| upload.answered) {
                    self.count("request delivered after its answer");
                }
                if confirmed {
                    self.works_after_confirming(at, who, number);
                }
            }
            (Name::TerminateRequest, About::Terminate(request)) => self.asks(at, who, &request),
            (Name::Notices, About::Confirm) if receives > 1 || again => self.count("duplicate confirmation"),
            _ => {}
        }
    }

    /// Whoever works on a request and is well keeps its lease.
    fn ran_out(&mut self, at: u64, number: u64, id: RequestId, lease: &Lease) {
        let calm = self.calm_at.is_some_and(|calm| lease.since > calm + SLOWEST);
        let lives = |instance: &super::Instance| instance.ended_at.is_none() && !instance.doomed;
        let holder = self.instances.iter().find(|(instance, _)| instance.0 == lease.who);
        let deadly = self.uploads.get(&id).is_none_or(|upload| upload.file.starts_with("poison"));
        if calm && lease.known && !deadly && holder.is_some_and(|(_, instance)| lives(instance)) {
            self.violated(format!("invariant 1: at {at} {} let the lease of {number} run out", lease.who));
        }
    }

    pub(super) fn deleted(&mut self, at: u64, who: &str, number: u64, comes_again: bool) {
        let Some(message) = self.messages.get_mut(&number) else { return };
        let (queue, about, sent) = (message.queue, message.about.clone(), (message.sent_at, message.again));
        // whatever the receive and this call took: whoever deletes knows that it was in time
        let in_time = message.lease.take().is_some_and(|lease| at + BOTH_WAYS < lease.until);
        message.again |= comes_again;
        if !comes_again {
            self.messages.remove(&number);
        }
        match (queue, about) {
            (Name::Request | Name::Dead, About::Request(id)) => {
                self.process(who).deleted_at = at;
                if self.uploads.get(&id).is_none_or(|upload| !upload.answered) {
                    self.violated(format!("invariant 1: at {at} {who} deleted the request {id}, which has no answer"));
                }
            }
            (Name::TerminateRequest, About::Terminate(request)) => {
                self.request_deleted(at, who, sent, in_time, &request);
            }
            _ => {}
        }
    }
}
