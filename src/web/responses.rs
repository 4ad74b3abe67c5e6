//! The loop that reads response_queue while somebody waits, and hands each answer to whom it belongs.

use super::Web;
use crate::edge;
use crate::edge::queue::{BATCH, Delivery, MAX_WAIT};
use crate::metrics::{Loop, Outcome, Queue as Name, Stage};
use bellows_core::answer::Answer;
use bellows_core::message::{self, Parsed, Response};
use futures_util::future::join_all;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A response in a version that this code does not know waits so long for somebody newer.
const OTHER_VERSION_DELAY: Duration = Duration::from_mins(15);
/// How often responses are taken while nobody waits.
const CLEAR_EVERY: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs until those who wait are dismissed. Nobody waiting: nothing is polled, so that an idle system is idle; what came
/// for those who left is cleared away now and then.
pub(super) async fn run(web: Web) {
    let dismissed = &web.0.dismissed;
    loop {
        web.0.metrics.loop_tick(Loop::WebResponses);
        tokio::select! {
            biased;
            () = dismissed.cancelled() => return,
            () = web.0.waiters.somebody() => {}
            () = tokio::time::sleep(CLEAR_EVERY) => {
                web.clear().await;
                continue;
            }
        }
        let stop = CancellationToken::new();
        // a receive is never dropped half-way: it is told to end
        let receive = web.0.edges.responses.receive(BATCH, MAX_WAIT, &stop);
        tokio::pin!(receive);
        let received = tokio::select! {
            biased;
            received = &mut receive => received,
            () = dismissed.cancelled() => { stop.cancel(); receive.await }
            () = web.0.waiters.nobody() => { stop.cancel(); receive.await }
        };
        match received {
            Ok(deliveries) => web.take_all(deliveries).await,
            Err(e) => {
                tracing::warn!(error = %e, "responses cannot be read: answers are taken from the result objects");
                let _ = tokio::time::timeout(PAUSE_AFTER_ERROR, dismissed.cancelled()).await;
            }
        }
    }
}

impl Web {
    /// Takes the responses that nobody waits for any more.
    async fn clear(&self) {
        let never = CancellationToken::new();
        while let Ok(deliveries) = self.0.edges.responses.receive(BATCH, Duration::ZERO, &never).await {
            if deliveries.is_empty() {
                return;
            }
            self.take_all(deliveries).await;
        }
    }

    /// All at once: nobody's answer waits until another one's message is deleted.
    async fn take_all(&self, deliveries: Vec<Delivery>) {
        join_all(deliveries.into_iter().map(|delivery| self.take(delivery))).await;
    }

    async fn take(&self, delivery: Delivery) {
        let queue = &self.0.edges.responses;
        let gone = match message::parse::<Response>(&delivery.body) {
            Parsed::Ok(response) => {
                self.count(&response);
                let request_id = response.request_id;
                let matched = self.0.waiters.deliver(response.answer);
                self.0.metrics.response_received(matched);
                self.0.status.answered(request_id);
                tracing::debug!(%request_id, response.matched = matched, "answered");
                self.deleted(queue.delete(&delivery.receipt).await)
            }
            Parsed::OtherVersion(v) => {
                tracing::warn!(message.version = v, "a response in another version is given back");
                queue.give_back(&delivery.receipt, OTHER_VERSION_DELAY).await
            }
            // the result object decides, so an unreadable hint is worth nothing
            Parsed::Unreadable(reason) => {
                tracing::warn!(reason, "an unreadable response is dropped");
                self.0.metrics.response_received(false);
                self.deleted(queue.delete(&delivery.receipt).await)
            }
        };
        if let Err(e) = gone {
            tracing::debug!(error = %e, "a response was not deleted: it comes again and is dropped then");
        }
    }

    fn deleted(&self, outcome: edge::Result<()>) -> edge::Result<()> {
        if outcome.is_ok() {
            self.0.metrics.queue_deleted(Name::Response, 1);
        }
        outcome
    }

    /// The app tier listens on nothing: what its metrics say rides in its responses.
    fn count(&self, response: &Response) {
        let metrics = &self.0.metrics;
        match &response.answer {
            Answer::Classified(c) => {
                let spent = c.timings_ms;
                metrics.jobs_ended(Outcome::Classified, 1);
                metrics.labelled(&c.label);
                metrics.queue_waited(span(spent.queue));
                let stages = [
                    (Stage::Fetch, spent.fetch),
                    (Stage::Decode, spent.decode),
                    (Stage::Infer, spent.infer),
                    (Stage::Store, response.store_ms),
                ];
                for (stage, ms) in stages {
                    metrics.stage(stage, span(ms));
                }
            }
            Answer::Failed(failed) => {
                let outcome = match failed.error.as_str() {
                    "expired" => Outcome::Expired,
                    "dead-lettered" => Outcome::DeadLettered,
                    _ => Outcome::Refused,
                };
                metrics.jobs_ended(outcome, 1);
            }
        }
    }
}

/// Milliseconds as another process measured them; what is no duration is none.
fn span(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}
