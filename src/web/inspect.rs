//! What the metrics listener shows: metrics, the pool, and the decisions that made it so.

use super::Web;
use super::refusal::Refusal;
use super::reply::{HttpResponse, json_body, text};
use bellows_core::ledger::Entry;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;

const CONTENTS: &str = "\
/metrics                        for Prometheus
/pool                           the pool as it was last seen
/decisions?since=SEQ&all=true   what was decided and why; all: those that changed nothing, too
";

/// `/decisions`, for `bellows why` and whoever wants to know.
#[derive(Serialize)]
struct Decisions {
    /// The number that the next entry will have. The last one here may still be repeated; a number below one that was
    /// seen before says that the service has begun anew.
    next: u64,
    entries: Vec<Spoken>,
}

/// An entry, and what it says in words.
#[derive(Serialize)]
struct Spoken {
    #[serde(flatten)]
    entry: Entry,
    words: String,
}

impl Web {
    /// Answers a request at the metrics listener.
    pub(super) fn inspect<B>(&self, request: &Request<B>) -> HttpResponse {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Refusal::MethodNotAllowed("GET, HEAD").response(false, "");
        }
        let path = request.uri().path();
        let guarded = matches!(path, "/pool" | "/decisions");
        if guarded && let Err(refusal) = self.caller(request.headers()) {
            return refusal.response(false, "");
        }
        match path {
            "/" => text(StatusCode::OK, CONTENTS),
            "/metrics" => self.metrics(),
            "/pool" => json(&*self.0.status.pool()),
            "/decisions" => self.decisions(request.uri().query().unwrap_or_default()),
            _ => text(StatusCode::NOT_FOUND, &format!("not here; expected one of\n{CONTENTS}")),
        }
    }

    fn metrics(&self) -> HttpResponse {
        let metrics = &self.0.metrics;
        metrics.set_waiters(self.waiting());
        metrics.set_oldest_age(self.0.status.oldest_age());
        let mut response = text(StatusCode::OK, &metrics.render());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn decisions(&self, query: &str) -> HttpResponse {
        let (since, all) = match wanted(query) {
            Ok(wanted) => wanted,
            Err(why) => return text(StatusCode::BAD_REQUEST, &why),
        };
        let (next, entries) = {
            // the controller waits for the ledger: it is copied, and put into words afterwards
            let ledger = self.0.status.ledger();
            let wanted = |entry: &&Entry| entry.seq >= since && (all || entry.is_interesting());
            (ledger.next(), ledger.entries().filter(wanted).cloned().collect::<Vec<_>>())
        };
        let entries = entries.into_iter().map(|entry| Spoken { words: entry.words(), entry }).collect();
        json(&Decisions { next, entries })
    }
}

fn json(body: &impl Serialize) -> HttpResponse {
    // plain data with text keys: writing it to memory does not fail
    json_body(StatusCode::OK, serde_json::to_string(body).unwrap_or_default())
}

/// From which entry on, and whether those that changed nothing are wanted too.
fn wanted(query: &str) -> Result<(u64, bool), String> {
    let (mut since, mut all) = (0, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "since" => since = value.parse().map_err(|_| "since=SEQ: expected the number of an entry\n".to_owned())?,
            "all" => all = value.parse().map_err(|_| "all: expected true or false\n".to_owned())?,
            _ => return Err("expected since=SEQ or all=true\n".into()),
        }
    }
    Ok((since, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        assert_eq!(wanted(""), Ok((0, false)));
        assert_eq!(wanted("since=18446744073709551615&all=true"), Ok((u64::MAX, true)));
        for wrong in ["since=", "since=-1", "since=soon", "all=yes", "all", "sinse=3"] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }
}
