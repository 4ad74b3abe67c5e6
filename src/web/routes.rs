//! From an HTTP request to a reply. The only place that names paths.

use super::access::Caller;
use super::batch::Submitted;
use super::peer::Peer;
use super::refusal::close;
use super::reply::{HttpResponse, Reply, Style, text, whole};
use super::upload::{Fields, Upload};
use super::{Refusal, Web, page};
use crate::metrics::Route;
use crate::status::NotReady;
use bellows_core::key::RequestId;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a client that hung up before its answer is counted as; nobody reads it.
const HUNG_UP: u16 = 499;

/// What of a request's head outlives its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) path: String,
    pub(super) method: Method,
    /// X-Request-Id of the answer: the client's own, if it is short and harmless.
    pub(super) id: String,
    /// The client asked for JSON.
    pub(super) json: bool,
    /// The client does not want to wait.
    asynchronous: bool,
    has_body: bool,
}

impl Head {
    /// `fresh` names the request where the client has not.
    pub(super) fn of(request: &Request<Incoming>, fresh: RequestId) -> Head {
        let headers = request.headers();
        Head {
            path: request.uri().path().to_owned(),
            method: request.method().clone(),
            id: echoed_id(headers).unwrap_or_else(|| fresh.to_string()),
            json: accepts(headers, "application/json"),
            asynchronous: prefers_async(headers),
            has_body: !request.body().is_end_stream(),
        }
    }

    /// A refusal of a request whose body is not read.
    fn refuse(&self, refusal: &Refusal, json: bool) -> HttpResponse {
        let response = refusal.response(json, &self.id);
        if self.has_body { close(response) } else { response }
    }
}

impl Web {
    /// Answers one request. The first value names the route for the metrics.
    pub(super) async fn handle(&self, request: Request<Incoming>, head: &Head) -> (Route, HttpResponse) {
        let get = matches!(head.method, Method::GET | Method::HEAD);
        let not_allowed = |allowed| head.refuse(&Refusal::MethodNotAllowed(allowed), head.json);
        match head.path.as_str() {
            "/" if get => (Route::Page, page::HTML.response()),
            "/style.css" if get => (Route::Page, page::STYLE.response()),
            "/script.js" if get => (Route::Page, page::SCRIPT.response()),
            "/openapi.yaml" if get => (Route::OpenApi, page::OPENAPI.response()),
            "/live" if get => {
                let live = self.caller(request.headers()).and_then(|_| self.live());
                (Route::Live, live.unwrap_or_else(|refusal| refusal.response(head.json, &head.id)))
            }
            "/" if head.method == Method::POST => {
                (Route::Upload, self.upload(request, head, Fields::Named, None).await)
            }
            "/" => (Route::Page, not_allowed("GET, HEAD, POST")),
            "/healthz" if get => (Route::Healthz, text(StatusCode::OK, "ok\n")),
            "/readyz" if get => (Route::Readyz, self.readyz()),
            "/style.css" | "/script.js" => (Route::Page, not_allowed("GET, HEAD")),
            "/openapi.yaml" => (Route::OpenApi, not_allowed("GET, HEAD")),
            "/live" => (Route::Live, not_allowed("GET, HEAD")),
            "/healthz" => (Route::Healthz, not_allowed("GET, HEAD")),
            "/readyz" => (Route::Readyz, not_allowed("GET, HEAD")),
            "/classify" => (Route::Classify, self.classify(request, head, "").await),
            path => match (path.strip_prefix("/classify/"), path.strip_prefix("/results/")) {
                (Some(name), _) => (Route::ClassifyNamed, self.classify(request, head, name).await),
                (_, Some(id)) if get => (Route::Results, self.results(id, request.headers(), head).await),
                (_, Some(_)) => (Route::Results, not_allowed("GET, HEAD")),
                _ => (Route::Other, head.refuse(&Refusal::NotFound, head.json)),
            },
        }
    }

    /// POST|PUT /classify and /classify/{name}: always JSON.
    async fn classify(&self, request: Request<Incoming>, head: &Head, encoded_name: &str) -> HttpResponse {
        if !matches!(head.method, Method::POST | Method::PUT) {
            return head.refuse(&Refusal::MethodNotAllowed("POST, PUT"), true);
        }
        match percent_decode_str(encoded_name).decode_utf8() {
            Ok(name) => self.upload(request, head, Fields::Any, Some(&name)).await,
            Err(_) => head.refuse(&Refusal::BadFileName("a file name is UTF-8, percent-encoded".into()), true),
        }
    }

    async fn upload(
        &self,
        request: Request<Incoming>,
        head: &Head,
        fields: Fields,
        name: Option<&str>,
    ) -> HttpResponse {
        let json = fields == Fields::Any || head.json;
        let peer = request.extensions().get::<Peer>().cloned();
        let read = async {
            let caller = self.caller(request.headers())?;
            self.admit(&caller)?;
            Ok((self.read(request, fields, name).await?, caller))
        };
        let (Upload { images, field }, caller) = match read.await {
            Ok(upload) => upload,
            Err(refusal) => return head.refuse(&refusal, json),
        };
        let (batch, submitted) = match self.submit_all(images, &caller, &head.id).await {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal.response(json, &head.id),
        };
        let style = Style { json, field, id: &head.id };
        // who does not want to wait is told so even where the answer is there already: one shape of answer to rely on
        let until = (!head.asynchronous).then(|| Instant::now() + self.0.settings.wait);
        tokio::select! {
            biased;
            reply = self.replies(batch, submitted, until) => self.http(reply, &style),
            // what was accepted is worked on all the same
            () = gone(peer) => hung_up(),
        }
    }

    async fn replies(&self, batch: Option<RequestId>, submitted: Vec<Submitted>, until: Option<Instant>) -> Reply {
        let mut children = self.wait_all(submitted, until).await;
        match batch {
            Some(batch) => Reply::Several { batch, children },
            None => children.pop().map_or(Reply::Unavailable, Reply::One),
        }
    }

    /// Says no before a byte of the body is read.
    pub(super) fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        self.0.status.ready().map_err(|reason| match reason {
            NotReady::Draining => Refusal::Draining,
            NotReady::ModelLoading(how_far) => Refusal::ModelLoading(how_far),
            NotReady::DiskLow { .. } => Refusal::DiskLow,
            NotReady::QueueUnread(_) => Refusal::StorageUnavailable,
        })?;
        self.may_bring(caller, 1)?;
        self.has_room(1)
    }

    fn readyz(&self) -> HttpResponse {
        match self.0.status.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        }
    }

    async fn results(&self, id: &str, headers: &HeaderMap, head: &Head) -> HttpResponse {
        let json = head.json || !accepts(headers, "text/plain");
        if let Err(refusal) = self.caller(headers) {
            return head.refuse(&refusal, json);
        }
        let Ok(wanted) = id.parse::<RequestId>() else {
            return Refusal::NotFound.response(json, &head.id);
        };
        let reply = self.result(wanted).await;
        self.http(reply, &Style { json, field: None, id: &head.id })
    }
}

/// Returns once the client is gone; never where nobody can tell.
async fn gone(peer: Option<Peer>) {
    match peer {
        Some(peer) => peer.gone().await,
        None => std::future::pending().await,
    }
}

fn hung_up() -> HttpResponse {
    let mut response = close(Response::new(whole("")));
    *response.status_mut() = StatusCode::from_u16(HUNG_UP).unwrap_or_default();
    response
}

/// With its X-Request-Id.
pub(super) fn named(mut response: HttpResponse, id: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
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

fn prefers_async(headers: &HeaderMap) -> bool {
    let prefer = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    prefer.flat_map(|v| v.split([',', ';'])).any(|v| v.trim().eq_ignore_ascii_case("respond-async"))
}
