//! From an HTTP request to a reply, and from a reply to an HTTP answer. The only place that names paths.

use super::batch::Child;
use super::refusal::error;
use super::upload::{Fields, Upload};
use super::{Refusal, Web, compat, page};
use crate::metrics::Route;
use crate::status::NotReady;
use bellows_core::answer::{Answer, Failed};
use bellows_core::key::RequestId;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::time::Instant;

pub(super) type HttpResponse = Response<Full<Bytes>>;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
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

/// What of a request's head decides how its answer looks.
struct Style {
    /// The answer is JSON.
    json: bool,
    /// Form field of the first file, which the original's clients are told apart by.
    field: Option<String>,
    /// X-Request-Id of the answer.
    id: String,
}

impl Web {
    /// Answers one request. The second value names the route for the metrics.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> (Route, HttpResponse) {
        let id = echoed_id(request.headers()).unwrap_or_else(|| self.new_id().to_string());
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let (route, mut response) = match (path.as_str(), method) {
            ("/", Method::GET | Method::HEAD) => (Route::Page, html(page::PAGE)),
            ("/", Method::POST) => (Route::Upload, self.upload(request, Fields::Named, None, &id).await),
            ("/", _) => (Route::Page, Refusal::MethodNotAllowed("GET, POST").response(true, &id)),
            ("/healthz", Method::GET | Method::HEAD) => (Route::Healthz, text(StatusCode::OK, "ok\n")),
            ("/readyz", Method::GET | Method::HEAD) => (Route::Readyz, self.readyz()),
            ("/healthz" | "/readyz", _) => (Route::Other, Refusal::MethodNotAllowed("GET, HEAD").response(true, &id)),
            (path, method) if path == "/classify" || path.starts_with("/classify/") => {
                let route = if path == "/classify" { Route::Classify } else { Route::ClassifyNamed };
                (route, self.classify(path, &method, request, &id).await)
            }
            (path, Method::GET | Method::HEAD) if path.starts_with("/results/") => {
                (Route::Results, self.results(path, request.headers(), &id).await)
            }
            (path, _) if path.starts_with("/results/") => {
                (Route::Results, Refusal::MethodNotAllowed("GET, HEAD").response(true, &id))
            }
            _ => (Route::Other, Refusal::NotFound.response(wants_json(request.headers()), &id)),
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        (route, response)
    }

    /// POST|PUT /classify and /classify/{name}: always JSON.
    async fn classify(&self, path: &str, method: &Method, request: Request<Incoming>, id: &str) -> HttpResponse {
        if !matches!(*method, Method::POST | Method::PUT) {
            return Refusal::MethodNotAllowed("POST, PUT").response(true, id);
        }
        let encoded = path.strip_prefix("/classify").unwrap_or_default().trim_start_matches('/').to_owned();
        match percent_decode_str(&encoded).decode_utf8() {
            Ok(name) => self.upload(request, Fields::Any, Some(&name), id).await,
            Err(_) => Refusal::BadFileName("a file name is UTF-8, percent-encoded".into()).response(true, id),
        }
    }

    async fn upload(&self, request: Request<Incoming>, fields: Fields, name: Option<&str>, id: &str) -> HttpResponse {
        let json = fields == Fields::Any || wants_json(request.headers());
        let asynchronous = prefers_async(request.headers());
        let mut style = Style { json, field: None, id: id.to_owned() };
        let accepted = async {
            self.admit()?;
            let Upload { images, field } = self.read(request, fields, name).await?;
            style.field = field;
            self.submit_all(images).await
        };
        let (batch, submitted) = match accepted.await {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal.response(style.json, id),
        };
        let wait = if asynchronous { std::time::Duration::ZERO } else { self.0.settings.wait };
        let mut children = self.wait_all(submitted, Instant::now() + wait).await;
        let reply = match batch {
            Some(batch) => Reply::Several { batch, children },
            None => children.pop().map_or(Reply::Unavailable, Reply::One),
        };
        self.http(reply, &style)
    }

    /// Says no before a byte of the body is read.
    fn admit(&self) -> Result<(), Refusal> {
        self.0.status.ready().map_err(|reason| match reason {
            NotReady::Draining => Refusal::Draining,
            NotReady::ModelLoading(how_far) => Refusal::ModelLoading(how_far),
            NotReady::DiskLow { .. } => Refusal::DiskLow,
            NotReady::QueueUnread(_) => Refusal::StorageUnavailable,
        })
    }

    fn readyz(&self) -> HttpResponse {
        match self.0.status.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        }
    }

    async fn results(&self, path: &str, headers: &HeaderMap, id: &str) -> HttpResponse {
        let json = wants_json(headers) || !accepts(headers, "text/plain");
        let Ok(wanted) = path.trim_start_matches("/results/").parse::<RequestId>() else {
            return Refusal::NotFound.response(json, id);
        };
        let reply = self.result(wanted).await;
        self.http(reply, &Style { json, field: None, id: id.to_owned() })
    }

    /// Puts a reply into HTTP.
    fn http(&self, reply: Reply, style: &Style) -> HttpResponse {
        match reply {
            Reply::Unknown => Refusal::NotFound.response(style.json, &style.id),
            Reply::Unavailable => Refusal::StorageUnavailable.response(style.json, &style.id),
            Reply::One(child) => self.one(child, style),
            Reply::Several { batch, children } => several(batch, &children, style),
        }
    }

    fn one(&self, child: Child, style: &Style) -> HttpResponse {
        match child {
            Child::Refused { refusal, .. } => refusal.response(style.json, &style.id),
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

fn several(batch: RequestId, children: &[Child], style: &Style) -> HttpResponse {
    let open = children.iter().any(|child| matches!(child, Child::Pending { .. }));
    // an upload of which nothing was accepted is refused as one
    if let [Child::Refused { refusal, .. }, rest @ ..] = children
        && rest.iter().all(|child| matches!(child, Child::Refused { .. }))
    {
        return refusal.response(style.json, &style.id);
    }
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
        Child::Refused { id, file, refusal } => serde_json::to_string(&Failed {
            error: refusal.code().into(),
            message: refusal.message(),
            request_id: *id,
            file: file.clone(),
            status: refusal.status().as_u16(),
            sha256: None,
        }),
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
            Answer::Classified(c) => format!("{}:{}", bellows_core::key::stem(&c.file), c.label),
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

fn body_of(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    let mut response = Response::new(Full::from(body));
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

fn html(body: &'static str) -> HttpResponse {
    body_of(StatusCode::OK, "text/html; charset=utf-8", body.to_owned())
}

/// A client's own id, byte for byte, if it is short and harmless.
fn echoed_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let harmless = !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| (b' '..=b'~').contains(&b));
    harmless.then(|| id.to_owned())
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).any(|v| v.to_ascii_lowercase().contains(kind))
}

fn wants_json(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json")
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let prefer = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    prefer.flat_map(|v| v.split([',', ';'])).any(|v| v.trim().eq_ignore_ascii_case("respond-async"))
}
