//! What a server said.

use bellows_core::answer::Classified;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use std::time::Duration;

/// One HTTP answer, read whole.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// The path of its Location, where that is on the same server.
    pub location: Option<String>,
    pub body: Bytes,
}

/// What became of one upload.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Classified(Box<Classified>),
    /// The server takes no uploads now.
    Refused {
        status: u16,
    },
    /// Another status, with the stable code of its reason.
    Failed {
        status: u16,
        code: String,
    },
    /// A success that is none of the contract's answers.
    Unreadable(String),
    /// No answer.
    Lost(super::Lost),
}

/// The error body.
#[derive(Deserialize)]
struct Error {
    error: String,
}

impl Reply {
    /// The server asks for patience: it is full, draining, or loading.
    pub fn is_refusal(&self) -> bool {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) && self.retry_after.is_some()
    }

    pub(super) fn outcome(&self) -> Outcome {
        if self.status == 200 {
            return match serde_json::from_slice(&self.body) {
                Ok(classified) => Outcome::Classified(classified),
                Err(e) => Outcome::Unreadable(format!("no answer about one image: {e}")),
            };
        }
        if self.is_refusal() {
            return Outcome::Refused { status: self.status };
        }
        let code = serde_json::from_slice(&self.body).map_or_else(|_| "unknown".into(), |body: Error| body.error);
        Outcome::Failed { status: self.status, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, retry_after: Option<u64>, body: &'static str) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        Reply { status, retry_after, location: None, body: Bytes::from_static(body.as_bytes()) }.outcome()
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        assert_eq!(reply(429, Some(1), "{}"), Outcome::Refused { status: 429 });
        assert_eq!(reply(503, Some(1), ""), Outcome::Refused { status: 503 });
        let code = String::from("unknown");
        assert_eq!(reply(503, None, "bad gateway"), Outcome::Failed { status: 503, code });
    }

    #[test]
    fn errors_have_codes() {
        let body = r#"{"error":"unsupported-image","message":"no","request_id":"1"}"#;
        assert_eq!(reply(415, None, body), Outcome::Failed { status: 415, code: "unsupported-image".into() });
        assert!(matches!(reply(200, None, "bathtub"), Outcome::Unreadable(_)));
    }
}
