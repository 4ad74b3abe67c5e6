//! Requests that failed as often as the queue allows: answered with an error that says so, kept for people, deleted.

use super::Context;
use crate::edge::bucket::Put;
use crate::edge::queue::{BATCH, Delivery};
use crate::edge::{self};
use crate::metrics::Queue as Name;
use bellows_core::answer::{Answer, Reason};
use bellows_core::message::{self, Parsed, Response};
use bellows_core::{incoming, key};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest work of a round: what is left is answered in the next.
const LONGEST: Duration = Duration::from_secs(2);

impl Context {
    /// Until there are none, or the round has taken long enough: the pool waits meanwhile.
    pub(super) async fn answer_dead_letters(&self) {
        let never = CancellationToken::new();
        let until = self.now() + LONGEST;
        while self.now() < until {
            let deliveries = match self.edges.dead.receive(BATCH, Duration::ZERO, &never).await {
                Ok(deliveries) => deliveries,
                Err(e) => return tracing::warn!(error = %e, "dead letters cannot be read"),
            };
            if deliveries.is_empty() {
                return;
            }
            for answered in join_all(deliveries.iter().map(|delivery| self.answer_dead_letter(delivery))).await {
                if let Err(e) = answered {
                    tracing::warn!(error = %e, "a dead letter is answered later");
                }
            }
        }
    }

    /// In the order that loses nothing: result, response, record, delete. Twice is no harm.
    async fn answer_dead_letter(&self, delivery: &Delivery) -> edge::Result<()> {
        let requests = match incoming::requests(&delivery.body, delivery.sent_at) {
            Parsed::Ok(requests) => requests,
            Parsed::OtherVersion(_) | Parsed::Unreadable(_) => {
                self.metrics.queue_unreadable(Name::Request);
                Vec::new()
            }
        };
        for request in &requests {
            let why = "the image failed as often as it may; it is kept for inspection";
            let answer = Answer::failed(Reason::DeadLettered, why, request.request_id, &request.filename);
            self.tell(answer, &request.reply_to).await?;
        }
        let name = requests.first().map_or_else(|| delivery.message_id.clone(), |first| first.request_id.to_string());
        let record = json!({ "body": delivery.body, "receive_count": delivery.receive_count });
        let record = Bytes::from(record.to_string());
        let record_key = key::dead(&name);
        edge::retry(&self.edges.host, || self.edges.output.put(&record_key, record.clone())).await?;
        self.edges.dead.delete(&delivery.receipt).await?;
        self.metrics.queue_deleted(Name::Dead, 1);
        self.metrics.dead_lettered();
        tracing::error!(request_id = name, "a request was given up");
        Ok(())
    }

    async fn tell(&self, answer: Answer, reply_to: &str) -> edge::Result<()> {
        let output = &self.edges.output;
        let name = key::result(answer.request_id());
        let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
        let put = edge::retry(&self.edges.host, || output.put_if_absent(&name, body.clone())).await?;
        // a result that is there already is the answer, and was told by whoever wrote it; telling it again is no harm
        let answer = match put {
            Put::Created => answer,
            Put::Exists => {
                let stored = edge::retry(&self.edges.host, || output.get(&name)).await?;
                stored.and_then(|object| serde_json::from_slice(&object.bytes).ok()).unwrap_or(answer)
            }
        };
        if !reply_to.is_empty()
            && let Ok(body) = message::encode(&Response::new(answer, 0.0))
        {
            match self.edges.responses.send(body).await {
                Ok(()) => self.metrics.queue_sent(Name::Response, 1),
                Err(e) => tracing::warn!(error = %e, "a response was not sent: the waiter finds the result object"),
            }
        }
        Ok(())
    }
}
