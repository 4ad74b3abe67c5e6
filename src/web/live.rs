//! GET /live: what the page draws, once a second, as server-sent events. All of it is what this process has in memory:
//! a listener costs no call.

use super::reply::HttpResponse;
use super::{Refusal, Web};
use crate::status::{Installed, States};
use bellows_core::scale::Counters;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http_body_util::{Either, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Most listeners at once.
pub(super) const LISTENERS: usize = 64;
const EVERY: Duration = Duration::from_secs(1);
/// Decisions and events that a listener is shown.
const NEWEST: usize = 12;
/// Whatever stands between flushes this at once, and knows from it that more will come.
const BEGIN: &str = ": a status every second, the newest decisions whenever there are others\nretry: 3000\n\n";
/// Asks nginx not to collect the events.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The body of the answer: it ends when the service drains.
pub(super) type Events = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

/// `event: status`.
#[derive(Serialize)]
struct Snapshot {
    /// RFC 3339.
    at: String,
    /// Why an upload would not be accepted now.
    not_ready: Option<String>,
    /// What answers; none while it is fetched.
    model: Option<Installed>,
    /// The queue of requests as it was last read.
    queue: Option<Counters>,
    pool: States,
    wanted: u32,
    max_instances: u32,
    paused: bool,
    dry_run: bool,
    /// Images that wait or are worked on, as the last decision counted them.
    demand: u64,
    /// Images since the start of this process.
    accepted: u64,
    answered: u64,
    service_ms: f64,
    oldest_age_seconds: f64,
}

/// `event: decisions`, newest first.
#[derive(Serialize)]
struct Decision {
    seq: u64,
    at: String,
    repeats: u64,
    words: String,
}

/// Somebody who looks.
struct Listener {
    web: Web,
    begun: bool,
    /// Number and repeats of the newest decision that was shown.
    shown: Option<(u64, u64)>,
    _place: OwnedSemaphorePermit,
}

impl Web {
    /// A listener's answer, where there is a place for one more.
    pub(super) fn live(&self) -> Result<HttpResponse, Refusal> {
        if self.0.status.is_draining() {
            return Err(Refusal::Draining);
        }
        let place = self.0.listeners.clone().try_acquire_owned().map_err(|_| Refusal::TooManyListeners)?;
        let listener = Listener { web: self.clone(), begun: false, shown: None, _place: place };
        let events = stream::unfold(listener, |mut listener| async move {
            let text = listener.next().await?;
            Some((Ok(Frame::data(Bytes::from(text))), listener))
        });
        let mut response = Response::new(Either::Right(StreamBody::new(Box::pin(events) as _)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        Ok(response)
    }

    fn snapshot(&self) -> Snapshot {
        let (status, pool) = (&self.0.status, self.0.status.pool());
        let (accepted, answered) = status.traffic();
        Snapshot {
            at: self.0.edges.host.clock.now().to_string(),
            not_ready: status.ready().err().map(|reason| reason.to_string()),
            model: status.installed(),
            queue: pool.queue,
            pool: pool.states,
            wanted: pool.wanted,
            max_instances: pool.max_instances,
            paused: pool.pause.is_some(),
            dry_run: pool.dry_run,
            demand: pool.demand,
            accepted,
            answered,
            service_ms: pool.service_ms,
            oldest_age_seconds: status.oldest_age().as_secs_f64(),
        }
    }
}

impl Listener {
    /// What is sent next, a second after what was sent before; nothing more once the service drains.
    async fn next(&mut self) -> Option<String> {
        let stop = &self.web.0.edges.host.stop;
        let mut text = String::new();
        if self.begun {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(EVERY) => {}
            }
        } else {
            text.push_str(BEGIN);
            self.begun = true;
        }
        text.push_str(&event("status", &self.web.snapshot()));
        if let Some(decisions) = self.decisions() {
            text.push_str(&event("decisions", &decisions));
        }
        Some(text)
    }

    /// The newest decisions that changed something, and what else happened, where they are not those shown last.
    fn decisions(&mut self) -> Option<Vec<Decision>> {
        let entries: Vec<_> = {
            let ledger = self.web.0.status.ledger();
            let newest = ledger.interesting().next_back().map(|entry| (entry.seq, entry.repeats));
            if newest == self.shown {
                return None;
            }
            self.shown = newest;
            ledger.interesting().rev().take(NEWEST).cloned().collect()
        };
        let spoken = entries.into_iter().map(|entry| Decision {
            seq: entry.seq,
            at: entry.at.to_string(),
            repeats: entry.repeats,
            words: entry.words(),
        });
        Some(spoken.collect())
    }
}

fn event(name: &str, data: &impl Serialize) -> String {
    // plain data with text keys, and JSON escapes line ends
    format!("event: {name}\ndata: {}\n\n", serde_json::to_string(data).unwrap_or_default())
}
