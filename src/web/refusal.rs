//! What the web tier says no with: stable codes, statuses, and words that say what was expected.

use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// Why a request is not served. One variant a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoFile,
    /// A form that is none, with the reason.
    BadForm(String),
    BadFileName(String),
    NameTooLong,
    NotFound,
    MethodNotAllowed(&'static str),
    BodyTooSlow,
    TooLarge {
        limit: u64,
    },
    TooManyFiles {
        limit: usize,
    },
    Draining,
    ModelLoading(String),
    /// Too many uploads at once for the memory set aside.
    Busy,
    StorageUnavailable,
    DiskLow,
    Internal,
}

/// The error body, as JSON.
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    message: &'a str,
    request_id: &'a str,
}

impl Refusal {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    pub fn status(&self) -> StatusCode {
        self.parts().0
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::NoFile => (StatusCode::BAD_REQUEST, "no-file"),
            Refusal::BadForm(_) => (StatusCode::BAD_REQUEST, "bad-form"),
            Refusal::BadFileName(_) => (StatusCode::BAD_REQUEST, "bad-file-name"),
            Refusal::NameTooLong => (StatusCode::BAD_REQUEST, "file-name-too-long"),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Refusal::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Refusal::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Refusal::TooManyFiles { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-files"),
            Refusal::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Refusal::ModelLoading(_) => (StatusCode::SERVICE_UNAVAILABLE, "model-loading"),
            Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Refusal::StorageUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable"),
            Refusal::DiskLow => (StatusCode::INSUFFICIENT_STORAGE, "disk-low"),
            Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// What the client reads. Nothing about our insides.
    pub fn message(&self) -> String {
        match self {
            Refusal::NoFile => {
                "no file in the request; expected an image as form field `myfile`, `file` or `inputFile` \
                (curl -F myfile=@photo.jpg), or as the whole body of PUT /classify (curl -T photo.jpg)"
                    .into()
            }
            Refusal::BadForm(why) => format!("the form cannot be read: {why}"),
            Refusal::BadFileName(why) => why.clone(),
            Refusal::NameTooLong => "the file name is too long for a message".into(),
            Refusal::NotFound => "nothing is here".into(),
            Refusal::MethodNotAllowed(allowed) => format!("expected {allowed}"),
            Refusal::BodyTooSlow => "the body took too long to arrive".into(),
            Refusal::TooLarge { limit } => format!("the body is larger than the {limit} bytes accepted here"),
            Refusal::TooManyFiles { limit } => format!("the form has more than the {limit} parts accepted here"),
            Refusal::Draining => "this server is stopping; try again in a moment".into(),
            Refusal::ModelLoading(how_far) => format!("the model is not ready yet: {how_far}"),
            Refusal::Busy => "too many uploads at once; try again in a moment".into(),
            Refusal::StorageUnavailable => "the upload could not be stored; try again in a moment".into(),
            Refusal::DiskLow => "too little disk space is left to accept uploads".into(),
            Refusal::Internal => "something failed here; the log says what".into(),
        }
    }

    /// As an answer, JSON or text. `request_id` is what the client sees as X-Request-Id.
    pub fn response(&self, json: bool, request_id: &str) -> Response<Full<bytes::Bytes>> {
        let (status, code) = self.parts();
        let mut response = error(status, code, &self.message(), json, request_id);
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if let Refusal::MethodNotAllowed(allowed) = self {
            headers.insert(hyper::header::ALLOW, HeaderValue::from_static(allowed));
        }
        // the rest of such a body is not read: the connection is of no further use
        if matches!(self, Refusal::TooLarge { .. } | Refusal::BodyTooSlow | Refusal::TooManyFiles { .. }) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An error answer, whether it is a refusal or the stored failure of an image.
pub(super) fn error(
    status: StatusCode,
    code: &str,
    message: &str,
    json: bool,
    request_id: &str,
) -> Response<Full<bytes::Bytes>> {
    let (kind, body) = if json {
        ("application/json", serde_json::to_string(&Body { error: code, message, request_id }).unwrap_or_default())
    } else {
        ("text/plain; charset=utf-8", format!("{code}: {message}\n"))
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
