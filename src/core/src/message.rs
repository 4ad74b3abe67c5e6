//! The message bodies that travel through the queues: JSON, ASCII-escaped, at most [`MAX_BYTES`].
//!
//! Unknown fields are ignored, so that tiers of different age understand each other; an unknown version of a known
//! kind is given back to the queue for somebody newer, and everything else (an unknown kind too) is a dead letter.

use crate::answer::Answer;
use crate::key::RequestId;
use crate::pool::{AppTierId, InstanceId};
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use uuid::Uuid;

/// Longest body in bytes, well below SQS's own limit.
pub const MAX_BYTES: usize = 16 * 1024;
/// The version this code writes and reads.
pub const VERSION: u32 = 1;

/// web -> app, through request_queue: classify the image at `key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub v: u32,
    pub request_id: RequestId,
    /// The file name as the client sent it, last segment only.
    pub filename: String,
    /// Key of the image in the input bucket.
    pub key: String,
    /// Name of the queue that wants the answer; empty where nobody waits.
    #[serde(default)]
    pub reply_to: String,
    pub submitted_at: Timestamp,
}

/// app -> web, through response_queue: a hint that the result object is there, with its contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    pub v: u32,
    pub request_id: RequestId,
    /// The original's field: the label, or the error's code.
    pub classifier_output: String,
    pub answer: Answer,
    /// Milliseconds spent storing the result: the only stage that is not part of the answer.
    #[serde(default)]
    pub store_ms: f64,
}

impl Response {
    pub fn new(answer: Answer, store_ms: f64) -> Response {
        Response {
            v: VERSION,
            request_id: answer.request_id(),
            classifier_output: answer.classifier_output().to_owned(),
            answer,
            store_ms,
        }
    }
}

/// One term of leadership over the pool. Taking over raises it; what an older one asked for is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Names one terminate request. Random, so that nobody guesses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub Uuid);

/// controller -> whichever worker takes it, through terminate_request_queue: one of you is not needed any more.
/// `expires_at` is of the leader's clock and compared only with that clock (`renewed_at` of the control object).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminateRequest {
    pub v: u32,
    pub nonce: Nonce,
    pub epoch: Epoch,
    pub expires_at: Timestamp,
}

/// app -> controller, through terminate_confirm_queue: this instance has stopped and holds nothing; end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    pub v: u32,
    pub nonce: Nonce,
    pub epoch: Epoch,
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
}

/// app -> controller, through terminate_confirm_queue: how a worker fares. `jobs`, `busy_ms` and `idle_ms` count from
/// process start, so that a lost or doubled report does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub v: u32,
    pub app_tier_id: AppTierId,
    pub instance_id: InstanceId,
    pub state: WorkerState,
    /// Images this worker classifies at once.
    pub slots: u32,
    pub jobs: u64,
    /// Milliseconds of all slots together spent classifying.
    pub busy_ms: u64,
    pub idle_ms: u64,
    /// From process start to ready, in milliseconds.
    pub boot_ms: u64,
    /// Messages in hand now: a worker at a long job counts no jobs and is not idle all the same.
    #[serde(default)]
    pub in_hand: u32,
    #[serde(default)]
    pub endings: Endings,
}

/// How often a worker's messages ended in another way than with a new answer. Counts since process start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endings {
    /// Somebody else shall have it, or it shall be tried again later.
    pub given_back: u64,
    /// Its result was there already.
    pub duplicate: u64,
    /// The lease ran out while the work went on.
    pub lease_lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    Ready,
    Stopping,
}

/// web -> controller, through terminate_confirm_queue, each tick while not idle: what this web process has taken and
/// answered since its start. The leader's own web process sends none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebReport {
    pub v: u32,
    /// Random, one a process: a restart is a new one.
    pub web_id: Uuid,
    pub accepted_total: u64,
    pub answered_total: u64,
    /// When the oldest request that is still waited for was sent; none where nobody waits.
    #[serde(default)]
    pub oldest_submitted_at: Option<Timestamp>,
}

/// What travels through terminate_confirm_queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Notice {
    Confirm(Confirm),
    Report(Report),
    Web(WebReport),
}

/// A body that [`parse`] reads.
pub trait Body: DeserializeOwned {
    /// The values of its `kind` field; none where it has no such field.
    const KINDS: &'static [&'static str] = &[];
}

impl Body for Request {}
impl Body for Response {}
impl Body for TerminateRequest {}
impl Body for Notice {
    const KINDS: &'static [&'static str] = &["confirm", "report", "web"];
}

/// How a received body reads.
#[derive(Debug, PartialEq)]
pub enum Parsed<T> {
    Ok(T),
    /// A kind we know in a version we do not: give it back, somebody newer will read it.
    OtherVersion(u64),
    /// A dead letter, with the reason.
    Unreadable(String),
}

/// Reads a body. Never panics, whatever the body.
pub fn parse<T: Body>(body: &str) -> Parsed<T> {
    if body.len() > MAX_BYTES {
        return Parsed::Unreadable(format!("{} bytes, expected at most {MAX_BYTES}", body.len()));
    }
    let value: serde_json::Value = match serde_json::from_str(body) {
        Ok(value) => value,
        Err(e) => return Parsed::Unreadable(format!("no JSON: {e}")),
    };
    if !T::KINDS.is_empty() {
        match value.get("kind").and_then(serde_json::Value::as_str) {
            Some(kind) if T::KINDS.contains(&kind) => {}
            Some(kind) => return Parsed::Unreadable(format!("unknown kind `{kind}`")),
            None => return Parsed::Unreadable("no field `kind`".into()),
        }
    }
    match value.get("v").and_then(serde_json::Value::as_u64) {
        Some(v) if v == u64::from(VERSION) => {}
        Some(v) => return Parsed::OtherVersion(v),
        None => return Parsed::Unreadable("no version field `v`".into()),
    }
    match serde_json::from_value(value) {
        Ok(message) => Parsed::Ok(message),
        Err(e) => Parsed::Unreadable(e.to_string()),
    }
}

/// A message does not fit into [`MAX_BYTES`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a message of {0} bytes, expected at most {MAX_BYTES}")]
pub struct TooLong(pub usize);

/// Writes a body, with everything beyond ASCII escaped.
pub fn encode<T: Serialize>(message: &T) -> Result<String, TooLong> {
    let json = serde_json::to_string(message).unwrap_or_default();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // writing to a string does not fail
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    if out.is_empty() || out.len() > MAX_BYTES { Err(TooLong(out.len())) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(filename: &str) -> Request {
        Request {
            v: VERSION,
            request_id: RequestId(Uuid::from_u128(1)),
            filename: filename.into(),
            key: "k".into(),
            reply_to: "r".into(),
            submitted_at: Timestamp(5),
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_versions_told_apart() {
        let body = encode(&request("a")).unwrap();
        let newer = body.replacen('{', "{\"colour\":true,", 1);
        assert_eq!(parse::<Request>(&newer), Parsed::Ok(request("a")));
        assert_eq!(parse::<Request>(&body.replace("\"v\":1", "\"v\":2")), Parsed::OtherVersion(2));
        assert!(matches!(parse::<Request>("hello"), Parsed::Unreadable(_)));
        assert!(matches!(parse::<Request>("{\"v\":1}"), Parsed::Unreadable(_)));
        assert!(matches!(parse::<Request>(&"[".repeat(MAX_BYTES)), Parsed::Unreadable(_)));
    }

    #[test]
    fn a_body_has_a_longest_size() {
        let empty = encode(&request("")).unwrap().len();
        let longest = "x".repeat(MAX_BYTES - empty);
        let body = encode(&request(&longest)).unwrap();
        assert_eq!(body.len(), MAX_BYTES);
        assert_eq!(parse::<Request>(&body), Parsed::Ok(request(&longest)));
        assert_eq!(encode(&request(&format!("{longest}x"))), Err(TooLong(MAX_BYTES + 1)));
        let spaced = format!("{body} ");
        assert_eq!(parse::<Request>(&spaced), Parsed::Unreadable("16385 bytes, expected at most 16384".into()));
        assert!(encode(&request("\x7f")).unwrap().contains("\\u007f"), "DEL is no text");
    }

    #[test]
    fn a_new_version_is_given_back_and_a_new_kind_is_a_dead_letter() {
        let confirm = Notice::Confirm(Confirm {
            v: VERSION,
            nonce: Nonce(Uuid::from_u128(3)),
            epoch: Epoch(4),
            app_tier_id: AppTierId(5),
            instance_id: InstanceId("i-5".into()),
        });
        let body = encode(&confirm).unwrap();
        assert_eq!(parse::<Notice>(&body), Parsed::Ok(confirm));
        assert_eq!(parse::<Notice>(&body.replace("\"v\":1", "\"v\":7")), Parsed::OtherVersion(7));
        for kind in ["\"kind\":\"farewell\"", "\"kind\":null", "\"kin\":\"confirm\""] {
            let unknown = body.replace("\"kind\":\"confirm\"", kind);
            assert!(matches!(parse::<Notice>(&unknown), Parsed::Unreadable(_)), "{unknown}");
            let newer = unknown.replace("\"v\":1", "\"v\":2");
            assert!(matches!(parse::<Notice>(&newer), Parsed::Unreadable(_)), "{newer}");
        }
    }

    #[test]
    fn a_report_of_an_older_worker_reads() {
        let body = r#"{"kind":"report","v":1,"app_tier_id":1,"instance_id":"i","state":"ready","slots":1,
            "jobs":2,"busy_ms":3,"idle_ms":4,"boot_ms":5}"#;
        assert!(matches!(parse::<Notice>(body), Parsed::Ok(Notice::Report(Report { in_hand: 0, jobs: 2, .. }))));
        let body = r#"{"kind":"web","v":1,"web_id":"00000000-0000-0000-0000-000000000001","accepted_total":2,
            "answered_total":1}"#;
        assert!(matches!(parse::<Notice>(body), Parsed::Ok(Notice::Web(WebReport { accepted_total: 2, .. }))));
    }

    proptest! {
        #[test]
        fn bodies_are_ascii_and_read_back(name in "\\PC{0,200}") {
            let body = encode(&request(&name)).unwrap();
            prop_assert!(body.is_ascii());
            prop_assert_eq!(parse::<Request>(&body), Parsed::Ok(request(&name)));
        }

        #[test]
        fn no_body_panics(body in "\\PC{0,400}") {
            let _ = parse::<Request>(&body);
            let _ = parse::<Response>(&body);
            let _ = parse::<TerminateRequest>(&body);
            let _ = parse::<Notice>(&body);
        }
    }
}
