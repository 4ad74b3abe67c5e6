//! Requests that failed as often as the queue allows: answered with an error that says so, kept for people, deleted.

use super::Context;
use crate::edge::bucket::Put;
use crate::edge::queue::{BATCH, Delivery};
use crate::edge::{self};
use crate::metrics::Queue as Name;
use bellows_core::answer::{Answer, Reason};
use bellows_core::key;
use bellows_core::message::{self, Parsed, Request, Response};
use bytes::Bytes;
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Context {
    pub(super) async fn answer_dead_letters(&self) {
        let never = CancellationToken::new();
        match self.edges.dead.receive(BATCH, Duration::ZERO, &never).await {
            Ok(deliveries) => {
                for delivery in deliveries {
                    if let Err(e) = self.answer_dead_letter(&delivery).await {
                        tracing::warn!(error = %e, "a dead letter is answered later");
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "dead letters cannot be read"),
        }
    }

    /// In the order that loses nothing: result, response, record, delete. Twice is no harm.
    async fn answer_dead_letter(&self, delivery: &Delivery) -> edge::Result<()> {
        let (name, answer) = match message::parse::<Request>(&delivery.body) {
            Parsed::Ok(request) => {
                let why = "the image failed as often as it may; it is kept for inspection";
                let answer = Answer::failed(Reason::DeadLettered, why, request.request_id, &request.filename);
                (request.request_id.to_string(), Some((answer, request.reply_to)))
            }
            Parsed::OtherVersion(_) | Parsed::Unreadable(_) => {
                self.metrics.queue_unreadable(Name::Request);
                (delivery.message_id.clone(), None)
            }
        };
        if let Some((answer, reply_to)) = answer {
            self.tell(answer, &reply_to).await?;
        }
        let record = json!({ "body": delivery.body, "receive_count": delivery.receive_count });
        let record = Bytes::from(record.to_string());
        let record_key = key::dead(&name);
        edge::retry(&self.edges.host, || self.edges.output.put(&record_key, record.clone())).await?;
        self.edges.dead.delete(&delivery.receipt).await?;
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
            && let Err(e) = self.edges.responses.send(body).await
        {
            tracing::warn!(error = %e, "a response was not sent: the waiter finds the result object");
        }
        Ok(())
    }
}
