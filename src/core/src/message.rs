//! The message bodies that travel through the queues: JSON, ASCII-escaped, at most [`MAX_BYTES`].
//!
//! Unknown fields are ignored, so that tiers of different age understand each other; an unknown version of a known
//! kind is given back to the queue for somebody newer, and everything else is a dead letter.

use crate::answer::Answer;
use crate::key::RequestId;
use crate::pool::{AppTierId, InstanceId};
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    Ready,
    Stopping,
}

/// What travels through terminate_confirm_queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Notice {
    Report(Report),
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
pub fn parse<T: DeserializeOwned>(body: &str) -> Parsed<T> {
    if body.len() > MAX_BYTES {
        return Parsed::Unreadable(format!("{} bytes, expected at most {MAX_BYTES}", body.len()));
    }
    let value: serde_json::Value = match serde_json::from_str(body) {
        Ok(value) => value,
        Err(e) => return Parsed::Unreadable(format!("no JSON: {e}")),
    };
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
    use uuid::Uuid;

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
        }
    }
}
