//! One image from memory to durable, and the wait for its answer. Knows no HTTP.

use super::memory::Memory;
use super::waiters::Waiter;
use super::{Refusal, Web};
use crate::edge::{self, Kind};
use crate::metrics::Queue as Name;
use crate::status::Entering;
use crate::telemetry::request_span;
use bellows_core::answer::Answer;
use bellows_core::key::{self, RequestId};
use bellows_core::message::{self, Request, VERSION};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

/// How often a waiter looks at its result object: a response message is a hint that may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What an image takes on a disk beside its own bytes, until it is answered: messages, result, label, their folders.
const OTHER_BYTES: u64 = 32 * 1024;

/// An image as it was sent, its name checked.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) file: String,
    pub(super) bytes: Bytes,
    /// Memory set aside for the upload it came with, held as long as its bytes are.
    pub(super) memory: Arc<Memory>,
}

/// An accepted image: its message is durably sent.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: RequestId,
    waiter: Waiter,
}

/// What a wait brought.
#[derive(Debug)]
pub(super) enum Waited {
    Answer(Box<Answer>),
    /// No answer yet; it will be at `/results/<id>`.
    Pending(RequestId),
}

impl Web {
    /// A fresh id. Never a client's own.
    pub(super) fn new_id(&self) -> RequestId {
        self.0.edges.host.entropy.request_id()
    }

    /// Says no where too many images wait already for so many `more`.
    pub(super) fn has_room(&self, more: usize) -> Result<(), Refusal> {
        if more == 0 {
            return Ok(());
        }
        self.0.status.admit(more as u64).map_err(|retry_after| Refusal::BacklogFull { retry_after })
    }

    /// Makes an image durable and its request known. From here on the work does not depend on the caller: one that
    /// goes away splits nothing. `client_id`: how the client knows the upload.
    pub(super) async fn submit(
        &self,
        id: RequestId,
        entering: Entering,
        image: Image,
        client_id: &str,
    ) -> Result<Ticket, Refusal> {
        let waiter = self.0.waiters.register(id);
        let (accepted, outcome) = oneshot::channel();
        let (web, client_id) = (self.clone(), client_id.to_owned());
        let submit = async move {
            let (file, bytes) = (image.file.clone(), image.bytes.len());
            let result = web.make_durable(id, entering, image).await;
            match &result {
                Ok(()) => {
                    tracing::info!(
                        client.request_id = client_id,
                        file.name = file,
                        body.size_bytes = bytes,
                        "accepted"
                    );
                }
                Err(refusal) => tracing::warn!(
                    client.request_id = client_id,
                    error.code = refusal.code(),
                    "an upload was not accepted"
                ),
            }
            // nobody listens any more where the client went away
            let _ = accepted.send(result);
        };
        self.0.edges.host.spawn("submit", submit.instrument(request_span(id)));
        outcome.await.unwrap_or(Err(Refusal::Internal))?;
        Ok(Ticket { id, waiter })
    }

    async fn make_durable(&self, id: RequestId, mut entering: Entering, image: Image) -> Result<(), Refusal> {
        let edges = &self.0.edges;
        let request = Request {
            v: VERSION,
            request_id: id,
            key: key::input(id, &image.file),
            filename: image.file,
            reply_to: self.0.settings.reply_to.clone(),
            submitted_at: edges.host.clock.now(),
        };
        let body = message::encode(&request).map_err(|e| Refusal::NameTooLong(format!("the file name makes {e}")))?;
        self.0.status.fills(image.bytes.len() as u64 + OTHER_BYTES);
        edge::retry(&edges.host, || edges.input.put(&request.key, image.bytes.clone()))
            .await
            .map_err(|e| refused(&e))?;
        entering.sent();
        if let Err(e) = edge::retry(&edges.host, || edges.requests.send(body.clone())).await {
            // where the outcome is not known the message may be out: its image must stay
            if e.kind != Kind::Timeout {
                let _ = edges.input.delete(&request.key).await;
            }
            return Err(refused(&e));
        }
        drop((image.bytes, image.memory));
        if let Some(barrier) = &self.0.settings.barrier {
            hold(barrier, id).await;
        }
        entering.accepted();
        self.0.metrics.submitted(1);
        self.0.metrics.queue_sent(Name::Request, 1);
        Ok(())
    }

    /// Waits for an answer until `until`, or until those who wait are dismissed.
    pub(super) async fn wait(&self, mut ticket: Ticket, until: Instant) -> Waited {
        loop {
            let look = (Instant::now() + LOOK_EVERY).min(until);
            let over = tokio::select! {
                biased;
                answer = ticket.waiter.answer() => return Waited::Answer(Box::new(answer)),
                () = self.0.dismissed.cancelled() => true,
                () = tokio::time::sleep_until(look) => look == until,
            };
            if let Some(answer) = self.stored(ticket.id).await {
                self.0.status.answer_was_seen(ticket.id);
                return Waited::Answer(Box::new(answer));
            }
            if over {
                return Waited::Pending(ticket.id);
            }
        }
    }

    /// The stored answer, if there is one that can be read now.
    pub(super) async fn stored(&self, id: RequestId) -> Option<Answer> {
        match self.0.edges.output.get(&key::result(id)).await {
            Ok(object) => serde_json::from_slice(&object?.bytes)
                .inspect_err(|e| tracing::error!(request_id = %id, error = %e, "a stored result cannot be read"))
                .ok(),
            Err(e) => {
                tracing::warn!(request_id = %id, error = %e, "a result cannot be looked up");
                None
            }
        }
    }
}

/// Tells a crash test that this message is durable and its client does not know it yet, and stays there as long as the
/// test wants.
async fn hold(barrier: &Path, id: RequestId) {
    use std::io::Write;
    let log = std::fs::OpenOptions::new().append(true).create(true).open(barrier.join("durable"));
    // one small write: whole or not at all
    let _ = log.and_then(|mut log| log.write_all(format!("{id}\n").as_bytes()));
    while barrier.join("hold").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn refused(e: &edge::Error) -> Refusal {
    tracing::warn!(error = %e, "an upload could not be stored");
    if e.kind == Kind::Full { Refusal::DiskLow } else { Refusal::StorageUnavailable }
}
