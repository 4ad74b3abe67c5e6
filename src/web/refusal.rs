//! What the web tier says no with: stable codes, statuses, and words that say what was expected.

use super::reply::{HttpResponse, whole};
use bellows_core::answer::{Failed, Reason};
use bellows_core::key::RequestId;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// Seconds after which what is wrong here for a moment may be right again.
const TRY_AGAIN: u64 = 5;
/// `Basic` is taken and not named: browsers would ask for a password in a window of their own, over the page.
const CHALLENGE: &str = "Bearer realm=\"bellows\"";

/// Why a request is not served. One variant a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token, or none that is known.
    Unauthorized,
    NoFile,
    /// A form that is none, with the reason.
    BadForm(String),
    BadFileName(String),
    NameTooLong(String),
    /// Bytes that are no image we read, with what is told of them.
    NotRead(Reason, String),
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
    /// Too many images wait already.
    BacklogFull {
        /// Whole seconds after which some of them are answered.
        retry_after: u64,
    },
    /// Too many images of this token wait already.
    TooManyOutstanding {
        limit: u32,
        retry_after: u64,
    },
    /// Too many uploads at once for the memory set aside.
    Busy,
    /// Too many pages follow `/live` already.
    TooManyListeners,
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

    /// Nothing is wrong with the request.
    pub(super) fn is_ours(&self) -> bool {
        self.status().is_server_error()
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Refusal::NoFile => (StatusCode::BAD_REQUEST, "no-file"),
            Refusal::BadForm(_) => (StatusCode::BAD_REQUEST, "bad-form"),
            Refusal::BadFileName(_) => (StatusCode::BAD_REQUEST, "bad-file-name"),
            Refusal::NameTooLong(_) => (StatusCode::BAD_REQUEST, "file-name-too-long"),
            Refusal::NotRead(reason, _) => {
                let (code, status) = reason.code();
                (StatusCode::from_u16(status).unwrap_or(StatusCode::UNSUPPORTED_MEDIA_TYPE), code)
            }
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            Refusal::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            Refusal::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Refusal::TooManyFiles { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-files"),
            Refusal::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Refusal::ModelLoading(_) => (StatusCode::SERVICE_UNAVAILABLE, "model-loading"),
            Refusal::BacklogFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "backlog-full"),
            Refusal::TooManyOutstanding { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many-outstanding"),
            Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Refusal::TooManyListeners => (StatusCode::SERVICE_UNAVAILABLE, "too-many-listeners"),
            Refusal::StorageUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable"),
            Refusal::DiskLow => (StatusCode::INSUFFICIENT_STORAGE, "disk-low"),
            Refusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// What the client reads. Nothing about our insides.
    pub fn message(&self) -> String {
        match self {
            Refusal::Unauthorized => {
                "expected one of this service's tokens, as `Authorization: Bearer TOKEN` or as the password of HTTP \
                Basic (curl -u :TOKEN)"
                    .into()
            }
            Refusal::NoFile => {
                "no file in the request; expected an image as form field `myfile`, `file` or `inputFile` \
                (curl -F myfile=@photo.jpg), or as the whole body of PUT /classify (curl -T photo.jpg)"
                    .into()
            }
            Refusal::BadForm(why) => format!("the form cannot be read: {why}"),
            Refusal::BadFileName(why) | Refusal::NameTooLong(why) | Refusal::NotRead(_, why) => why.clone(),
            Refusal::NotFound => "nothing is here".into(),
            Refusal::MethodNotAllowed(allowed) => format!("expected {allowed}"),
            Refusal::BodyTooSlow => "the body took too long to arrive".into(),
            Refusal::TooLarge { limit } => format!("the body is larger than the {limit} bytes accepted here"),
            Refusal::TooManyFiles { limit } => format!("the form has more than the {limit} parts accepted here"),
            Refusal::Draining => "this server is stopping; try again in a moment".into(),
            Refusal::ModelLoading(how_far) => format!("the model is not ready yet: {how_far}"),
            Refusal::BacklogFull { retry_after } => {
                format!("too many images wait already; try again in {retry_after} s")
            }
            Refusal::TooManyOutstanding { limit, retry_after } => {
                format!("of this token at most {limit} images may wait at once; try again in {retry_after} s")
            }
            Refusal::Busy => "too many uploads at once; try again in a moment".into(),
            Refusal::TooManyListeners => "too many pages follow this already; try again in a moment".into(),
            Refusal::StorageUnavailable => "the upload could not be stored; try again in a moment".into(),
            Refusal::DiskLow => "too little disk space is left to accept uploads".into(),
            Refusal::Internal => "something failed here; the log says what".into(),
        }
    }

    /// As an answer, JSON or text. `request_id` is what the client sees as X-Request-Id.
    pub fn response(&self, json: bool, request_id: &str) -> HttpResponse {
        let (status, code) = self.parts();
        let mut response = error(status, code, &self.message(), json, request_id);
        let headers = response.headers_mut();
        if let Refusal::BacklogFull { retry_after } | Refusal::TooManyOutstanding { retry_after, .. } = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after));
        } else if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(TRY_AGAIN));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Refusal::MethodNotAllowed(allowed) = self {
            headers.insert(hyper::header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }

    /// As the answer to one image among several.
    pub(super) fn failed(&self, id: RequestId, file: &str) -> Failed {
        Failed {
            error: self.code().into(),
            message: self.message(),
            request_id: id,
            file: file.to_owned(),
            status: self.status().as_u16(),
            sha256: None,
        }
    }
}

/// Says that nothing more is answered on this connection: where a body was not read to its end, what follows is not
/// known to be a request.
pub(super) fn close(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An error answer, whether it is a refusal or the stored failure of an image.
pub(super) fn error(status: StatusCode, code: &str, message: &str, json: bool, request_id: &str) -> HttpResponse {
    let (kind, body) = if json {
        ("application/json", serde_json::to_string(&Body { error: code, message, request_id }).unwrap_or_default())
    } else {
        ("text/plain; charset=utf-8", format!("{code}: {message}\n"))
    };
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
