//! From a reply to an HTTP answer: text or JSON, status and headers.

use super::batch::Child;
use super::live::Events;
use super::refusal::error;
use super::{Refusal, Web, compat};
use bellows_core::answer::Answer;
use bellows_core::key::{self, RequestId};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// Whole, or what `/live` sends piece by piece.
pub(super) type Content = Either<Full<Bytes>, Events>;
pub(super) type HttpResponse = Response<Content>;

/// Seconds after which a pending result is worth another look.
const LOOK_AGAIN: &str = "1";

/// What is answered, before it is put into HTTP.
#[derive(Debug)]
pub(super) enum Reply {
    One(Child),
    Several { batch: RequestId, children: Vec<Child> },
    Unknown,
    Unavailable,
}

/// What of a request decides how its answer looks.
pub(super) struct Style<'a> {
    /// The answer is JSON.
    pub(super) json: bool,
    /// Form field of the first file, which the original's clients are told apart by.
    pub(super) field: Option<String>,
    /// X-Request-Id of the answer.
    pub(super) id: &'a str,
}

impl Web {
    /// Puts a reply into HTTP.
    pub(super) fn http(&self, reply: Reply, style: &Style<'_>) -> HttpResponse {
        match reply {
            Reply::Unknown => Refusal::NotFound.response(style.json, style.id),
            Reply::Unavailable => Refusal::StorageUnavailable.response(style.json, style.id),
            Reply::One(child) => self.one(child, style),
            Reply::Several { batch, children } => several(batch, &children, style),
        }
    }

    fn one(&self, child: Child, style: &Style<'_>) -> HttpResponse {
        match child {
            Child::Refused { refusal, .. } => refusal.response(style.json, style.id),
            Child::Pending { id, .. } => pending(id, &child, style.json),
            Child::Answered(answer) => match *answer {
                Answer::Failed(failed) => {
                    let status = StatusCode::from_u16(failed.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    error(status, &failed.error, &failed.message, style.json, &failed.request_id.to_string())
                }
                Answer::Classified(_) if style.json => json_body(StatusCode::OK, child_json(&Child::Answered(answer))),
                Answer::Classified(c) => {
                    let (format, now) = (self.0.settings.response_format, self.0.edges.host.clock.now());
                    let body = compat::body(format, style.field.as_deref(), &c.file, &c.label, now);
                    body_of(StatusCode::OK, compat::content_type(format), body)
                }
            },
        }
    }
}

fn several(batch: RequestId, children: &[Child], style: &Style<'_>) -> HttpResponse {
    // an upload of which nothing was accepted, for reasons that lie here, is refused as one
    if let [Child::Refused { refusal, .. }, ..] = children
        && children.iter().all(|child| matches!(child, Child::Refused { refusal, .. } if refusal.is_ours()))
    {
        return refusal.response(style.json, style.id);
    }
    let open = children.iter().any(|child| matches!(child, Child::Pending { .. }));
    let status = if open { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = if style.json {
        json_body(
            status,
            format!("{{\"results\":[{}]}}", children.iter().map(child_json).collect::<Vec<_>>().join(",")),
        )
    } else {
        let lines: Vec<String> = children.iter().map(child_line).collect();
        text(status, &lines.join("\n"))
    };
    if open {
        locate(&mut response, batch);
    }
    response
}

/// One image of an answer, as JSON with its fields in the order of the contract.
fn child_json(child: &Child) -> String {
    let json = match child {
        Child::Answered(answer) => serde_json::to_string(answer),
        Child::Pending { id, file } => {
            serde_json::to_string(&Pending { request_id: *id, file, location: location(*id) })
        }
        Child::Refused { id, file, refusal } => serde_json::to_string(&refusal.failed(*id, file)),
    };
    json.unwrap_or_default()
}

/// An image that has no answer yet.
#[derive(Serialize)]
struct Pending<'a> {
    request_id: RequestId,
    file: &'a str,
    location: String,
}

/// One image of an answer, as a line of text.
fn child_line(child: &Child) -> String {
    match child {
        Child::Answered(answer) => match &**answer {
            Answer::Classified(c) => format!("{}:{}", key::stem(&c.file), c.label),
            Answer::Failed(f) => format!("{}: error {}", f.file, f.error),
        },
        Child::Pending { id, file } => format!("{file}: pending {}", location(*id)),
        Child::Refused { file, refusal, .. } => format!("{file}: error {}", refusal.code()),
    }
}

fn pending(id: RequestId, child: &Child, json: bool) -> HttpResponse {
    let mut response = if json {
        json_body(StatusCode::ACCEPTED, child_json(child))
    } else {
        text(StatusCode::ACCEPTED, &format!("pending: {}", location(id)))
    };
    locate(&mut response, id);
    response
}

fn location(id: RequestId) -> String {
    format!("/results/{id}")
}

fn locate(response: &mut HttpResponse, id: RequestId) {
    if let Ok(value) = HeaderValue::from_str(&location(id)) {
        response.headers_mut().insert(LOCATION, value);
    }
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(LOOK_AGAIN));
}

/// A body that is there.
pub(super) fn whole(body: impl Into<Bytes>) -> Content {
    Either::Left(Full::new(body.into()))
}

pub(super) fn body_of(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn text(status: StatusCode, body: &str) -> HttpResponse {
    body_of(status, "text/plain; charset=utf-8", body.to_owned())
}

pub(super) fn json_body(status: StatusCode, json: String) -> HttpResponse {
    body_of(status, "application/json", json)
}
