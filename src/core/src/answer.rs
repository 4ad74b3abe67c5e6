//! The answer to one image: what the result object holds, what a response message carries, what a client reads.

use crate::key::RequestId;
use serde::de::{Deserializer, Error, Unexpected};
use serde::{Deserialize, Serialize};

/// One class with its probability (0..1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub index: u32,
    pub label: String,
    #[serde(deserialize_with = "finite")]
    pub probability: f32,
}

/// A number that JSON can write, too: what is beyond 32 bits would read as infinite, and be written as `null`.
fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let number = f32::deserialize(from)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(D::Error::invalid_value(Unexpected::Float(number.into()), &"a finite number of 32 bits"))
    }
}

/// Which model and engine gave an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    pub sha256: String,
    pub engine: String,
}

/// Which member of the pool gave an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub app_tier_id: u32,
    pub instance_id: String,
}

/// Where the time went, in milliseconds. `queue` is measured by the queue's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    pub queue: f64,
    pub fetch: f64,
    pub decode: f64,
    pub infer: f64,
    pub total: f64,
}

/// What became of one image. Kept as `results/<request_id>.json`, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    Classified(Box<Classified>),
    Failed(Failed),
}

/// An image with its label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classified {
    pub request_id: RequestId,
    pub file: String,
    /// Lower-case hex of the bytes received.
    pub sha256: String,
    pub label: String,
    pub predictions: Vec<Prediction>,
    pub model: Model,
    pub worker: Worker,
    pub timings_ms: Timings,
}

/// An image that got an error for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Stable code, see [`Reason`].
    pub error: String,
    pub message: String,
    pub request_id: RequestId,
    pub file: String,
    /// HTTP status of the answer.
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Why an accepted image has no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one of the formats we read.
    UnsupportedImage,
    /// HEIC or AVIF: known, not read, with a remedy of its own.
    ConvertFirst,
    Undecodable,
    TooManyPixels,
    /// Waited longer than its time to live, or its image is gone.
    Expired,
    /// Failed by crash or time-out as often as the queue allows.
    DeadLettered,
}

impl Reason {
    /// Stable code and HTTP status.
    pub fn code(self) -> (&'static str, u16) {
        match self {
            Reason::UnsupportedImage => ("unsupported-image", 415),
            Reason::ConvertFirst => ("convert-first", 415),
            Reason::Undecodable => ("undecodable-image", 422),
            Reason::TooManyPixels => ("too-many-pixels", 422),
            Reason::Expired => ("expired", 410),
            Reason::DeadLettered => ("dead-lettered", 500),
        }
    }
}

impl Answer {
    pub fn failed(
        reason: Reason,
        message: impl Into<String>,
        request_id: RequestId,
        file: impl Into<String>,
    ) -> Answer {
        let (error, status) = reason.code();
        Answer::Failed(Failed {
            error: error.into(),
            message: message.into(),
            request_id,
            file: file.into(),
            status,
            sha256: None,
        })
    }

    /// With the sha256 of the bytes that failed.
    #[must_use]
    pub fn of_bytes(mut self, of: String) -> Answer {
        match &mut self {
            Answer::Failed(f) => f.sha256 = Some(of),
            Answer::Classified(c) => c.sha256 = of,
        }
        self
    }

    pub fn request_id(&self) -> RequestId {
        match self {
            Answer::Classified(c) => c.request_id,
            Answer::Failed(f) => f.request_id,
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Answer::Classified(_) => 200,
            Answer::Failed(f) => f.status,
        }
    }

    /// The original's `classifier_output`: the label, or the error's code.
    pub fn classifier_output(&self) -> &str {
        match self {
            Answer::Classified(c) => &c.label,
            Answer::Failed(f) => &f.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_an_error_status() {
        let reasons = [
            (Reason::UnsupportedImage, "unsupported-image", 415),
            (Reason::ConvertFirst, "convert-first", 415),
            (Reason::Undecodable, "undecodable-image", 422),
            (Reason::TooManyPixels, "too-many-pixels", 422),
            (Reason::Expired, "expired", 410),
            (Reason::DeadLettered, "dead-lettered", 500),
        ];
        for (reason, code, status) in reasons {
            let answer = Answer::failed(reason, "why", RequestId(Uuid::from_u128(1)), "a.png").of_bytes("ab".into());
            assert_eq!((answer.classifier_output(), answer.status()), (code, status));
            let Answer::Failed(failed) = answer else { panic!("not failed") };
            assert_eq!(
                (failed.message.as_str(), failed.file.as_str(), failed.sha256.as_deref()),
                ("why", "a.png", Some("ab"))
            );
        }
    }

    #[test]
    fn what_reads_can_be_written() {
        let read = |probability: &str| {
            serde_json::from_str::<Prediction>(&format!(r#"{{"index":1,"label":"a","probability":{probability}}}"#))
        };
        for fine in ["0.7512345", "1", "3.4028235e38"] {
            let prediction = read(fine).unwrap();
            let written = serde_json::to_string(&prediction).unwrap();
            assert_eq!(serde_json::from_str::<Prediction>(&written).unwrap(), prediction);
        }
        assert!(read("1e39").is_err() && read("null").is_err());
    }

    #[test]
    fn a_classified_image_is_answered_with_its_label() {
        let classified = Classified {
            request_id: RequestId(Uuid::from_u128(2)),
            file: "a.png".into(),
            sha256: String::new(),
            label: "tub".into(),
            predictions: Vec::new(),
            model: Model { name: String::new(), sha256: String::new(), engine: String::new() },
            worker: Worker { app_tier_id: 1, instance_id: String::new() },
            timings_ms: Timings::default(),
        };
        let answer = Answer::Classified(Box::new(classified)).of_bytes("cd".into());
        assert_eq!((answer.classifier_output(), answer.status()), ("tub", 200));
        assert_eq!(answer.request_id(), RequestId(Uuid::from_u128(2)));
        assert!(matches!(answer, Answer::Classified(c) if c.sha256 == "cd"));
    }
}
